#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_mkboottree.sh: the boot tree is as Xen and the domain expect, and a wrong configuration is refused with file,
# line and cause. If this breaks, Xen starts the wrong guest with the wrong disk, or no guest and without a clear
# message. The command line: test_mkboottree_command.sh.
#
# Needs dtc and fdtget (device-tree-compiler) and the built tool; speaks TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject='mkboottree'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
# shellcheck source=tests/tools/lib/mkboottree.sh
. tests/tools/lib/mkboottree.sh

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
    verdict ok "accepts two guests"
else
    verdict "said: $(cat messages)" "accepts two guests"
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
if [ "$first" = module@49000000 ]; then verdict ok "Dom0's module comes first"; else
    verdict "first is $first" "Dom0's module comes first"
fi
if [ "$(wc -l <plan)" = 3 ]; then verdict ok "guests share one kernel in memory"; else
    verdict "$(wc -l <plan) files are planned" "guests share one kernel in memory"
fi
if fdtget -p boot.dtb /dragoman/guest1 | grep -q '^reg$\|^interrupts$'; then
    verdict "there is one" "no reg or interrupts below /dragoman"
else
    verdict ok "no reg or interrupts below /dragoman"
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
    verdict ok "accepts mode and persistent"
else
    verdict "said: $(cat messages)" "accepts mode and persistent"
fi
# expect_disk NAME N "VDEV TARGET ACCESS MODE PERSISTENT", - for what must not be there.
expect_disk() {
    got=
    for property in vdev target access mode persistent; do
        got="$got $(fdtget -t s -d - boot.dtb "/dragoman/guest1/disk$2" $property 2>&1)"
    done
    if [ "$got" = " $3" ]; then verdict ok "$1"; else verdict "is '$got', not '$3'" "$1"; fi
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
    echo 'on_soft_reset = "restart"'
} >unknown.cfg
if make_tree unknown.cfg >/dev/null && grep -q "unknown.cfg:4: key 'on_soft_reset'" messages; then
    verdict ok "an unknown key is named, with its line, and ignored"
else
    verdict "said: $(cat messages)" "an unknown key is named, with its line, and ignored"
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
for field in backend=dom1 backendtype=phy script=block specification=virtio devtype=cdrom cdrom colo \
    colo-host=a colo-port=1 colo-export=a active-disk=a hidden-disk=a transport=mmio grant_usage=1; do
    bad_disk "'nvme0,raw,xvda,w,$field'" >bad.cfg
    expect_refusal "a disk with $field" "bad.cfg:4: .*'$field' cannot be honoured"
done
for field in discard no-discard direct-io-safe no-colo; do
    bad_disk "'nvme0,raw,xvda,w,$field'" >good.cfg
    if make_tree good.cfg >/dev/null && grep -q "good.cfg:4: .*'$field' has no effect" messages; then
        verdict ok "a disk with $field: named in a warning"
    else
        verdict "said: $(cat messages)" "a disk with $field: named in a warning"
    fi
done
bad_disk "'nvme0,raw,xvda1,w'" >bad.cfg
expect_refusal "a vdev that looks like a partition" "bad.cfg:4: .*xvda1 is a partition, .* write xvda"
for target in nvme00 nvme01 sd00 nvme nvme0n0 nvme0n sd0n1 nvme1000 nvme-1 pci:00:01 pci:0:01.0 pci:00:01.8 \
    pci:00:01.0/ pci:00:01.0n0 eui:1234 eui:0123456789abcdeg serial: serial:123456789012345678901 'serial:a ' 'serial: a' \
    pci:00:01.0/00.0/00.0/00.0/00.0/00.0/00.0/00.0/00.0 sd: sd:axi sd:/ sd:/axi/ sd://mmc@1 mmc mmc01 \
    nvme0p0 nvme0p1025 nvme0p1x nvmep1 sd0:part= sd0:part=0 sd0:label= sd0:uuid=12 sd0:range=1M sd0:range=1M+0 \
    partuuid: partuuid:12345678 p1 :part=1 :range=0+1M "sd0:label=$(printf '%0109d' 0)" serial::part=1 \
    sd:/an/address/that/is/too/long/for/a/target/mmc@0; do
    bad_disk "'vdev=xvda,access=w,target=$target'" >bad.cfg
    expect_refusal "target $target" "bad.cfg:4: .*the target must be"
