# shellcheck shell=sh disable=SC2034  # parts.sh reads the lists
# SPDX-License-Identifier: MIT
#
# sets.sh: the sets of parts, their Debian packages, and the names of their files. Sourced by
# parts.sh.

sets_run='xen-4.20 linux-cloud guest-root libfdt'
sets_test='xen-4.17 linux-16k xen-4.20-amd64 xen-4.17-amd64'
sets_proof='cbmc'
sets_bench='dom0-root'

set_suite() {
    case $1 in
    xen-4.17*) echo bookworm ;;
    *) echo trixie ;;
    esac
}

set_architecture() {
    case $1 in
    *-amd64) echo amd64 ;;
    cbmc) dpkg --print-architecture ;;
    *) echo arm64 ;;
    esac
}

# The packages of a set. "@name" stands for the versioned package that the metapackage depends on.
set_packages() {
    case $1 in
    xen-4.20) echo xen-hypervisor-4.20-arm64 ;;
    xen-4.17) echo xen-hypervisor-4.17-arm64 ;;
    xen-*-amd64) echo "xen-hypervisor-${1#xen-}" ;;
    linux-cloud) echo @linux-image-cloud-arm64 ;;
    linux-16k) echo @linux-image-arm64-16k ;;
    guest-root)
        echo busybox-static e2fsprogs \
            libblkid1 libc6 libcom-err2 libext2fs2t64 libss2 libuuid1
        ;;
    libfdt) echo libfdt-dev ;;
    # xl, xenstored and xenconsoled, with those of their libraries that guest-root lacks.
    dom0-root)
        echo xen-utils-4.20 libxenmisc4.20 xenstore-utils libxencall1 libxendevicemodel1 \
            libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1 libxenstore4 \
            libxentoolcore1 libxentoollog1 libyajl2 libfdt1 libgcc-s1 zlib1g
        ;;
    cbmc) echo cbmc minisat libc6 libstdc++6 libgcc-s1 zlib1g ;;
    esac
}

# Gives the set's files the stable names that the rest of the project uses. $1 set, $2 its directory.
set_name_files() {
    case $1 in
    xen-*-amd64)
        # QEMU's -kernel takes the multiboot image only unpacked.
        gunzip "$2"/boot/"$1".gz
        name_one "$2" xen "$2"/boot/"$1"
        ;;
    xen-*)
        name_one "$2" xen "$2"/boot/xen-"${1#xen-}"-arm64
        ;;
    linux-*)
        name_one "$2" Image "$2"/boot/vmlinuz-*
        # Debian 13 has modules below usr/lib, Debian 12 below lib: depmod -b wants lib.
        if [ ! -e "$2/lib" ]; then ln -s usr/lib "$2/lib"; fi
        ;;
    libfdt)
        name_one "$2" libfdt.a "$2"/usr/lib/aarch64-linux-gnu/libfdt.a
        if [ ! -e "$2/include" ]; then ln -s usr/include "$2/include"; fi
        ;;
    cbmc)
        name_one "$2" loader "$2"/usr/lib/*-linux-gnu/ld-linux-*.so.*
        name_one "$2" cbmc "$2"/usr/bin/cbmc
        ln -s usr/lib/"$(basename "$2"/usr/lib/*-linux-gnu)" "$2"/libraries
        ;;
    esac
}

# $1 directory, $2 stable name, then the files that matched: exactly one must be there.
name_one() {
    if [ $# -ne 3 ] || [ ! -f "$3" ]; then
        fail "Debian's package does not hold the file expected as '$2' (looked for: $3)." \
            "Its layout has changed: set_name_files in tools/setup/sets.sh must follow it."
    fi
    ln -s "${3#"$1"/}" "$1/$2"
}

# The file without which a set is unusable; for sets that were unpacked before checksums existed.
set_main_file() {
    case $1 in
    xen-*) echo xen ;;
    linux-*) echo Image ;;
    guest-root) echo usr/bin/busybox ;;
    libfdt) echo libfdt.a ;;
    dom0-root) echo usr/lib/xen-4.20/bin/xl ;;
    cbmc) echo cbmc ;;
    esac
}
