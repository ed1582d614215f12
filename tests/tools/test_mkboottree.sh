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
# make_image FILE: an arm64 Image of 4096 bytes, with that size in its header.
make_image() {
    {
        head -c 16 /dev/zero
        printf '\000\020\000\000\000\000\000\000'
        head -c 32 /dev/zero
        printf 'ARM\144'
        head -c 4036 /dev/zero
    } >"$1"
}
make_image Image
cp Image domain.bin
echo ramdisk >ramdisk

guest() { printf 'name = "%s"\nkernel = "Image"\nmemory = 16\n' "$1"; }
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
expect_get "memory in KiB, two cells" /chosen/domU1 memory x '0 4000'
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
    echo 'vfb = [ "" ]'
} >unknown.cfg
if make_tree unknown.cfg >/dev/null && grep -q "unknown.cfg:4: key 'vfb'" messages; then
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
expect_refusal "an unknown key" "bad.cfg:4: .*this is not xl's disk syntax"
bad_disk "',raw,xvda,w,mode=copy'" >bad.cfg
expect_refusal "no target but a mode" "bad.cfg:4: .*the target must be"
for field in backend=dom1 backendtype=phy script=block specification=virtio devtype=cdrom cdrom; do
    bad_disk "'nvme0,raw,xvda,w,$field'" >bad.cfg
    expect_refusal "a disk with $field" "bad.cfg:4: .*'$field' cannot be honoured"
done
for field in discard no-discard direct-io-safe; do
    bad_disk "'nvme0,raw,xvda,w,$field'" >good.cfg
    if make_tree good.cfg >/dev/null && grep -q "good.cfg:4: .*'$field' has no effect" messages; then
        report ok "a disk with $field: named in a warning"
    else
        report "said: $(cat messages)" "a disk with $field: named in a warning"
    fi
done
bad_disk "'nvme0,raw,xvda1,w'" >bad.cfg
expect_refusal "a vdev that looks like a partition" "bad.cfg:4: .*xvda1 is a partition, .* write xvda"
for target in nvme00 nvme01 sd00 nvme nvme0n0 nvme0n sd0n1 nvme1000 nvme-1 pci:00:01 pci:0:01.0 pci:00:01.8 \
    pci:00:01.0/ pci:00:01.0n0 eui:1234 eui:0123456789abcdeg serial: serial:123456789012345678901 'serial:a ' 'serial: a' \
    pci:00:01.0/00.0/00.0/00.0/00.0/00.0/00.0/00.0/00.0 sd: sd:axi sd:/ sd:/axi/ sd://mmc@1 mmc mmc01 mmc0p1 \
    sd:/an/address/that/is/too/long/for/a/target/mmc@0; do
    bad_disk "'vdev=xvda,access=w,target=$target'" >bad.cfg
    expect_refusal "target $target" "bad.cfg:4: .*the target must be"
done
for target in nvme0 nvme999 sd0 nvme0n1 nvme12n3 pci:00:01.0 pci:00:01.0/00.0 pci:0001:00:02.7/1f.0/00.0n2 \
    eui:0123456789abcdef eui:0123456789ABCDEF0123456789abcdef 'serial:S4EW NX0R' sd:/axi/mmc@ff170000 mmc0; do
    bad_disk "'vdev=xvda,access=w,target=$target'" >good.cfg
    if make_tree good.cfg >/dev/null; then
        expect_get "target $target" /dragoman/guest1/disk0 target s "$target"
    else
        report "said: $(cat messages)" "target $target"
    fi
done
# same ONE OTHER: two names of one disk, one of them writable.
same() {
    bad_disk "'vdev=xvda,access=w,target=$1', 'vdev=xvdb,access=r,target=$2'" >bad.cfg
    expect_refusal "one disk as $1 and $2" "bad.cfg:4: $2 is assigned already, at bad.cfg:4 as $1"
}
same nvme0 nvme0n1
bad_disk "'vdev=xvda,access=w,target=pci:00:0A.0/1F.7n3'" >good.cfg
make_tree good.cfg >/dev/null
expect_get "a PCI place in small letters, as the domain compares it" /dragoman/guest1/disk0 target s \
    pci:00:0a.0/1f.7n3