done
for target in nvme0 nvme999 sd0 nvme0n1 nvme12n3 pci:00:01.0 pci:00:01.0/00.0 pci:0001:00:02.7/1f.0/00.0n2 \
    eui:0123456789abcdef eui:0123456789ABCDEF0123456789abcdef 'serial:S4EW NX0R' sd:/axi/mmc@ff170000 mmc0 \
    nvme0p1 nvme0n1p12 mmc0p1 pci:00:01.0n2p3 serial:A0p2:part=3 sd:/axi/mmc@ff170000:label=Root sd0:range=0+64M \
    pci:00:01.0:label=Root partuuid:12345678-0A sd0:uuid=a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae02; do
    bad_disk "'vdev=xvda,access=w,target=$target'" >good.cfg
    if make_tree good.cfg >/dev/null; then
        expect_get "target $target" /dragoman/guest1/disk0 target s "$target"
    else
        verdict "said: $(cat messages)" "target $target"
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
same nvme0 nvme0p1
same nvme0n1p2 nvme0p2
same nvme0:part=3 nvme0p3
same sd0:label=a sd0
same partuuid:12345678-0a partuuid:12345678-0A
same sd0:uuid=12345678-0a partuuid:12345678-0A
same nvme0:range=0+1M nvme0:range=1023K+1K
# differ ONE OTHER: two targets whose text does not show that they are one disk.
differ() {
    bad_disk "'vdev=xvda,access=w,target=$1', 'vdev=xvdb,access=w,target=$2'" >good.cfg
    if make_tree good.cfg >/dev/null; then verdict ok "$1 and $2 are two disks"; else
        verdict "said: $(cat messages)" "$1 and $2 are two disks"
    fi
}
differ nvme0n1 nvme0n2
differ nvme1 nvme10
differ serial:abc serial:ABC
differ nvme0p1 nvme0p2
differ nvme0p1 nvme1p1
differ sd0:label=a sd0:label=A
differ nvme0:range=0+1M nvme0:range=1M+1K
# unclear ONE OTHER: a warning, as only the disk shows whether they overlap.
unclear() {
    bad_disk "'vdev=xvda,access=w,target=$1'" >good.cfg
    { guest y; echo "disk = [ 'vdev=xvda,access=w,target=$2' ]"; } >other.cfg
    if make_tree good.cfg other.cfg >/dev/null && grep -q "$2 may be the disk $1 of" messages; then
        verdict ok "$1 and $2: a warning"
    else
        verdict "said: $(cat messages)" "$1 and $2: a warning"
    fi
}
unclear nvme0p1 nvme0:label=a
unclear nvme0p1 partuuid:12345678-01
unclear nvme0 serial:S1:part=2
unclear nvme0:range=0+1M nvme0p1
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
    verdict "was accepted" "more than 32 guests"
elif grep -q 'at most 32' messages; then
    verdict ok "more than 32 guests"
else
    verdict "said: $(cat messages)" "more than 32 guests"
fi
shift
if make_tree "$@" >/dev/null; then verdict ok "32 guests"; else verdict "$(cat messages)" "32 guests"; fi
cp web.cfg twin.cfg
if make_tree web.cfg twin.cfg >/dev/null; then
    verdict "was accepted" "two guests of one name"
else
    verdict ok "two guests of one name"
fi

# --- what Xen would refuse for its size, or start and then crash ---

