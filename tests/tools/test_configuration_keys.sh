#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_configuration_keys.sh: no part of a guest's configuration vanishes silently: each key of xl.cfg(5) is honoured,
# named in a warning, or refused with file and line; numbers and names in other forms than the documented ones are
# refused. If this breaks, a guest starts with another machine, disk or network than its configuration says.
#
# Needs dtc and fdtget (device-tree-compiler) and the built tool; speaks TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject='configuration'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
# shellcheck source=tests/tools/lib/mkboottree.sh
. tests/tools/lib/mkboottree.sh

# --- every key of xl.cfg(5), Xen 4.20 ---

# expect_line LINE refused|warned|silent: what happens to that fourth line of a configuration.
expect_line() {
    {
        guest x
        printf '%s\n' "$1"
    } >bad.cfg
    rm -f boot.dtb
    make_tree bad.cfg >/dev/null
    status=$?
    case $2 in
    refused) [ $status != 0 ] && [ ! -e boot.dtb ] && grep -q '^mkboottree: bad.cfg:[345]: ' messages ;;
    warned) [ $status = 0 ] && grep -q "^mkboottree: warning: bad.cfg:4: .*'${1%%[ =]*}'" messages ;;
    silent) [ $status = 0 ] && [ ! -s messages ] ;;
    esac
    report=$?
    [ $report = 0 ] || wrong="${wrong}[$1 is not $2: status $status, $(head -n 1 messages)]"
    cases=$((cases + 1))
}
# group NAME: the verdict on the lines since the last group.
group() {
    if [ -z "$wrong" ] && [ $cases -gt 0 ]; then verdict ok "$1 ($cases cases)"; else verdict "$wrong" "$1"; fi
    wrong='' cases=0
}
wrong='' cases=0

for key in bootloader firmware builder cpus pool cap seclabel init_seclabel driver_domain passthrough device_tree rdm \
    max_grant_frames max_maptrack_frames max_grant_version gic_version vuart tee sve vpmu nestedhvm altp2m \
    device_model_stubdomain_seclabel; do
    expect_line "$key = \"5\"" refused
    expect_line "$key = \"\"" warned
done
for key in pci dtdev ioports iomem irqs usbctrl usbdev vtpm p9 pvcalls vfb vkb vdispl vsnd virtio channel vnuma; do
    expect_line "$key = [ 'a' ]" refused
    expect_line "$key=[]" warned
done
group "a key that would change what the guest gets is refused, unless it asks for nothing"

expect_line 'maxmem = 17' refused
expect_line 'maxmem = 16' silent
expect_line 'maxvcpus = 2' refused
expect_line 'maxvcpus = 1; vcpus = 1' silent
expect_line 'tee = "none"' warned
expect_line 'sve = "disabled"' warned
expect_line 'gic_version = "default"' warned
expect_line 'cpus = "all"' warned
group "a key that says what the guest gets anyway is accepted"

for key in cpus_soft cpu_weight on_soft_reset pvshim pvshim_path pvshim_cmdline \
    pvshim_extra uuid nomigrate xend_suspend_evtchn_compat vmtrace_buf_kb pci_permissive pci_msitranslate pci_seize \
    pci_power_mgmt gfx_passthru rdm_mem_boundary max_event_channels dm_restrict device_model_user bootloader_args \
    bootloader_restrict bootloader_user e820_host boot hdtype hap oos shadow_memory bios bios_path_override pae acpi acpi_s3 \
    acpi_s4 acpi_laptop_slate apic nx hpet altp2mhvm cpuid acpi_firmware smbios_firmware smbios ms_vm_genid tsc_mode \
    localtime rtc_timeoffset vpt_align timer_mode mmio_hole xen_platform_pci viridian hvm_pirq videoram stdvga vga vnc \
    vnclisten vncdisplay vncunused vncpasswd keymap sdl opengl nographic spice spicehost spiceport spicetls_port \
    spicedisable_ticketing spicepasswd spiceagent_mouse spicevdagent spice_clipboard_sharing spiceusbredirection \
    spice_image_compression spice_streaming_video serial soundhw vkb_device usb usbversion usbdevice vendor_device \
    device_model_version device_model_override stubdomain_kernel stubdomain_cmdline stubdomain_ramdisk stubdomain_memory \
    device_model_stubdomain_override device_model_args device_model_args_pv device_model_args_hvm mca_caps msr_relaxed \
    kernell; do
    expect_line "$key = 5" warned
done
group "any other key is named in a warning"

expect_line 'type = "pvh"' silent
expect_line 'vcpus = 2' silent
for key in on_poweroff on_reboot on_watchdog on_crash; do
    for action in destroy restart preserve; do
        expect_line "$key = \"$action\"" silent
    done
    for action in coredump-destroy coredump-restart rename-restart soft-reset 1; do
        expect_line "$key = \"$action\"" refused
    done
