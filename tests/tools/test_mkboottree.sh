#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_mkboottree.sh: the boot tree is what Xen and the domain expect, and a wrong configuration is
# refused with its file, its line and the cause. If this breaks, Xen starts the wrong guest with the
# wrong disk, or nothing at all and says little.
#
# Needs dtc and fdtget (device-tree-compiler) and the built tool; speaks TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
tool=$PWD/build/host/tools/mkboottree
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

number=0
# $1 "ok" or anything else, $2 what was tested.
report() {
    number=$((number + 1))
    if [ "$1" = ok ]; then
        echo "ok $number - mkboottree: $2"
    else
        echo "not ok $number - mkboottree: $2 ($1)"
    fi
}

# A board, a kernel that looks like an arm64 Image, a ramdisk.
cat >board.dts <<'END'
/dts-v1/;
/ {
    #address-cells = <2>;
    #size-cells = <2>;
    chosen { stdout-path = "/uart"; };
    memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x40000000>; };
};
END
dtc -q -I dts -O dtb -o board.dtb board.dts
{
    head -c 56 /dev/zero
    printf 'ARM\144'
    head -c 4000 /dev/zero
} >Image
cp Image domain.bin
echo ramdisk >ramdisk

guest() { printf 'name = "%s"\nkernel = "Image"\nmemory = 64\n' "$1"; }
make_tree() { "$tool" --board board.dtb --domain domain.bin --output boot.dtb "$@" 2>messages; }

# expect_get NAME NODE PROPERTY TYPE VALUE
expect_get() {
    got=$(fdtget -t "$4" boot.dtb "$2" "$3" 2>&1)
    if [ "$got" = "$5" ]; then report ok "$1"; else report "is '$got', not '$5'" "$1"; fi
}

# expect_refusal NAME PATTERN: the configuration in bad.cfg must be refused with such a message.
expect_refusal() {
    if make_tree bad.cfg >/dev/null; then
        report "was accepted" "$1"
    elif grep -q -- "$2" messages; then
        report ok "$1"
    else
        report "said: $(tr '\n' ' ' <messages)" "$1"
    fi
}

# --- a good machine of two guests ---

{
    guest web
    echo 'ramdisk = "ramdisk"'
    echo 'vcpus = 2'
    echo 'root = "/dev/xvda"'
    echo 'extra = "quiet"'
    echo "disk = [ 'nvme0,raw,xvda,w', 'vdev=xvdb,access=r,target=serial:S1' ]"
} >web.cfg
{
    guest db
    echo "disk = [ 'nvme1,raw,xvda,w' ] # a comment = 1"
} >db.cfg
if make_tree --xen-args 'dom0_mem=16M' --dom0-args verbose --when-idle poweroff web.cfg db.cfg \
    >plan; then
    report ok "accepts two guests"
else
    report "said: $(cat messages)" "accepts two guests"
fi
expect_get "Xen's command line" /chosen xen,xen-bootargs s 'dom0_mem=16M'
expect_get "guests in order" /chosen/domU1 compatible s 'xen,domain'
expect_get "memory in KiB, two cells" /chosen/domU1 memory x '0 10000'
expect_get "vcpus" /chosen/domU1 cpus u 2
expect_get "enhanced" /chosen/domU2 xen,enhanced s enabled
expect_get "root and extra as xl joins them" /chosen/domU1/module@49200000 bootargs s \
    'root=/dev/xvda quiet'
expect_get "when-idle" /dragoman when-idle s poweroff
expect_get "the guest's domid" /dragoman/guest2 domid u 2
expect_get "the second guest's target" /dragoman/guest2/disk0 target s nvme1
expect_get "a disk by serial number" /dragoman/guest1/disk1 target s serial:S1
expect_get "a read-only disk" /dragoman/guest1/disk1 access s r

first=$(fdtget -l boot.dtb /chosen | head -n 1)
if [ "$first" = module@49000000 ]; then report ok "Dom0's module comes first"; else
    report "first is $first" "Dom0's module comes first"