same pci:00:0a.0 pci:00:0a.0n1
same pci:00:01.0n2 pci:00:01.0
same eui:0123456789abcdef eui:0123456789ABCDEF
# differ ONE OTHER: not the same by what they say.
differ() {
    bad_disk "'vdev=xvda,access=w,target=$1', 'vdev=xvdb,access=w,target=$2'" >good.cfg
    if make_tree good.cfg >/dev/null; then report ok "$1 and $2 are two disks"; else
        report "said: $(cat messages)" "$1 and $2 are two disks"
    fi
}
differ nvme0n1 nvme0n2
differ nvme1 nvme10
differ serial:abc serial:ABC
{
    guest x
    echo "disk = [ 'nvme0,raw,xvda,w' ]"
    echo "disk = [ 'nvme1,raw,xvda,w' ]"
} >bad.cfg
expect_refusal "a key that is given twice" "bad.cfg:5: key 'disk' is given already, on line 4"
printf 'name = "a\001b"\nkernel = "Image"\nmemory = 16\n' >bad.cfg
expect_refusal "a control character in a name" "bad.cfg:1: name holds a control character (0x01)"
printf 'name = "a\nb"\nkernel = "Image"\nmemory = 16\n' >bad.cfg
expect_refusal "a line end in a name" "bad.cfg:\\(1: name holds a control character\\|1: config parsing error\\)"
printf 'name = "x"\nkernel = "Image"\nmemory = 16\nextra = "a\tb"\n' >bad.cfg
expect_refusal "a control character in the command line" "bad.cfg:4: extra holds a control character"
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

# --- what Xen would refuse for its size, or start and then crash ---

guest x | sed 's/= 16/= 1/' >bad.cfg
expect_refusal "memory that does not hold the kernel" "bad.cfg:3: memory = 1 is too little: .* take 4 MiB"
guest x | sed 's/= 16/= 900000/' >bad.cfg
expect_refusal "more memory than the board has" "bad.cfg:3: memory = 900000 is too much: .*the board has 1024 MiB"
guest x | sed 's/= 16/= 800/' >bad.cfg
if make_tree --xen-args dom0_mem=256M bad.cfg >/dev/null; then report "was accepted" "Dom0's memory counts"; else
    report ok "Dom0's memory counts"
fi
if make_tree --xen-args dom0_mem=16M bad.cfg >/dev/null; then report ok "a guest that fits"; else
    report "said: $(cat messages)" "a guest that fits"
fi
gzip -c Image >Image.gz
guest x | sed 's/Image/Image.gz/' >good.cfg
if make_tree good.cfg >/dev/null; then report ok "a gzipped kernel"; else
    report "said: $(cat messages)" "a gzipped kernel"
