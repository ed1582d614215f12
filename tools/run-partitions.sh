# shellcheck shell=sh disable=SC2034,SC2154  # the caller reads what is set here, and sets what is read
# SPDX-License-Identifier: MIT
#
# run-partitions.sh: `./dragoman run --partitions`: the disks of all guests are partitions of one. Sourced by run.sh.
#
# Each disk has its own image before the boot and after it, as in other runs; for the boot they are joined, with a
# table that sfdisk makes.

# The first MiB of disk number $1 (from 0): behind each partition is a MiB of nothing.
partition_at() { echo $((1 + $1 * (disk_mib + 1))); }

# The number of its partition: of an MBR the first one is primary, the others are logical.
partition_number() {
    if [ "$partitions" = mbr ] && [ "$1" -gt 0 ]; then
        echo $((4 + $1))
    else
        echo $((1 + $1))
    fi
}

# What disk number $1 is called in a configuration.
target_of() {
    if [ -n "$partitions" ]; then
        echo "${disk_type}0p$(partition_number "$1")"
    else
        echo "$disk_type$1"
    fi
}

partition_options() {
    controllers=$disk_total
    [ -n "$partitions" ] || return 0
    controllers=1
    [ "$sector" = 512 ] || usage_error "--partitions with --sector $sector: sfdisk makes tables of 512-byte sectors only"
    [ -z "$bad_sector" ] || usage_error "--partitions with --bad-sector: there is no first disk"
    PATH=$PATH:/sbin:/usr/sbin command -v sfdisk >/dev/null ||
        usage_error "--partitions: there is no sfdisk here; as root: apt-get install fdisk"
}

# The table, as sfdisk's input, in sectors.
partition_script() {
    case $partitions in
    mbr) echo 'label: dos' ;;
    *) echo 'label: gpt' ;;
    esac
    n=0
    while [ $n -lt "$disk_total" ]; do
        place="start=$(($(partition_at $n) * 2048)), size=$((disk_mib * 2048))"
        case $partitions-$n in
        mbr-0) echo "1: $place, type=83" ;;
        mbr-1)
            echo "2: start=$((($(partition_at 1) - 1) * 2048)), size=$(((disk_total - 1) * (disk_mib + 1) * 2048)), type=5"
            echo "5: $place, type=83"
            ;;
        mbr-*) echo "$((4 + n)): $place, type=83" ;;
        *) echo "$((1 + n)): $place, name=guest$((n / disks + 1))-xvd$(letter $((n % disks)))" ;;
        esac
        n=$((n + 1))
    done
}

join_disks() {
    [ -n "$partitions" ] || return 0
    size_mib=$(($(partition_at "$disk_total") + 1))
    if [ "$disk_type" = sd ]; then # QEMU's card has a size that is a power of two
        card_mib=8
        while [ $card_mib -lt $size_mib ]; do card_mib=$((card_mib * 2)); done
        size_mib=$card_mib
    fi
    truncate -s "${size_mib}M" "$dir/disk-all.img"
    partition_script | sfdisk -q "$dir/disk-all.img" >"$dir/sfdisk.log" 2>&1 ||
        fail "sfdisk makes no table: $(cat "$dir/sfdisk.log")"
    # The header of the primary table.
    [ "$partitions" != gpt-damaged ] ||
        dd if=/dev/zero of="$dir/disk-all.img" bs=512 seek=1 count=1 conv=notrunc status=none
    n=0
    while [ $n -lt "$disk_total" ]; do
        dd if="$dir/disk$n.img" of="$dir/disk-all.img" bs=1M seek="$(partition_at $n)" conv=notrunc,sparse status=none
        rm -f "$dir/disk$n.img"
        n=$((n + 1))
    done
}

split_disks() {
    [ -n "$partitions" ] || return 0
    n=0
    while [ $n -lt "$disk_total" ]; do
        dd if="$dir/disk-all.img" of="$dir/disk$n.img" bs=1M skip="$(partition_at $n)" count="$disk_mib" conv=sparse \
            status=none
        n=$((n + 1))
    done
}
