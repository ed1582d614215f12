#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: `./dragoman run` when everything is built: describes a machine, boots it, checks its disks.
#
# All files of a run are in one directory (--dir, default build/run), so several runs can use one
# clone at the same time: disks (disk0.img...), guest configurations (guest1.cfg...), the board's
# tree and the boot tree, console.log, and results (tools/boot_facts.h). Disk D of guest G (from 1)
# is controller number (G - 1) * DISKS + D in PCI order; an NVMe disk has the serial number
# "dragoman-N".
#
# The checks do not rely on the domain's reports: the guest compares the data that it read back, and the host checks
# the file system and reads the file from the image itself.

set -eu

program='dragoman run'
# shellcheck source=tools/lib.sh
. "$(dirname -- "$0")/lib.sh"
# shellcheck source=tools/run-board.sh
. "$(dirname -- "$0")/run-board.sh"
# shellcheck source=tools/run-guests.sh
. "$(dirname -- "$0")/run-guests.sh"
# shellcheck source=tools/run-network.sh
. "$(dirname -- "$0")/run-network.sh"

usage() {
    cat <<'END'
Usage: ./dragoman run [OPTION]...

Boots Xen, Dragoman as Dom0 and a Linux guest under QEMU. The guest mounts the disk that Dragoman
shares, writes to it, reads back and compares; then the host checks the disk's image itself.

  -i, --interactive   a shell in the guest on this terminal; leave with 'exit' or Ctrl-]
  -v, --verbose       show the console of the machine instead of the progress
  -y                  install missing packages without asking

The machine:
  --board NAME        virt (QEMU's own, default) or zcu102 (Xilinx ZCU102 with a card in its SD slot)
  --xen VERSION       4.20 (default) or 4.17
  --gic VERSION       3 (default) or 2
  --cpu MODEL         QEMU's CPU model (default cortex-a57; with --kernel 16k cortex-a76)
  --smp N             its CPUs (default 2, of zcu102 4; Dragoman has one of them)
  --memory MIB        its memory (default 2048); or as 4G
  --dom0-mem SIZE     Dragoman's memory (default 16M)
  --xen-args TEXT     more for Xen's command line
  --dom0-args TEXT    Dragoman's command line
  --qemu PROGRAM      another QEMU than Debian's qemu-system-aarch64
  --qemu-args TEXT    more arguments for QEMU, separated by blanks
  --image FILE        another image than build/arm64/dragoman.bin

The guests:
  --kernel KIND       cloud (Debian's cloud kernel, default) or 16k (pages of 16 KiB)
  --guests N          how many (default 1)
  --disks N           disks of each (default 1)
  --disk-type KIND    nvme (default), or sd: SD cards, whose controller reaches 4 GiB only
  --mib N             how much to write to each disk, in MiB (default 64)
  --disk-mib N        a disk's size (default 256)
  --partitions KIND   the disks are partitions of one: gpt, mbr (logical ones from the second on), or
                      gpt-damaged, without its primary header; needs sfdisk
  --sector BYTES      a disk's sectors: 512 (default) or 4096
  --block-size BYTES  ext4's blocks (default: mke2fs's own choice)
  --guest-mem MIB     a guest's memory (default 256)
  --vcpus N           a guest's vCPUs (default 1)
  --guest-args TEXT   more for the guests' command line
  --on-end ACTION     what follows a guest's reboot or crash: destroy (default), restart or
                      preserve
  --task NAME         what the guests do: verify (default), or another of guest/tasks
  --guest-task N=NAME  what guest N does instead; may be given again for other guests
  --access r|w        how the guests get their disks (default w)
  --mode MODE         how their frames are reached: map, copy, identity or auto (default)
  --vif KIND          their network: user (QEMU's own; the default of './dragoman run'), tap (a TAP
                      device; the same as --net tap) or none
  --guest-vif N=VIF   give guest N this interface, in the words of 'vif' in xl.cfg, in place of that of --vif;
                      may be given again: a further interface, or another guest's
  --card MODEL        the network card: e1000e (default) or virtio
  --persistent yes|no offer them persistent grants; with --mode map (default no) or auto (default yes)

The run:
  --timeout SECONDS   when the machine is stopped (default 300; 0: never). Where the environment
                      has DRAGOMAN_SLOW=N, the limit is N times as long
  --dir DIRECTORY     where its files go (default build/run)
  --keep              keep the disks' images
  --when TEXT=WORDS   when a console line holds TEXT, type WORDS to Dragoman's monitor; may be given
                      again
  --keys FILE         a named pipe: what is written to it is typed on the console
  --memreserve A:B    the board's tree reserves B bytes from A on, by a /memreserve/ entry
  --fdtput COMMANDS   change the boot tree: fdtput's arguments without the file, as in
                      '-ts /dragoman/guest1 name x'; several are separated by semicolons
  --bad-sector N      reads of that 512-byte sector of the first disk fail
  --flush ok|fail     fail: the first disk fails every flush (default ok)
  --check             check file systems and sums of every guest, not only of those with task verify
  --check-sums        the same for guests that write to their disks without a file system
  --no-check          boot only: do not check sums, file systems and counters
END
}

