# shellcheck shell=sh disable=SC2034,SC2154  # the caller reads what is set here, and sets what is read
# SPDX-License-Identifier: MIT
#
# run-network.sh: the network of `./dragoman run`: its card, and what is behind it. Sourced by run.sh.

# $1 the option, $2 N=VIF.
check_guest_vif() {
    check_number "$1" "${2%%=*}" 1 32
    case $2 in
    *\'* | *' '*) usage_error "$1 '$2': needs an interface without quotes and blanks" ;;
    *=*) ;;
    *) usage_error "$1 '$2': needs N=VIF" ;;
    esac
}

# The interfaces of guest number $1, as the elements of xl's list.
vifs_of() {
    vifs_found=
    for pair in $guest_vifs; do
        [ "${pair%%=*}" != "$1" ] || vifs_found="$vifs_found '${pair#*=}',"
    done
    [ -n "$vifs_found" ] || [ "$vif" = none ] || vifs_found=" 'bridge=xenbr0',"
    printf '%s' "$vifs_found"
}

# Sets card_device and card_netdev, QEMU's words. A file for the guests: QEMU, or tools/tapnet.c,
# gives it to each that connects to 10.0.2.100. Its size is no multiple of a packet's or of a frame's.
network_words() {
    head -c 3000017 /dev/urandom >"$dir/served"
    case $card in
    e1000e) card_device=e1000e ;;
    virtio) card_device=virtio-net-pci,disable-legacy=on ;;
    esac
    served=$(printf '%s' "$dir/served" | sed "s/'/'\\\\''/g") # QEMU parses the command as a shell does
    card_device="$card_device,netdev=net0,addr=1e,romfile="
    if [ "$vif" = tap ]; then
        "$tools/tapnet" --check || fail "this machine has no TAP devices for --net tap." \
            "It needs user namespaces and a /dev/net/tun that you may open."
        card_netdev=tap,id=net0,fd=3
        return
    fi
    card_netdev="user,id=net0,guestfwd=tcp:10.0.2.100:7070-cmd:cat '$(for_qemu "$served")'"
}