fi
head -c 30 Image.gz >cut.gz
guest x | sed 's/Image/cut.gz/' >bad.cfg
expect_refusal "a gzipped kernel that was cut" "bad.cfg:2: kernel 'cut.gz' is gzipped, and damaged or cut"
gzip -c board.dts >text.gz
guest x | sed 's/Image/text.gz/' >bad.cfg
expect_refusal "a gzipped file that is no kernel" "bad.cfg:2: kernel 'text.gz' is gzipped, but holds no arm64 Image"
# An EFI Image, as Linux is one: a section of 4096 bytes from 4096 on.
{
    head -c 56 Image
    printf 'ARM\144\100\000\000\000PE\000\000\144\252\001\000'
    head -c 12 /dev/zero
    printf '\000\000\000\000'
    head -c 16 /dev/zero
    printf '\000\020\000\000\000\020\000\000'
    head -c 8080 /dev/zero
} >efi
guest x | sed 's/Image/efi/' >good.cfg
if make_tree good.cfg >/dev/null; then report ok "an EFI kernel"; else report "said: $(cat messages)" "an EFI kernel"; fi
head -c 8000 efi >cut.img
guest x | sed 's/Image/cut.img/' >bad.cfg
expect_refusal "an EFI kernel that was cut" "bad.cfg:2: kernel 'cut.img' is cut: its header says 8192 bytes, and it has 8000"
guest x >bad.cfg
echo 'vcpus = 9' >>bad.cfg
sed 's/chosen/gic { compatible = "arm,cortex-a15-gic"; }; chosen/' board.dts | dtc -q -I dts -O dtb -o gicv2.dtb
"$tool" --board gicv2.dtb --domain domain.bin --output boot.dtb bad.cfg >/dev/null 2>messages
if grep -q 'bad.cfg:4: vcpus = 9 is too much: .*GICv2' messages; then report ok "more vcpus than a GICv2 has"; else
    report "said: $(cat messages)" "more vcpus than a GICv2 has"
fi
if make_tree bad.cfg >/dev/null; then report ok "as many on another board"; else
    report "said: $(cat messages)" "as many on another board"
fi
: >empty
for file in empty .; do
    guest x | sed "s/Image/$file/" >bad.cfg
    expect_refusal "a kernel that is '$file'" "bad.cfg:2: kernel '$file' is"
    {
        guest x
        echo "ramdisk = \"$file\""
    } >bad.cfg
    expect_refusal "a ramdisk that is '$file'" "bad.cfg:4: ramdisk '$file' is"
done

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
        report "status $status: $(cat messages)" "$name"
    elif ! grep -q -- "$pattern" messages; then
        report "said: $(cat messages)" "$name"
    elif [ -e boot.dtb ]; then
        report "there is an output" "$name"
    else
        report ok "$name"
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
    make_tree --output ./$input x.cfg >/dev/null && report "was accepted" "--output $input"
    make_tree --plan $input x.cfg >/dev/null && report "was accepted" "--plan $input"
    if cmp -s $input saved; then report ok "an output never overwrites $input"; else
        report "it did" "an output never overwrites $input"
    fi
done
refuse "a tree that is no tree" 1 "domain.bin: is not a device tree blob" --board domain.bin
make_tree x.cfg >/dev/null && cp boot.dtb made.dtb
refuse "a boot tree as the board's" 1 "made.dtb: is a boot tree already" --board made.dtb
refuse "--memory without a size" 2 "--memory '0x1000' is not START:SIZE" --memory 0x1000

# Whole or not at all: the plan cannot be written, so there is no tree either, nor anything half-written.
refuse "a number of controllers that is none" 2 "--controllers 'nvme' is not KIND=NUMBER" --controllers nvme
sed 's/^name.*/name = "by-position"/' x.cfg >position.cfg
echo "disk = [ 'nvme1,raw,xvda,w' ]" >>position.cfg
refuse "a position beyond the controllers" 1 "position.cfg:[0-9]*: there is no nvme1 with --controllers nvme=1" \
    --controllers nvme=1 position.cfg
sed 's/nvme1/vdev=xvda,access=w,target=serial:A/; s/,raw,xvda,w//; s/by-position/by-serial/' position.cfg >serial.cfg
make_tree --controllers nvme=2 position.cfg serial.cfg >/dev/null 2>messages
expect_get "the number of controllers" /dragoman nvme-controllers u 2
if grep -q 'serial.cfg:[0-9]*: serial:A may be the disk nvme1 of position.cfg' messages; then
    report ok "names of two kinds are warned of"
else
    report "said: $(cat messages)" "names of two kinds are warned of"
