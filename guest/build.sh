#!/bin/sh
# SPDX-License-Identifier: MIT
#
# build.sh: packs the test guest's initial ramdisk.
#
#   build.sh KERNEL-DIRECTORY GUEST-ROOT-DIRECTORY OUTPUT [PROGRAM]...
#
# From the parts (tools/setup/parts.sh): busybox, e2fsprogs with its libraries, and the modules of
# modules.list for that kernel; the given programs; and from this directory: init and tasks/. The same
# input gives the same bytes: times and owners are fixed. In the environment, GUEST_MODULES names
# another list of modules, and GUEST_OVERLAY a directory whose files are added. The ramdisk is packed
# by gzip if OUTPUT's name ends in .gz.

set -eu

kernel_dir=$1
root_dir=$2
here=$(dirname "$0")
output=$(cd "$(dirname "$3")" && pwd)/$(basename "$3")
shift 3
PATH=$PATH:/sbin:/usr/sbin
staging=$output.tree
version=$(basename "$kernel_dir"/usr/lib/modules/*)

fail() {
    printf 'guest: %s\n' "$*" >&2
    exit 1
}
[ -d "$kernel_dir/usr/lib/modules/$version" ] ||
    fail "no modules in $kernel_dir: run './dragoman parts --verify'"

trap 'rm -rf "$staging" "$staging.index" "$output.new"' EXIT
trap 'exit 143' HUP INT TERM
rm -rf "$staging"
mkdir -p "$staging/bin" "$staging/sbin" "$staging/etc" "$staging/usr/sbin" \
    "$staging/lib/modules/$version"

# Debian 13 keeps all files below usr; the loader's path, /lib/ld-linux-aarch64.so.1, is fixed.
cp "$root_dir/usr/bin/busybox" "$staging/bin/busybox"
ln -s busybox "$staging/bin/sh"
for program in e2fsck mke2fs; do cp "$root_dir/usr/sbin/$program" "$staging/usr/sbin/$program"; done
libraries=$root_dir/usr/lib/aarch64-linux-gnu
for library in libc.so.6 libext2fs.so.2 libcom_err.so.2 libe2p.so.2 libblkid.so.1 libuuid.so.1; do
    cp -L "$libraries/$library" "$staging/lib/$library"
done
cp -L "$libraries/ld-linux-aarch64.so.1" "$staging/lib/ld-linux-aarch64.so.1"

# The listed modules and all they depend on, unpacked: busybox's modprobe reads no .xz.
source_modules=$kernel_dir/usr/lib/modules/$version
target_modules=$staging/lib/modules/$version
cp "$source_modules"/modules.builtin* "$source_modules/modules.order" "$target_modules/"
index=$staging.index
rm -rf "$index"
mkdir -p "$index/lib/modules"
cp -rs "$source_modules" "$index/lib/modules/$version"
depmod -b "$index" "$version"
modules=${GUEST_MODULES:-$here/modules.list}
sed '/^#/d; /^$/d' "$modules" | while read -r module; do
    modprobe -d "$index" -S "$version" --show-depends "$module" |
        sed -n 's/^insmod \(.*\.ko[^ ]*\).*/\1/p'
done | sort -u >"$index/wanted"
grep -q 'xen-blk\(front\|back\)' "$index/wanted" || fail "$kernel_dir has no modules for Xen's disks"
while read -r file; do
    relative=${file#"$index/lib/modules/$version/"}
    mkdir -p "$target_modules/$(dirname "$relative")"
    case $relative in
    *.xz) xz -dc "$file" >"$target_modules/${relative%.xz}" ;;
    *) cp -L "$file" "$target_modules/$relative" ;;
    esac
done <"$index/wanted"
rm -rf "$index"
depmod -b "$staging" "$version"
rm -f "$target_modules"/modules.builtin.*

mkdir -p "$staging/usr/bin"
for program in "$@"; do cp "$program" "$staging/usr/bin/"; done
cp "$here/init" "$staging/init"
cp "$modules" "$staging/etc/modules.list"
cp -r "$here/tasks" "$staging/tasks"
chmod 755 "$staging/init"
[ -z "${GUEST_OVERLAY:-}" ] || cp -r "$GUEST_OVERLAY/." "$staging"

find "$staging" -exec touch -h -d @0 {} +
pack() { (cd "$staging" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0); }
case $output in
*.gz) pack | gzip -n -6 >"$output.new" ;;
*) pack >"$output.new" ;;
esac
mv "$output.new" "$output"