# --- the command line ---

set_option() {
    case $1 in
    --xen) check_choice "$1" "$2" 4.20 4.17 && xen=$2 ;;
    --board) check_choice "$1" "$2" virt zcu102 && board=$2 ;;
    --gic) check_choice "$1" "$2" 2 3 && gic=$2 ;;
    --cpu) cpu=$2 ;;
    --smp) check_number "$1" "$2" 1 8 && smp=$2 ;;
    --memory)
        case $2 in
        [1-9]G | [1-9][0-9]G) memory=$((${2%G} * 1024)) ;;
        *) memory=$2 ;;
        esac
        check_number "$1" "$memory" 512 65536
        ;;
    --dom0-mem) dom0_mem=$2 ;;
    --xen-args) xen_args=$2 ;;
    --dom0-args) dom0_args=$2 ;;
    --qemu)
        case $2 in */*) qemu=$(absolute "$2") ;; *) qemu=$2 ;; esac
        command -v "$qemu" >/dev/null || usage_error "$1 '$2': there is no such program"
        ;;
    --qemu-args) qemu_args=$2 ;;
    --image) image=$(absolute "$2") ;;
    --kernel) check_choice "$1" "$2" cloud 16k && kernel=$2 ;;
    --guests) check_number "$1" "$2" 1 32 && guests=$2 ;;
    --disks) check_number "$1" "$2" 1 16 && disks=$2 ;;
    --disk-type) check_choice "$1" "$2" nvme sd && disk_type=$2 ;;
    --mib) check_number "$1" "$2" 1 65536 && mib=$2 ;;
    --disk-mib) check_number "$1" "$2" 8 65536 && disk_mib=$2 ;;
    --partitions) check_choice "$1" "$2" gpt gpt-damaged mbr && partitions=$2 ;;
    --sector) check_choice "$1" "$2" 512 4096 && sector=$2 ;;
    --block-size) check_choice "$1" "$2" 1024 2048 4096 && block_size=$2 ;;
    --vcpus) check_number "$1" "$2" 1 8 && vcpus=$2 ;;
    --guest-mem) check_number "$1" "$2" 64 16384 && guest_mem=$2 ;;
    --guest-args) guest_args=$2 ;;
    --on-end) check_choice "$1" "$2" destroy restart preserve && on_end=$2 ;;
    --access) check_choice "$1" "$2" r w && access=$2 ;;
    --mode | --path) check_choice "$1" "$2" map copy identity auto && mode=$2 ;; # --path: its former name
    --vif | --net) check_choice "$1" "$2" user tap none && vif=$2 ;;
    --guest-vif) check_guest_vif "$1" "$2" && guest_vifs="$guest_vifs $2" ;;
    --card) check_choice "$1" "$2" e1000e virtio && card=$2 ;;
    --persistent) check_choice "$1" "$2" yes no && persistent=$2 ;;
    --task) check_task "$2" && task=$2 ;;
    --guest-task)
        check_number "$1" "${2%%=*}" 1 32
        check_task "${2#*=}"
        guest_tasks="$guest_tasks $2"
        ;;
    --when)
        case $2 in *?=?*) ;; *) usage_error "$1 '$2': needs TEXT=WORDS" ;; esac
        # One a line, for the loop below: the words may hold blanks.
        whens="$whens$2
"
        ;;
    --keys) typed=$(absolute "$2") ;;
    --fdtput) fdtput=$2 ;;
    --memreserve) memreserve=$2 ;;
    --bad-sector) check_number "$1" "$2" 0 1000000000 && bad_sector=$2 ;;
    --flush) check_choice "$1" "$2" ok fail && flush=$2 ;;
    --timeout) check_number "$1" "$2" 0 86400 && timeout=$2 ;;
    --dir) dir=$(absolute "$2") ;;
    *) usage_error "unknown option '$1'" ;;
    esac
}

board=virt xen=4.20 gic='' cpu='' smp='' memory=2048 dom0_mem=16M xen_args='' dom0_args='' qemu_args=''
qemu=qemu-system-aarch64 image=build/arm64/dragoman.bin kernel=cloud guests=1 disks=1 disk_type='' mib=64 disk_mib=256 sector=512
partitions='' block_size='' guest_mem=256 vcpus=1 guest_args='' on_end=destroy task=verify timeout=300 dir=build/run
vif=none guest_vifs='' card=e1000e guest_tasks='' memreserve='' access=w mode='' persistent='' whens='' typed='' fdtput='' bad_sector='' flush=ok
# check: whose disks are checked afterwards: those of guests with task verify, files (all), sums (all,
# without file system), or none; none also leaves out the other checks.
interactive=no verbose=no keep=no check=verify options_only=no

while [ $# -gt 0 ]; do
    case $1 in
    --check-options) options_only=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    -i | --interactive) interactive=yes ;;
    -v | --verbose) verbose=yes ;;
    -y) ;;
    --keep) keep=yes ;;
    --check) check=files ;;
    --check-sums) check=sums ;;
    --no-check) check=none ;;
    --*=*) set_option "${1%%=*}" "${1#*=}" ;;
    --*)
        usage | grep -q -- "^  $1 " || [ "$1" = --path ] || [ "$1" = --net ] || usage_error "unknown option '$1'"
        [ $# -ge 2 ] || usage_error "$1 needs a value"
        set_option "$1" "$2"
        shift
        ;;
    *) usage_error "unknown argument '$1'" ;;
    esac
    shift
done

disk_total=$((guests * disks))
partition_options
board_options
if [ "$disk_type" = sd ]; then
    # QEMU's card has a size that is a power of two and sectors of 512 bytes, and hides errors of its file.
    [ -n "$partitions" ] || [ $((disk_mib & (disk_mib - 1))) = 0 ] ||
        usage_error "--disk-mib $disk_mib: an SD card's size must be a power of two"
    [ "$sector" = 512 ] || usage_error "--sector $sector: an SD card's sectors have 512 bytes"
    [ -z "$bad_sector" ] || usage_error "--bad-sector: QEMU's SD card does not report bad sectors"
    [ "$flush" = ok ] || usage_error "--flush: QEMU's SD card does not report flushes that fail"
fi
[ "$controllers" -le 30 ] || usage_error "$disk_total disks: this machine has room for 30 controllers"
if [ $interactive = yes ]; then
    task=shell
    check=none
    timeout=0
    # The terminal belongs to guest 1.
    [ "$guests" = 1 ] || usage_error "-i works with one guest"
fi
slow=${DRAGOMAN_SLOW:-1}
check_number DRAGOMAN_SLOW "$slow" 1 100
case $PWD$dir$image in
*'
'*) fail "the path of the clone, of --dir or of --image holds a line end, which a load plan cannot hold." ;;
esac
[ $options_only = no ] || exit 0

# --- the machine's files ---

cd "$(dirname -- "$0")/.."
PATH=$PATH:/sbin:/usr/sbin
tools=build/host/tools
# shellcheck source=/dev/null
. build/parts.mk
case $xen in
4.20) xen_file=$XEN_4_20 ;;
4.17) xen_file=$XEN_4_17 ;;
esac
case $kernel in
cloud) kernel_file=$LINUX_CLOUD_DIR/Image ;;
16k) kernel_file=$LINUX_16K_DIR/Image ;;
esac
ramdisk=build/guest/initramfs-$kernel.cpio.gz
for file in "$xen_file" "$kernel_file"; do
    [ -s "$file" ] || fail "$file is not in the cache." "Run './dragoman parts --all'."
done
[ -s "$ramdisk" ] || fail "$ramdisk is not built." "Run 'make guest guest-16k'."
[ -s "$image" ] || fail "$image does not exist." "Run './dragoman build', or give another --image."

require_writable "$dir" "Give another --dir."
dir=$(cd "$dir" && pwd)
case $dir in
*:*) [ -z "$bad_sector" ] && [ "$flush" = ok ] || fail "the directory '$dir' holds a colon, which QEMU's blkdebug cannot handle." \
    "Give another --dir." ;;
esac
exec 9>>"$dir/lock"
flock -n 9 || fail "another run uses $dir (process $(cat "$dir/lock"))." \
    "Wait for its end, or give another --dir."
echo $$ >"$dir/lock"
rm -f "$dir"/disk*.img* "$dir"/guest*.cfg "$dir"/console.log "$dir"/results

# What a disk's image grows to: what is written, and the file system's own blocks.
image_mib=$((mib + mib / 8 + 16))
[ "$image_mib" -lt "$disk_mib" ] || image_mib=$disk_mib
require_space "$dir" $((disk_total * image_mib + 16)) "the run ($disk_total disks)" \
    "Make room there, or give another --dir or a smaller --mib."

# A run that is interrupted leaves no disks behind; one that failed keeps them for a look.
# A signal may come after the machine has ended by it, too.
interrupted=yes
clean_up() {
    [ $? -lt 128 ] || interrupted=yes
    [ $interrupted = no ] || [ $keep = yes ] || rm -f "$dir"/disk*.img*
}
trap clean_up EXIT
exit_on_signals

make_disks
join_disks
make_guests

machine=virt,virtualization=on,gic-version=$gic
board_tree
[ -z "$memreserve" ] || reserve_memory "$memreserve"

set --
g=1
while [ $g -le "$guests" ]; do
    set -- "$@" "$dir/guest$g.cfg"
    g=$((g + 1))
done
# shellcheck disable=SC2086  # words on purpose
"$tools/mkboottree" --board "$dir/board.dtb" --domain "$image" --output "$dir/boot.dtb" \
    --plan "$dir/plan" --when-idle poweroff --dom0-args "$dom0_args" $tree_words --xen-args \
    "dom0_mem=$dom0_mem dom0_max_vcpus=1 dom0_vcpus_pin $console_words bootscrub=0 $xen_args" \
    "$@"

printf '%s' "$fdtput" | tr ';' '\n' >"$dir/fdtput"
edit_tree "$dir/fdtput" "$dir/boot.dtb"

# --- QEMU's command line, word by word ---

set -- "$qemu" -smp "$smp" -m "${memory}M" \
    -display none -no-reboot -monitor none \
    -chardev stdio,id=console,mux=off,signal=off -serial chardev:console -dtb "$dir/boot.dtb"
case $board in
virt) set -- "$@" -machine "$machine" -cpu "$cpu" -nic none -kernel "$xen_file" ;;
zcu102)
    # The chip has four network cards and a sound device: they are connected to nothing.
    for _ in 1 2 3 4; do set -- "$@" -nic user,restrict=on; done
    set -- "$@" -machine xlnx-zcu102,virtualization=on,secure=off -audiodev none,id=sound \
        -kernel build/boards/zcu102/entry.bin \
        -device "loader,file=$xen_file,addr=$board_xen_at,force-raw=on" \
        -device "loader,file=$(for_qemu "$dir/boot.dtb"),addr=$board_tree_at,force-raw=on"
    ;;
esac
while read -r address _ file; do
    set -- "$@" -device "loader,file=$(for_qemu "$file"),addr=$address,force-raw=on"
done <"$dir/plan"
sectors=logical_block_size=$sector,physical_block_size=$sector
n=0
while [ $n -lt "$controllers" ]; do
    file=$dir/disk$n.img
    [ -z "$partitions" ] || file=$dir/disk-all.img
    if [ $n = 0 ] && [ "$bad_sector$flush" != ok ]; then
        {
            [ -z "$bad_sector" ] || inject_errors read "sector = \"$bad_sector\""
            [ "$flush" = ok ] || inject_errors flush
        } >"$dir/blkdebug.conf"
        file=blkdebug:$dir/blkdebug.conf:$file
    fi
    case $board in
    # Of the chip's two slots the board has the second one.
    zcu102) set -- "$@" -drive "file=$(for_qemu "$file"),if=sd,index=1,format=raw" ;;
    *) set -- "$@" -drive "file=$(for_qemu "$file"),if=none,format=raw,id=disk$n" ;;
    esac
    case $board-$disk_type in
    virt-nvme)
        set -- "$@" \
            -device "nvme,drive=disk$n,serial=dragoman-$n,addr=$(printf %x $((n + 1))),$sectors"
        ;;
    virt-sd)
        set -- "$@" -device "sdhci-pci,id=sdc$n,addr=$(printf %x $((n + 1)))" \
            -device "sd-card,drive=disk$n,bus=pcie.0/sdc$n"
        ;;
    esac
    n=$((n + 1))
done
if [ "$vif" != none ]; then
    network_words
    set -- "$@" -device "$card_device" -netdev "$card_netdev"
fi
[ "$vif" != tap ] || set -- "$tools/tapnet" "$dir/served" "$@"
# shellcheck disable=SC2086  # words on purpose
set -- "$@" $qemu_args

# --- the boot ---

[ $interactive = no ] ||
    echo "To leave: 'exit' or 'poweroff' in the guest, or Ctrl-] at any time; Ctrl-T: Dragoman's monitor." >&2
set -- -- "$@"
printf '%s' "$whens" >"$dir/whens"
while read -r when; do set -- --when "$when" "$@"; done <"$dir/whens"
[ -z "$typed" ] || set -- --keys "$typed" "$@"
[ $interactive = no ] || set -- --interactive "$@"
[ $verbose = no ] || set -- --verbose "$@"
boot_status=0
run_guarded "$tools/machine" --log "$dir/console.log" --results "$dir/results" \
    --timeout $((timeout * slow)) "$@" || boot_status=$?
[ $boot_status -lt 128 ] || exit $boot_status
interrupted=no

# --- the checks ---

# Leaving an interactive run is no failure; a machine that broke is.
[ $interactive = no ] || [ $boot_status -ne 0 ] || {
    interrupted=yes
    exit 0
}
# shellcheck source=tools/run-checks.sh
. tools/run-checks.sh
check_boot
if [ $check != none ]; then
    check_guests
    check_ends
    split_disks
    check_disks
    check_network
    check_counters
fi
# Before the summary: where its reader is gone, it ends this script.
[ $troubles -gt 0 ] || [ $keep = yes ] || rm -f "$dir"/disk*.img "$dir"/disk*.img.*
show_counters
if [ $troubles -gt 0 ]; then
    echo "The full console is in $dir/console.log" >&2
    exit 1
fi
if [ $check = none ]; then
    echo "The machine ended in good order; nothing else was checked."
else
    summarise
fi
