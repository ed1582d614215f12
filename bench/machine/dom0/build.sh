#!/bin/sh
# SPDX-License-Identifier: MIT
#
# build.sh: packs the initial ramdisk of the Linux Dom0 that bench/io and bench/net measure.
#
#   build.sh KERNEL-DIRECTORY GUEST-ROOT-DIRECTORY DOM0-ROOT-DIRECTORY GUEST-RAMDISK OUTPUT [PROGRAM]...
#
# The test guest's user space (guest/build.sh) with Debian's toolstack (xl, xenstored, xenconsoled),
# the tasks of this directory, the guest's kernel and ramdisk as files, and the given programs: native
# Linux is measured with this ramdisk too, where it needs a card's driver.

set -eu

kernel_dir=$1 guest_root=$2 dom0_root=$3 guest_ramdisk=$4 output=$5
shift 5
here=$(dirname -- "$0")
overlay=$output.overlay

trap 'rm -rf "$overlay"' EXIT
trap 'exit 143' HUP INT TERM
rm -rf "$overlay"
mkdir -p "$overlay/lib" "$overlay/usr/sbin" "$overlay/usr/lib/xen-4.20/bin" \
    "$overlay/etc/xen/scripts" "$overlay/guest" "$overlay/tasks"

# Debian's wrappers choose among versions of Xen and are scripts for another shell.
for program in xl xenstored xenconsoled xen-init-dom0; do
    cp "$dom0_root/usr/lib/xen-4.20/bin/$program" "$overlay/usr/sbin/"
done
ln -s /usr/sbin/xl "$overlay/usr/lib/xen-4.20/bin/xl"
cp "$dom0_root/usr/bin/xenstore" "$overlay/usr/sbin/"
for name in read write; do ln -s xenstore "$overlay/usr/sbin/xenstore-$name"; done
cp -L "$dom0_root"/usr/lib/aarch64-linux-gnu/lib*.so.* "$overlay/lib/"
cp -L "$kernel_dir/Image" "$overlay/guest/Image"
cp "$guest_ramdisk" "$overlay/guest/ramdisk"
cp "$here/disk" "$here/vif" "$overlay/etc/xen/scripts/"
chmod 755 "$overlay"/etc/xen/scripts/*
cp "$here"/dom0-* "$overlay/tasks/"

GUEST_MODULES=$here/modules.list GUEST_OVERLAY=$overlay \
    "$here/../../../guest/build.sh" "$kernel_dir" "$guest_root" "$output" "$@"