fi
if [ "$(wc -l <plan)" = 3 ]; then report ok "guests share one kernel in memory"; else
    report "$(wc -l <plan) files are planned" "guests share one kernel in memory"
fi
if fdtget -p boot.dtb /dragoman/guest1 | grep -q '^reg$\|^interrupts$'; then
    report "there is one" "no reg or interrupts below /dragoman"
else
    report ok "no reg or interrupts below /dragoman"
fi

# --- how a disk's frames are reached ---

{
    guest web
    # One string a line: with names, positional, keys of ours first, with blanks, a target like one.
    echo "disk = [ 'vdev=xvda,access=w,mode=copy,persistent=no,target=nvme0',"
    echo "         'nvme1,raw,xvdb,w,mode=auto,persistent=yes',"
    echo "         'mode=identity,nvme2,,xvdc,r',"
    echo "         'nvme3, raw, mode=map, xvdd, persistent=yes, w',"
    echo "         'nvme4,raw,xvde,w,persistent=yes',"
    echo "         'vdev=xvdf,access=r,mode=map,target=serial:mode=copy',"
    echo "         'nvme5,raw,xvdg,w',"
    echo "         'nvme6,raw,xvdh,w,path=copy' ]"
} >modes.cfg
if make_tree modes.cfg >/dev/null; then
    report ok "accepts mode and persistent"
else
    report "said: $(cat messages)" "accepts mode and persistent"
fi
# expect_disk NAME N "VDEV TARGET ACCESS MODE PERSISTENT", - for what must not be there.
expect_disk() {
    got=
    for property in vdev target access mode persistent; do
        got="$got $(fdtget -t s -d - boot.dtb "/dragoman/guest1/disk$2" $property 2>&1)"
    done
    if [ "$got" = " $3" ]; then report ok "$1"; else report "is '$got', not '$3'" "$1"; fi
}
expect_disk "mode and persistent among names" 0 "xvda nvme0 w copy no"
expect_disk "mode and persistent behind places" 1 "xvdb nvme1 w auto yes"
expect_disk "mode before places, one of which is empty" 2 "xvdc nvme2 r identity -"
expect_disk "mode and persistent between places, with blanks" 3 "xvdd nvme3 w map yes"
expect_disk "persistent alone" 4 "xvde nvme4 w - yes"
expect_disk "a serial number that looks like a key" 5 "xvdf serial:mode=copy r map -"
expect_disk "the former name of mode" 7 "xvdh nvme6 w copy -"
expect_disk "neither is written where neither is given" 6 "xvdg nvme5 w - -"

{
    guest web
    echo 'vif = [ "" ]'
} >unknown.cfg
if make_tree unknown.cfg >/dev/null && grep -q "unknown.cfg:4: key 'vif'" messages; then
    report ok "an unknown key is named, with its line, and ignored"
else
    report "said: $(cat messages)" "an unknown key is named, with its line, and ignored"
fi

# --- what must be refused ---

echo 'name = "x"' >bad.cfg
expect_refusal "no kernel" "bad.cfg: 'kernel' is missing"
guest x | sed '/memory/d' >bad.cfg
expect_refusal "no memory" "bad.cfg: 'memory' is missing"
printf 'name = "x"\nkernel = "absent"\n' >bad.cfg
expect_refusal "a kernel that is not there" "bad.cfg:2: kernel 'absent' cannot be read"
printf 'name = "x"\nkernel = "board.dts"\n' >bad.cfg
expect_refusal "a kernel that is none" "bad.cfg:2: kernel 'board.dts' is not an arm64 Image"
echo 'name = "x" oops' >bad.cfg
expect_refusal "a syntax error" "bad.cfg:1: config parsing error"

