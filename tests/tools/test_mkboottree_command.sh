#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_mkboottree_command.sh: mkboottree's command line and the board that it names: a wrong one is refused before
# anything is written, and files are placed only in free memory of the board. If this breaks, a mistake on the command
# line destroys a file, or Xen loads a guest over the firmware.
#
# Needs dtc and fdtget (device-tree-compiler) and the built tool; speaks TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject='mkboottree'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
# shellcheck source=tests/tools/lib/mkboottree.sh
. tests/tools/lib/mkboottree.sh

# --- the command line ---

guest x >x.cfg
# refuse NAME STATUS PATTERN OPTION...
refuse() {
    name=$1 wanted=$2 pattern=$3
    shift 3
    rm -f boot.dtb
    make_tree "$@" x.cfg >/dev/null
    status=$?
    if [ $status != "$wanted" ]; then
        verdict "status $status: $(cat messages)" "$name"
    elif ! grep -q -- "$pattern" messages; then
        verdict "said: $(cat messages)" "$name"
    elif [ -e boot.dtb ]; then
        verdict "there is an output" "$name"
    else
        verdict ok "$name"
    fi
}
refuse "70,000 bytes for Xen" 2 "--xen-args has 70000 characters; Xen takes at most 1023" \
    --xen-args "$(head -c 70000 /dev/zero | tr '\0' x)"
refuse "too much for Dragoman" 2 "--dom0-args has 1024 characters" --dom0-args "$(head -c 1024 /dev/zero | tr '\0' x)"
refuse "any file as the domain" 1 "--domain board.dts is not an arm64 Image" --domain board.dts
head -c 4000 domain.bin >cut.bin
refuse "a domain that was cut" 1 "--domain cut.bin is not Dragoman's image, or was cut" --domain cut.bin
refuse "one name for tree and plan" 1 "--output and --plan are the same file" --plan ./boot.dtb
for input in board.dtb domain.bin x.cfg Image; do
    cp $input saved
    make_tree --output ./$input x.cfg >/dev/null && verdict "was accepted" "--output $input"
    make_tree --plan $input x.cfg >/dev/null && verdict "was accepted" "--plan $input"
    if cmp -s $input saved; then verdict ok "an output never overwrites $input"; else
        verdict "it did" "an output never overwrites $input"
    fi
done
refuse "a tree that is no tree" 1 "domain.bin: is not a device tree blob" --board domain.bin
make_tree x.cfg >/dev/null && cp boot.dtb made.dtb
refuse "a boot tree as the board's" 1 "made.dtb: is a boot tree already" --board made.dtb
for value in nvme=-1 nvme=+1 nvme=01 nvme=0x1 nvme=1000 nvme= nvme NVME=1 usb=1 '=1' 'nvme= 1'; do
    refuse "--controllers $value" 2 "--controllers '$value' is not KIND=NUMBER" --controllers "$value"
done
for value in '' 16MB max:1G -16M +16M foo 1M,max:1G; do
    refuse "dom0_mem=$value, which Xen does not read" 2 "dom0_mem=$value is no size that Xen reads" --xen-args "dom0_mem=$value x"
done
for value in 0 1M 16 3072K 2m 4M 7M; do # 7M: in pieces of 4, 2 and 1
    refuse "dom0_mem=$value, too little" 2 "more than 4 there for the image and the device tree; give it 16M" --xen-args "a dom0_mem=16M dom0_mem=$value"
done
for value in 1T 2G 99999999999999999999G 18446744073709551615; do
    refuse "dom0_mem=$value, too much" 1 "x.cfg:3: memory = 16 is too much" --xen-args "dom0_mem=$value"
done
refuse "--memory without a size" 2 "--memory '0x1000' is not START:SIZE" --memory 0x1000
refuse "--memory of a negative size" 2 "--memory '0:-1' is not START:SIZE" --memory 0:-1
refuse "banks of --memory that overlap" 2 "--memory '0x1000:1G' overlaps another --memory" --memory 0:8K --memory 0x1000:1G

# Whole or not at all: the plan cannot be written, so there is no tree either, nor a partial file.
refuse "a number of controllers that is none" 2 "--controllers 'nvme' is not KIND=NUMBER" --controllers nvme
sed 's/^name.*/name = "by-position"/' x.cfg >position.cfg
echo "disk = [ 'nvme1,raw,xvda,w' ]" >>position.cfg
refuse "a position beyond the controllers" 1 "position.cfg:[0-9]*: there is no nvme1 with --controllers nvme=1" \
    --controllers nvme=1 position.cfg
