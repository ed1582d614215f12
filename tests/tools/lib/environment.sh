# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# environment.sh: a copy of the tool with stand-ins for apt-get, make, mke2fs and QEMU (stubs/), and the function that
# runs it. Sourced in the top directory, after `subject=NAME`; goes to the copy, in $clone. Needs the built host tools,
# dtc and dpkg-deb.

# shellcheck disable=SC2154 # number, of tap.sh
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
# shellcheck source=tests/tools/lib/images.sh
. tests/tools/lib/images.sh
top=$PWD
PATH=$PATH:/sbin:/usr/sbin
# `./dragoman test` holds the build lock of the real clone; the copy of the tool takes its own.
unset DRAGOMAN_LOCKED
work=$(mktemp -d)
mounts=
clean_up() {
    cd /
    for mount in $mounts; do umount "$mount" 2>/dev/null; done
    rm -rf "$work"
}
trap clean_up EXIT

# The clone's path is odd throughout, so every case below is tested with a blank, quotes, a backslash...
clone="$work/a 'clone\" of \$HOME, ü\\x"
export STUBS="$work/stubs"
mkdir -p "$clone/include/dragoman/base" "$clone/sim/machine" "$clone/build/host/tools" "$clone/build/arm64" \
    "$clone/build/guest" "$clone/tests" "$STUBS/bin" "$STUBS/debs"
cp -r dragoman tools guest bench fuzz "$clone/"
cp -r tests/guest tests/harness.py "$clone/tests/"
cp include/dragoman/base/version.h "$clone/include/dragoman/base/"
cp sim/machine/main.c "$clone/sim/machine/"
cp build/host/tools/mkboottree build/host/tools/machine "$clone/build/host/tools/"
cp tests/tools/stubs/* "$STUBS/bin/"
cd "$clone" || exit 1

# --- the data of the stand-ins ---

# make_deb NAME FILE...: a package with these files, each an Image.
make_deb() {
    deb=$1
    shift
    mkdir -p "$work/deb/DEBIAN"
    printf 'Package: %s\nVersion: 1\nArchitecture: arm64\nMaintainer: none\nDescription: none\n' "$deb" \
        >"$work/deb/DEBIAN/control"
    for file in "$@"; do
        mkdir -p "$work/deb/$(dirname "$file")"
        make_image "$work/deb/$file"
    done
    dpkg-deb -b --root-owner-group "$work/deb" "$STUBS/debs/$deb.deb" >/dev/null
    rm -rf "$work/deb"
}
make_deb xen-hypervisor-4.20-arm64 boot/xen-4.20-arm64
make_deb linux-image-6.1-test boot/vmlinuz-6.1 usr/lib/modules/6.1/modules.order
make_deb libfdt-dev usr/lib/aarch64-linux-gnu/libfdt.a usr/include/libfdt.h
for name in busybox-static e2fsprogs libblkid1 libc6 libcom-err2 libext2fs2t64 libss2 libuuid1; do
    make_deb $name usr/bin/"${name%-static}"
done
make_image build/arm64/dragoman.bin
echo ramdisk >build/guest/initramfs-cloud.cpio.gz
cat >"$work/board.dts" <<'END'
/dts-v1/;
/ {
    #address-cells = <2>; #size-cells = <2>;
    memory@40000000 { device_type = "memory"; reg = <0 0x40000000 0 0x80000000>; };
};
END
dtc -q -I dts -O dtb -o "$STUBS/board.dtb" "$work/board.dts"
cat >"$STUBS/console" <<'END'
(XEN) Xen version 4.20.0
dragoman: boot
(XEN) DOM1: @dragoman started 6.12
(XEN) DOM1: @dragoman done
dragoman: guest 1 (guest1) powered off
dragoman: counter foreign_live 0
dragoman: end poweroff
END

# tool NAME STATUS PATTERN ARGUMENT...: runs ./dragoman; its messages must match the pattern.
export XDG_CACHE_HOME="$work/cache"
cache=$XDG_CACHE_HOME/dragoman/parts-1
tool() {
    name=$1 wanted=$2 pattern=$3
    shift 3
    env PATH="$STUBS/bin:$PATH" ./dragoman "$@" >"$work/out" 2>"$work/messages" </dev/null
    status=$?
    if [ $status != "$wanted" ]; then
        verdict "status $status, not $wanted: $(tail -n 3 "$work/messages" | tr '\n' ' ')" "$name"
    elif ! cat "$work/out" "$work/messages" | grep -q -- "$pattern"; then
        verdict "said: $(cat "$work/out" "$work/messages" | tail -n 5 | tr '\n' ' ')" "$name"
    else
        verdict ok "$name"
    fi
}

# $1 a process: it runs, and is no zombie that its parent has not yet collected.
lives() { grep -q '^[0-9]* (.*) [^ZX] ' "/proc/$1/stat" 2>/dev/null; }

# interrupt PHASE SIGNAL NUMBER ARGUMENT...: sends the signal when the phase is reached.
interrupt() {
    phase=$1 signal=$2 wanted=$((128 + $3))
    shift 3
    echo "$phase" >"$STUBS/pause-in"
    rm -f "$STUBS/paused"
    # A background command of a shell ignores SIGINT, and one under nohup SIGHUP, unlike one of a user.
    env --default-signal=INT,HUP,QUIT PATH="$STUBS/bin:$PATH" ./dragoman "$@" >"$work/out" 2>"$work/messages" </dev/null &
    tool_pid=$!
    tries=600
    while [ ! -s "$STUBS/paused" ] && [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    kill -s "$signal" $tool_pid
    wait $tool_pid
    status=$?
    rm -f "$STUBS/pause-in"
    left=
    # shellcheck disable=SC2013  # numbers
    for pid in $(cat "$STUBS/paused"); do
        lives "$pid" && left="process $pid" && kill "$pid"
    done
    set -- build/run/disk*.img "$cache"/new-*
    for file in "$@"; do [ ! -e "$file" ] || left="$left $file"; done
    if [ $status != $wanted ]; then
        verdict "status $status, not $wanted: $(tail -n 2 "$work/messages" | tr '\n' ' ')" "SIG$signal while $phase"
    elif [ -n "$left" ]; then
        verdict "left behind: $left" "SIG$signal while $phase"
    else
        verdict ok "SIG$signal while $phase: nothing is left behind"
    fi
}

# copy_sources: all sources of the real clone, for a real build in the copy.
copy_sources() {
    git -C "$top" ls-files -co --exclude-standard -z | tar -C "$top" --null --ignore-failed-read -cf - -T - 2>/dev/null |
        tar -xf -
}