bad_disk() {
    guest x
    echo "disk = [ $1 ]"
}
bad_disk "'nvme0,raw,xvda,w', 'nvme1,raw,xvda,w'" >bad.cfg
expect_refusal "one vdev twice" "bad.cfg:4: .*xvda is used already"
bad_disk "'nvme0,raw,xvda,w', 'nvme0,raw,xvdb,r'" >bad.cfg
expect_refusal "one disk written and shared" "bad.cfg:4: nvme0 is assigned already"
bad_disk "'/dev/sda,raw,xvda,w'" >bad.cfg
expect_refusal "a target of another kind" "bad.cfg:4: .*the target must be"
bad_disk "'nvme0,raw,sda,w'" >bad.cfg
expect_refusal "a vdev of another kind" "bad.cfg:4: .*must be xvda"
bad_disk "'nvme0,qcow2,xvda,w'" >bad.cfg
expect_refusal "a format that is not raw" "bad.cfg:4: .*must be raw"
for value in Map zero-copy copyy 'copy ' ''; do
    bad_disk "'nvme0,raw,xvda,w,mode=$value'" >bad.cfg
    expect_refusal "mode '$value'" \
        "bad.cfg:4: disk 'nvme0,raw,xvda,w,mode=$value': mode must be map, copy, identity or auto, not '$value'"
done
for value in true Yes 1 ''; do
    bad_disk "'vdev=xvda,access=w,persistent=$value,target=nvme0'" >bad.cfg
    expect_refusal "persistent '$value'" \
        "bad.cfg:4: .*: persistent must be yes or no, not '$value'"
done
bad_disk "'nvme0,raw,xvda,w,mode=copy,path=copy'" >bad.cfg
expect_refusal "mode and its former name" "bad.cfg:4: .*: mode is given twice"
bad_disk "'nvme0,raw,xvda,w,mode=copy,mode=copy'" >bad.cfg
expect_refusal "mode twice" "bad.cfg:4: .*: mode is given twice"
bad_disk "'persistent=no,nvme0,raw,xvda,w,persistent=yes'" >bad.cfg
expect_refusal "persistent twice" "bad.cfg:4: .*: persistent is given twice"
for mode in copy identity; do
    bad_disk "'nvme0,raw,xvda,w,persistent=yes,mode=$mode'" >bad.cfg
    expect_refusal "persistent with mode $mode" \
        "bad.cfg:4: .*persistent grants are mappings: mode must be map or auto"
done
bad_disk "'vdev=xvda,access=w,target=serial:S1,mode=copy'" >bad.cfg
expect_refusal "mode behind target=" "bad.cfg:4: .*'mode=copy' must come before target="
bad_disk "'nvme0,raw,xvda,w,modes=copy'" >bad.cfg
expect_refusal "an unknown key" "bad.cfg:4: .*is not in xl's disk syntax"
bad_disk "',raw,xvda,w,mode=copy'" >bad.cfg
expect_refusal "no target but a mode" "bad.cfg:4: .*the target must be"
{
    guest x
    printf 'disk = ['
    n=0
    while [ $n -lt 65 ]; do
        letters=abcdefghijklmnopqrstuvwxyz
        printf " 'nvme%d,raw,xvd%s%s,w'," $n "$(echo $letters | cut -c $((n / 26 + 1)))" \
            "$(echo $letters | cut -c $((n % 26 + 1)))"
        n=$((n + 1))
    done
    echo ' ]'
} >bad.cfg
expect_refusal "more than 64 disks" "more than 64 disks"

set --
n=1
while [ $n -le 33 ]; do
    guest g$n >g$n.cfg
    set -- "$@" g$n.cfg
    n=$((n + 1))
done
if make_tree "$@" >/dev/null; then
    report "was accepted" "more than 32 guests"
elif grep -q 'at most 32' messages; then
    report ok "more than 32 guests"
else
    report "said: $(cat messages)" "more than 32 guests"
fi
shift
if make_tree "$@" >/dev/null; then report ok "32 guests"; else report "$(cat messages)" "32 guests"; fi
cp web.cfg twin.cfg
if make_tree web.cfg twin.cfg >/dev/null; then
    report "was accepted" "two guests of one name"
else
    report ok "two guests of one name"
fi
echo "1..$number"
