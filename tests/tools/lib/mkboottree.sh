# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# mkboottree.sh: a separate directory with a board, a kernel and a domain, and the functions by which the tests of
# mkboottree run the tool there. Sourced in the top directory, after tap.sh and `subject=NAME`.

# shellcheck source=tests/tools/lib/images.sh
. tests/tools/lib/images.sh
tool=$PWD/build/host/tools/mkboottree
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

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
make_image Image
cp Image domain.bin
echo ramdisk >ramdisk

guest() { printf 'name = "%s"\nkernel = "Image"\nmemory = 16\n' "$1"; }
make_tree() { "$tool" --board board.dtb --domain domain.bin --output boot.dtb "$@" 2>messages; }

# expect_get NAME NODE PROPERTY TYPE VALUE
expect_get() {
    got=$(fdtget -t "$4" boot.dtb "$2" "$3" 2>&1)
    if [ "$got" = "$5" ]; then verdict ok "$1"; else verdict "is '$got', not '$5'" "$1"; fi
}

# expect_refusal NAME PATTERN: the configuration in bad.cfg must be refused with such a message.
expect_refusal() {
    if make_tree bad.cfg >/dev/null; then
        verdict "was accepted" "$1"
    elif grep -q -- "$2" messages; then
        verdict ok "$1"
    else
        verdict "said: $(tr '\n' ' ' <messages)" "$1"
    fi
}
