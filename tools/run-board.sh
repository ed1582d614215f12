# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# run-board.sh: the boards that QEMU emulates, for tools/run.sh. Sourced by it.
#
#   virt     QEMU's own: its tree comes from QEMU, its disks are on PCI
#   zcu102   Xilinx ZCU102: its tree is Debian's, edited (boards/zcu102/edits), its disk is the card in
#            its SD slot

# shellcheck disable=SC2034,SC2154  # run.sh's variables

# Where QEMU puts Xen and the tree on a board whose memory begins at 0: below all that mkboottree places.
board_xen_at=0x00200000
board_tree_at=0x07000000

# Defaults of the board, and options that it rules out.
board_options() {
    case $board in
    virt)
        : "${gic:=3}" "${smp:=2}" "${disk_type:=nvme}"
        if [ -z "$cpu" ]; then
            cpu=cortex-a57
            [ "$kernel" = cloud ] || cpu=cortex-a76
        fi
        ;;
    zcu102)
        : "${gic:=2}" "${smp:=4}" "${disk_type:=sd}"
        [ "$gic" = 2 ] || usage_error "--gic $gic: a ZCU102 has a GICv2"
        [ "$xen" = 4.20 ] || usage_error "--xen $xen: it prints nothing on QEMU's ZCU102; take 4.20"
        [ -z "$cpu" ] || usage_error "--cpu: a ZCU102 has Cortex-A53"
        [ "$kernel" = cloud ] || usage_error "--kernel $kernel: the CPUs of a ZCU102 have no pages of 16 KiB"
        [ "$vif$guest_vifs" = none ] || usage_error "--vif, --guest-vif: QEMU's ZCU102 has no PCI, so no network card"
        [ "$smp" -le 4 ] || usage_error "--smp $smp: a ZCU102 has 4 CPUs"
        [ "$disk_type" = sd ] || usage_error "--disk-type $disk_type: QEMU's ZCU102 has an SD card only"
        [ "$controllers" = 1 ] || usage_error "$disk_total disks: QEMU's ZCU102 has one SD card"
        ;;
    esac
}

# A ZCU102's memory as arguments of mkboottree: up to 2 GiB from 0 on, the rest from 32 GiB on.
zcu102_memory() {
    if [ "$memory" -le 2048 ]; then
        echo "--memory 0:${memory}M"
    else
        echo "--memory 0:2G --memory 0x800000000:$((memory - 2048))M"
    fi
}

# edit_tree FILE TREE: applies each line of FILE, which is fdtput's arguments without the tree.
edit_tree() {
    while read -r option words || [ -n "$option" ]; do
        case $option in '' | '#'*) continue ;; esac
        # shellcheck disable=SC2086  # words on purpose
        fdtput "$option" "$2" $words || fail "fdtput does not accept '$option $words'."
    done <"$1"
}

# reserve_memory START:BYTES: adds a /memreserve/ entry to $dir/board.dtb, which fdtput cannot do.
reserve_memory() {
    dtc -q -I dtb -O dts "$dir/board.dtb" | sed "s|^/dts-v1/;|&\n/memreserve/ ${1%%:*} ${1##*:};|" >"$dir/board.dts"
    dtc -q -I dts -O dtb -o "$dir/board.dtb" "$dir/board.dts" || fail "--memreserve $1: dtc does not accept it."
}

# Makes $dir/board.dtb; sets $tree_words and $console_words, for mkboottree and for Xen.
board_tree() {
    case $board in
    virt)
        "$qemu" -machine "$machine,dumpdtb=$(for_qemu "$dir/board.dtb")" -cpu "$cpu" \
            -smp "$smp" -m "${memory}M" -nic none -display none >"$dir/dumpdtb.log" 2>&1 ||
            fail "QEMU cannot make this machine: $(cat "$dir/dumpdtb.log")"
        tree_words=
        console_words='console=dtuart dtuart=/pl011@9000000'
        ;;
    zcu102)
        # shellcheck disable=SC2086  # a pattern
        set -- "$LINUX_16K_DIR"/usr/lib/linux-image-*/xilinx/zynqmp-zcu102-rev1.0.dtb
        [ -s "$1" ] || fail "the board's tree ($1) is not in the cache." "Run './dragoman parts --all'."
        cp -- "$1" "$dir/board.dtb"
        chmod u+w "$dir/board.dtb"
        edit_tree boards/zcu102/edits "$dir/board.dtb"
        tree_words=$(zcu102_memory)
        console_words='console=dtuart'
        ;;
    esac
}