guest x | sed 's/= 16/= 1/' >bad.cfg
expect_refusal "memory that does not hold the kernel" "bad.cfg:3: memory = 1 is too little: .* take 4 MiB"
guest x | sed 's/= 16/= 900000/' >bad.cfg
expect_refusal "more memory than the board has" "bad.cfg:3: memory = 900000 is too much: .*the board has 1024 MiB"
guest x | sed 's/= 16/= 800/' >bad.cfg
if make_tree --xen-args dom0_mem=256M bad.cfg >/dev/null; then verdict "was accepted" "Dom0's memory counts"; else
    verdict ok "Dom0's memory counts"
fi
if make_tree --xen-args dom0_mem=16M bad.cfg >/dev/null; then verdict ok "a guest that fits"; else
    verdict "said: $(cat messages)" "a guest that fits"
fi
gzip -c Image >Image.gz
guest x | sed 's/Image/Image.gz/' >good.cfg
if make_tree good.cfg >/dev/null; then verdict ok "a gzipped kernel"; else
    verdict "said: $(cat messages)" "a gzipped kernel"
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
if make_tree good.cfg >/dev/null; then verdict ok "an EFI kernel"; else verdict "said: $(cat messages)" "an EFI kernel"; fi
head -c 8000 efi >cut.img
guest x | sed 's/Image/cut.img/' >bad.cfg
expect_refusal "an EFI kernel that was cut" "bad.cfg:2: kernel 'cut.img' is cut: its header says 8192 bytes, and it has 8000"
for bytes in 64 80 100; do # within its headers
    head -c $bytes efi >cut.img
    expect_refusal "an EFI kernel of $bytes bytes" "bad.cfg:2: kernel 'cut.img' is cut: .*, and it has $bytes"
done
guest x >bad.cfg
echo 'vcpus = 9' >>bad.cfg
sed 's/chosen/gic { compatible = "arm,cortex-a15-gic"; }; chosen/' board.dts | dtc -q -I dts -O dtb -o gicv2.dtb
"$tool" --board gicv2.dtb --domain domain.bin --output boot.dtb bad.cfg >/dev/null 2>messages
if grep -q 'bad.cfg:4: vcpus = 9 is too much: .*GICv2' messages; then verdict ok "more vcpus than a GICv2 has"; else
    verdict "said: $(cat messages)" "more vcpus than a GICv2 has"
fi
if make_tree bad.cfg >/dev/null; then verdict ok "as many on another board"; else
    verdict "said: $(cat messages)" "as many on another board"
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

# --- network interfaces ---

{
    guest web
    echo "vif = [ '', ' mac = 00:16:3E:0a:0b:0c , bridge=xenbr0,type=vif' ]"
} >vif.cfg
make_tree vif.cfg >/dev/null || verdict "said: $(cat messages)" "accepts vif"
expect_get "a vif's address, in small letters" /dragoman/guest1/vif1 mac s 00:16:3e:0a:0b:0c
expect_get "a vif's bridge, by default" /dragoman/guest1/vif0 bridge s xenbr0
guest web >rate.cfg
echo "vif = [ 'rate=1MB/s@20ms', 'rate=8Mb/s', '' ]" >>rate.cfg
make_tree rate.cfg >/dev/null || verdict "said: $(cat messages)" "accepts rate"
expect_get "a rate and its interval" /dragoman/guest1/vif0 rate u "20000 20000"
expect_get "a rate in bits, each 50 ms" /dragoman/guest1/vif1 rate u "50000 50000"
if fdtget boot.dtb /dragoman/guest1/vif2 rate >/dev/null 2>&1; then verdict "a rate" "no rate, no limit"; else
    verdict ok "no rate, no limit"