sed 's/nvme1/vdev=xvda,access=w,target=serial:A/; s/,raw,xvda,w//; s/by-position/by-serial/' position.cfg >serial.cfg
make_tree --controllers nvme=2 position.cfg serial.cfg >/dev/null 2>messages
expect_get "the number of controllers" /dragoman nvme-controllers u 2
if grep -q 'serial.cfg:[0-9]*: serial:A may be the disk nvme1 of position.cfg' messages; then
    verdict ok "names of two kinds are warned of"
else
    verdict "said: $(cat messages)" "names of two kinds are warned of"
fi
mkdir plan.d
refuse "a plan that is a directory" 1 "--plan plan.d is not a regular file" --plan plan.d
refuse "a plan in a directory that is not there" 1 "cannot write none/plan: No such file" --plan none/plan

# The second file cannot be put in its place, by a library that refuses just that: the first one is restored.
cat >refuse.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    int (*real)(int, const char *, int, const char *, unsigned) = dlsym(RTLD_NEXT, "renameat2");
    errno = getenv("NO_EXCHANGE") != NULL ? EINVAL : strcmp(to, "plan") == 0 ? EPERM : 0;
    return errno != 0 ? -1 : real(from_dir, from, to_dir, to, flags);
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    errno = strcmp(to, "plan") == 0 && strstr(from, ".old") == NULL ? EPERM : 0;
    return errno != 0 ? -1 : real(from, to);
}
END
${HOSTCC:-gcc} -shared -fPIC -o refuse.so refuse.c -ldl
# refuse_plan NAME TREE PLAN VARIABLE: the files before, empty when there is none.
refuse_plan() {
    rm -f boot.dtb plan
    [ -z "$2" ] || echo "$2" >boot.dtb
    [ -z "$3" ] || echo "$3" >plan
    env "$4" LD_PRELOAD="$work/refuse.so" "$tool" --board board.dtb --domain domain.bin --output boot.dtb --plan plan x.cfg 2>messages
    status=$?
    if [ $status != 1 ] || ! grep -q 'cannot write plan: Operation not permitted' messages; then
        verdict "status $status: $(cat messages)" "$1"
    elif [ "$(cat boot.dtb 2>/dev/null)" != "$2" ] || [ "$(cat plan 2>/dev/null)" != "$3" ]; then
        verdict "tree: $(head -c 20 boot.dtb | tr -d '\0'), plan: $(cat plan)" "$1"
    else
        verdict ok "$1"
    fi
}
refuse_plan "a plan that cannot be replaced: the former tree stays" 'old tree' 'old plan' A=b
refuse_plan "the same where names cannot be exchanged" 'old tree' 'old plan' NO_EXCHANGE=yes
refuse_plan "a plan that cannot be created: there is no tree either" '' '' NO_EXCHANGE=yes
refuse_plan "a new tree, a plan that cannot be replaced" '' 'old plan' A=b
if NO_EXCHANGE=yes LD_PRELOAD="$work/refuse.so" make_tree x.cfg >/dev/null && fdtget boot.dtb /chosen xen,xen-bootargs >/dev/null; then
    verdict ok "a tree is replaced where names cannot be exchanged"
else
    verdict "$(cat messages)" "a tree is replaced where names cannot be exchanged"
fi
echo 'old tree' >boot.dtb
make_tree x.cfg >/dev/full
if [ "$(tr -d '\0' <boot.dtb)" = 'old tree' ] && grep -q 'cannot write the load plan: No space left' messages; then
    verdict ok "a plan that cannot be printed: the former tree stays"
else
    verdict "$(cat messages)" "a plan that cannot be printed: the former tree stays"
fi
rm -f plan boot.dtb
leftovers=$(find . -name '*.new.*' -o -name '*.old')
if [ -z "$leftovers" ]; then verdict ok "no partial file is left"; else
    verdict "$leftovers" "no partial file is left"
fi

make_tree x.cfg >/dev/null
expect_get "Xen's arguments by default pin Dom0's vCPU" /chosen xen,xen-bootargs s \
    'dom0_mem=16M dom0_max_vcpus=1 dom0_vcpus_pin console=dtuart'

# --- the board's memory ---