done
expect_line 'root = "/dev/xvda"' silent
expect_line 'extra = "quiet"' silent
expect_line 'cmdline = "quiet"' silent
expect_line "disk = [ 'nvme0,raw,xvda,w', ]" silent
expect_line "vif = [ '' ]" silent
expect_line 'ramdisk = "ramdisk"; vcpus=2' silent
group "the keys that are honoured"

# --- a key, a word or a number in another form ---

while read -r line; do
    expect_line "$line" refused
done <<'END'
vcpus = 0
vcpus = 129
vcpus = "2x"
vcpus = "2 "
vcpus = 4294967297
vcpus = 18446744073709551617
vcpus = ""
vcpus = [ 2 ]
type = "hvm"
type = "pv"
root = [ "a" ]
disk = "nvme0,raw,xvda,w"
disk = [ [ 'nvme0,raw,xvda,w' ] ]
disk = [ 5 ]
memory = 17
memory += 1
name = "y"
ramdisk = "Image"
ramdisk = "./Image"
kernel = "Image"
disk = [ 'nvme0,raw,xvda,r,access=w' ]
disk = [ 'nvme0,raw,xvda,r,access=' ]
disk = [ 'access=r,nvme0,raw,xvda,w' ]
disk = [ 'vdev=xvda,access=r,access=w,target=nvme0' ]
disk = [ 'vdev=xvda,nvme0,raw,r,access=w' ]
disk = [ 'vdev=xvda,format=qcow2,format=raw,target=nvme0' ]
disk = [ 'vdev=xvda,vdev=xvdb,target=nvme0' ]
disk = [ 'nvme0,raw,xvda,w,' , 'nvme1,raw,xvda,w' ]
disk = [ 'phy:nvme0,xvda,w' ]
disk = [ 'file:nvme0,xvda,w' ]
disk = [ 'raw:nvme0,xvda,w' ]
disk = [ 'tap:nvme0,xvda,w' ]
disk = [ 'aio:nvme0,xvda,w' ]
disk = [ 'nbd:nvme0,xvda,w' ]
disk = [ 'vdev=xvda,access=w,phy:nvme0' ]
disk = [ 'vdev=xvda,access=w,target=phy:nvme0' ]
disk = [ 'nvme0,raw,sda,w' ]
disk = [ 'nvme0,raw,hda,w' ]
disk = [ 'nvme0,raw,d0,w' ]
disk = [ 'nvme0,raw,xvd,w' ]
disk = [ 'nvme0,raw,xvda1,w' ]
disk = [ 'nvme0,raw,xvdA,w' ]
disk = [ 'nvme0,raw,xvdaaa,w' ]
disk = [ 'nvme0,raw,0xca00,w' ]
disk = [ 'nvme0,raw,xvda:cdrom,w' ]
disk = [ 'nvme0,raw,xvda,W' ]
disk = [ 'nvme0,raw,xvda,w!' ]
disk = [ 'nvme0,raw,xvda,w,5' ]
disk = [ 'NVME0,raw,xvda,w' ]
disk = [ 'nvme+0,raw,xvda,w' ]
disk = [ 'nvme0x1,raw,xvda,w' ]
disk = [ 'nvme4294967296,raw,xvda,w' ]
disk = [ 'nvme0n4294967296,raw,xvda,w' ]
vif = [ 'group=1,group=2' ]
vif = [ 'mirror=yes,mirror=no' ]
vif = [ 'type=vif,type=vif' ]
vif = [ 'group=+5' ]
vif = [ 'group=05' ]
vif = [ 'group=0x5' ]
vif = [ 'group=65535' ]
vif = [ 'group=5x' ]
vif = [ 'group=' ]
vif = [ 'vlan=+10' ]
vif = [ 'vlan=0x10' ]
vif = [ 'rate=-5MB/s' ]
vif = [ 'rate=99999999999999999999MB/s' ]
vif = [ 'ip=10.0.0.5/+24' ]
vif = [ 'ip=10.0.0.5/18446744073709551617' ]
vif = [ 'mac=00-16-3e-01-02-03' ]
vif = 'mac=00:16:3e:01:02:03'
END
group "signs, blanks, bases, overflow, repetition, prefixes and other names are refused"

while read -r line; do
    expect_line "$line" silent
done <<'END'
disk = [ 'nvme0,raw,xvda' ]
disk = [ 'nvme0,,xvda,ro' ]
disk = [ 'nvme0,raw,xvda,format=raw,w' ]
disk = [ 'vdev=xvda,nvme0,raw,r' ]
disk = [ 'serial:abc,raw,xvda,w' ]
disk = [ 'pci:00:01.0,raw,xvdaz,access=rw' ]
disk = [ ' nvme0, raw, xvda, w' ]
vif = [ 'group=65534' ]
vif = [ 'group=alone' ]
END
group "what xl allows is accepted"
plan