fi
guest web >vlan.cfg
echo "vif = [ 'bridge=br1.10', 'vlan=10p/20-22/100+10x2/4094', 'bridge=br1:7:8', 'group=alone,mirror=yes' ]" >>vlan.cfg
make_tree vlan.cfg >/dev/null || verdict "said: $(cat messages)" "accepts VLANs"
expect_get "a bridge's name without its VLAN" /dragoman/guest1/vif0 bridge s br1
expect_get "the VLAN of an access port" /dragoman/guest1/vif0 vlan u 10
expect_get "the VLANs of a trunk" /dragoman/guest1/vif1 tagged-vlans u "20 22 100 100 110 110 120 120 4094 4094"
expect_get "its VLAN without tags" /dragoman/guest1/vif1 vlan u 10
expect_get "a trunk of a bridge" /dragoman/guest1/vif2 tagged-vlans u "7 8"
expect_get "a group" /dragoman/guest1/vif3 group u 65535
guest web >ip.cfg
echo "vif = [ 'ip=10.0.0.5  fd00::/64' ]" >>ip.cfg
make_tree ip.cfg >/dev/null || verdict "said: $(cat messages)" "accepts ip"
expect_get "the addresses of a vif" /dragoman/guest1/vif0 ip bx "4 20 a 0 0 5 0 0 0 0 0 0 0 0 0 0 0 0 6 40 fd 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
make_tree vif.cfg >/dev/null
derived=$(fdtget boot.dtb /dragoman/guest1/vif0 mac)
make_tree vif.cfg >/dev/null
expect_get "an address from the guest's name, the same each time" /dragoman/guest1/vif0 mac s "$derived"
case $derived in
00:16:3e:??:??:??) verdict ok "that address is one of Xen's" ;;
*) verdict "is '$derived'" "that address is one of Xen's" ;;
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
expect_vif_refusal 'rate=10' "'10' is no rate; write it as in rate=10MB/s"
expect_vif_refusal 'rate=10MB/s@20h' "'10MB/s@20h' is no rate"
expect_vif_refusal 'rate=1B/s@20ms' 'rate 1B/s@20ms is 0 bytes in each 20000 microseconds'
expect_vif_refusal 'rate=1MB/s,rate=2MB/s' 'rate is given twice'
expect_vif_refusal 'vlan=0' "VLANs '0': a VLAN is a number from 1 to 4094"
expect_vif_refusal 'vlan=4095' ".*a VLAN is a number from 1 to 4094"
expect_vif_refusal 'vlan=10/20' ".*one VLAN must have the suffix p"
expect_vif_refusal 'vlan=10p/20p' ".*only one VLAN may have the suffix p"
expect_vif_refusal 'vlan=10p/20u' ".*more than one VLAN without tags"
expect_vif_refusal 'vlan=10p/29-20' ".*a range is written as in 20-29"
expect_vif_refusal 'vlan=10p/4000+50x9' ".*a VLAN is a number from 1 to 4094"
expect_vif_refusal 'vlan=10p/100+10' ".*a series is written as in"
expect_vif_refusal 'bridge=br0.10,vlan=10' "its VLANs are given twice"
expect_vif_refusal 'bridge=br0.x' ".*a VLAN is a number"
expect_vif_refusal 'bridge=br0:5.6' ".*VLANs are written as in bridge=br0.10"
expect_vif_refusal 'ip=10.0.0' "'10.0.0' is no IP address or prefix"
expect_vif_refusal 'ip=10.0.0.0/33' "'10.0.0.0' is no IP address or prefix"
expect_vif_refusal 'ip=' 'ip has no address'
expect_vif_refusal 'group=0' "group must be a number from 1 to 65534, or alone"
expect_vif_refusal 'mirror=on' "mirror must be yes or no"
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
expect_refusal "two bridges, none with the card" "bad.cfg:[0-9]*: bridge two, and one at bad.cfg:[0-9]*: of several bridges"
guest web >bad.cfg
echo "vif = [ 'mirror=yes', 'mirror=yes' ]" >>bad.cfg
expect_refusal "two mirrors" "bad.cfg:[0-9]*: bridge xenbr0 has a mirror already"

plan