# board FILE NODES: a board with those nodes beside its memory of 1 GiB.
board() {
    printf '/dts-v1/;\n%s\n/ { #address-cells = <2>; #size-cells = <1>;\n%s };\n' "$3" "$2" |
        dtc -q -I dts -O dtb -o "$1"
}
plan_is() {
    name=$1 wanted=$2
    shift 2
    "$tool" --domain domain.bin --output boot.dtb --plan plan "$@" x.cfg 2>messages
    got=$(cut -d ' ' -f 1 plan | tr '\n' ' ')
    if [ "$got" = "$wanted" ]; then verdict ok "$name"; else verdict "$got $(cat messages)" "$name"; fi
    : >plan
}
memory='memory@0 { device_type = "memory"; reg = <0 0 0x40000000>; };'
board reserved.dtb "$memory reserved-memory { #address-cells = <2>; #size-cells = <1>; ranges;
    a@9000000 { reg = <0 0x9000000 0x100000>; }; b@9200000 { reg = <0 0x9200fff 0x1>; no-map; }; };" ''
plan_is "reserved memory is avoided" '0x9400000 0x9600000 ' --board reserved.dtb
board memreserve.dtb "$memory" '/memreserve/ 0x9000fff 0x1;'
plan_is "/memreserve/ is avoided" '0x9200000 0x9400000 ' --board memreserve.dtb
expect_get "/memreserve/ is passed to Dragoman, with the guest's image, which is kept" /dragoman reserved x \
    '0 9000fff 0 1 0 9400000 0 1000'
board plain.dtb "$memory" ''
plan_is "--avoid is avoided" '0x9400000 0x9600000 ' --board plain.dtb --avoid 0x9200000:4K --avoid 0x9000000:2M
board banks.dtb 'memory@0 { device_type = "memory"; reg = <0 0 0x9200000>, <1 0 0x40000000>; };' ''
plan_is "a second bank takes what the first has no room for" '0x9000000 0x100000000 ' --board banks.dtb
board empty.dtb 'memory@0 { device_type = "memory"; reg = <0 0 0>; };' ''
refuse "a memory node of size zero" 1 "its memory node has the size 0: .*--memory" --board empty.dtb
refuse "no memory node" 1 "has no memory node: .*--memory" --board "$(board none.dtb '' '' && echo none.dtb)"
plan_is "--memory in its place" '0x9000000 0x9200000 ' --board empty.dtb --memory 0:512M --memory 0x40000000:1G
expect_get "is in the tree for Xen" /memory@0 reg x '0 0 20000000 0 40000000 40000000'
refuse "a size that the cells cannot hold" 1 "#size-cells cannot express .*several parts" --board empty.dtb --memory 0:4G
refuse "a base outside of memory" 1 "no memory at --base 0x80000000" --board plain.dtb --base 0x80000000
refuse "no room" 1 "do not fit into the board's memory from 0x3fe00000 on" --board plain.dtb --base 0x3fe00000

# --- what an earlier boot left in the board's tree ---

for left in 'domU1 { };' 'module@1 { reg = <1 1>; };' 'x { compatible = "xen,domain"; };' \
    'x { compatible = "xen,linux-zimage", "xen,multiboot-module"; };'; do
    board left.dtb "$memory chosen { $left };" ''
    refuse "$left" 1 "left.dtb: is a boot tree already" --board left.dtb
done
board left.dtb "$memory chosen { linux,initrd-start = <0x9000000>; linux,initrd-end = <0x9800000>; };" ''
plan_is "a ramdisk that an earlier boot left takes no place" '0x9000000 0x9200000 ' --board left.dtb
if grep -q 'left.dtb: /chosen: linux,initrd-start is removed' messages && ! fdtget -p boot.dtb /chosen | grep -q initrd; then
    verdict ok "it is removed, with a warning"
else
    verdict "$(cat messages)" "it is removed, with a warning"
fi
board nested.dtb "$memory reserved-memory { #address-cells = <2>; #size-cells = <1>; ranges;
    a { #address-cells = <2>; #size-cells = <1>; b@9000000 { reg = <0 0x9000000 0x1000>; }; }; };" ''
plan_is "a range below a child of /reserved-memory, which Xen reserves too" '0x9200000 0x9400000 ' --board nested.dtb
board dram.dtb 'dram@0 { device_type = "memory"; reg = <0 0 0x40000000>; };' ''
refuse "memory by another name, which Xen does not take" 1 "has no memory node: .*--memory" --board dram.dtb
guest x | sed 's/Image/domain.bin/' >x2.cfg
make_tree x2.cfg >/dev/null
if grep -q "x2.cfg:2: kernel 'domain.bin' is Dragoman's own image" messages; then
    verdict ok "a guest with Dragoman's image as its kernel"
else
    verdict "$(cat messages)" "a guest with Dragoman's image as its kernel"
fi

plan