fi
mkdir plan.d
refuse "a plan that is a directory" 1 "--plan plan.d is not a regular file" --plan plan.d
refuse "a plan in a directory that is not there" 1 "cannot write none/plan: No such file" --plan none/plan
leftovers=$(find . -name '*.new.*')
if [ -z "$leftovers" ]; then report ok "nothing half-written is left"; else
    report "$leftovers" "nothing half-written is left"
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
    if [ "$got" = "$wanted" ]; then report ok "$name"; else report "$got $(cat messages)" "$name"; fi
    : >plan
}
memory='memory@0 { device_type = "memory"; reg = <0 0 0x40000000>; };'
board reserved.dtb "$memory reserved-memory { #address-cells = <2>; #size-cells = <1>; ranges;
    a@9000000 { reg = <0 0x9000000 0x100000>; }; b@9200000 { reg = <0 0x9200fff 0x1>; no-map; }; };" ''
plan_is "reserved memory is avoided" '0x9400000 0x9600000 ' --board reserved.dtb
board memreserve.dtb "$memory" '/memreserve/ 0x9000fff 0x1;'
plan_is "/memreserve/ is avoided" '0x9200000 0x9400000 ' --board memreserve.dtb
expect_get "/memreserve/ is told to Dragoman, too" /dragoman reserved x '0 9000fff 0 1'
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
# --- network interfaces ---

{
    guest web
    echo "vif = [ '', ' mac = 00:16:3E:0a:0b:0c , bridge=xenbr0,type=vif' ]"
} >vif.cfg
make_tree vif.cfg >/dev/null || report "said: $(cat messages)" "accepts vif"
expect_get "a vif's address, in small letters" /dragoman/guest1/vif1 mac s 00:16:3e:0a:0b:0c
expect_get "a vif's bridge, by default" /dragoman/guest1/vif0 bridge s xenbr0
derived=$(fdtget boot.dtb /dragoman/guest1/vif0 mac)
make_tree vif.cfg >/dev/null
expect_get "an address from the guest's name, the same each time" /dragoman/guest1/vif0 mac s "$derived"
case $derived in
00:16:3e:??:??:??) report ok "that address is one of Xen's" ;;
*) report "is '$derived'" "that address is one of Xen's" ;;
esac
# expect_vif_refusal STRING PATTERN
expect_vif_refusal() {
    {
        guest web
        echo "vif = [ '$1' ]"
    } >bad.cfg
    expect_refusal "vif '$1'" "bad.cfg:[0-9]*: vif '$1': $2"
}
expect_vif_refusal 'mac=01:16:3e:00:00:01' 'mac must be the address of one station'
expect_vif_refusal 'mac=00:16:3e:00:00' 'mac must be the address of one station'
expect_vif_refusal 'bridge=' 'the name of a bridge has'
expect_vif_refusal 'rate=10Mb/s' "'rate' cannot be honoured: Dragoman does not limit rates yet; remove it"
expect_vif_refusal 'vlan=5' "'vlan' cannot be honoured"
expect_vif_refusal 'script=vif-route' "'script' cannot be honoured"
expect_vif_refusal 'type=ioemu' "type 'ioemu': guests on Arm have type=vif only"
expect_vif_refusal 'colour=red' "'colour' is no key of a vif"
expect_vif_refusal 'xenbr0' "'xenbr0' is no field; write key=value"
{
    guest web
    echo "vif = [ 'mac=00:16:3e:00:00:01', 'mac=00:16:3e:00:00:01' ]"
} >bad.cfg
expect_refusal "one address for two vifs" "bad.cfg:[0-9]*: the address 00:16:3e:00:00:01 is that of the vif at bad.cfg:[0-9]* already"
{
    guest web
    echo "vif = [ 'bridge=one', 'bridge=two' ]"
} >bad.cfg
expect_refusal "two bridges" "bad.cfg:[0-9]*: bridge two, and one at bad.cfg:[0-9]*: Dragoman has one switch at present"

echo "1..$number"
