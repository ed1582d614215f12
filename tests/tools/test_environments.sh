#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_environments.sh: the tool in unusual environments: another language, a blank in the path, full and read-only
# file systems, damaged caches, missing tools, signals in every phase, two commands at once. Each command must end
# with the right message and status and leave no file or process. If this breaks, a new user's first command fails, or
# QEMU continues to run after its end.
#
# Works on a copy of the tool, with stand-ins for apt-get, make, mke2fs and QEMU (stubs/). Needs the built host tools,
# dtc and dpkg-deb; speaks TAP. Some cases need root (mount), and are skipped without.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject='environments'
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

# --- help, before anything is installed or built ---

for command in run test fuzz prove bench sim soak build parts clean; do
    [ -e "tools/$command.sh" ] || [ $command = soak ] || [ $command = build ] || [ $command = parts ] || [ $command = clean ] || continue
    tool "$command --help" 0 "^Usage: ./dragoman $command" $command --help
done
tool "--help" 0 '^Usage: ./dragoman ' --help
tool "help run" 0 '^Usage: ./dragoman run' help run
ln -s "$clone/dragoman" "$work/link"
if (cd / && "$work/link" --version) >"$work/out" 2>&1 && grep -q '^dragoman' "$work/out"; then
    verdict ok "by a symbolic link, from another directory"
else
    verdict "$(cat "$work/out")" "by a symbolic link, from another directory"
fi
tool "--version" 0 '^dragoman [0-9]' --version
for command in run test fuzz bench sim soak build parts clean; do
    tool "$command --wrong" 2 "Try './dragoman $command --help'" $command --wrong
done
while read -r words says; do
    # shellcheck disable=SC2086  # words on purpose
    tool "run --board=zcu102 $words" 2 "$says" run --board=zcu102 $words
done <<'END'
--gic=3 a ZCU102 has a GICv2
--xen=4.17 take 4.20
--cpu=cortex-a57 a ZCU102 has Cortex-A53
--kernel=16k have no pages of 16 KiB
--smp=5 a ZCU102 has 4 CPUs
--disk-type=nvme an SD card only
--guests=2 one SD card
--memory=4T --memory needs a number
--sector=4096 sectors have 512 bytes
END
tool "an unknown command" 2 "unknown command 'walk'" walk
if [ -e "$STUBS/calls" ]; then
    verdict "$(head -n 1 "$STUBS/calls")" "help and wrong options start no other program"
else
    verdict ok "help and wrong options start no other program"
fi

# --- another language: the stand-ins speak German ---

export LANG=de_DE.UTF-8 LANGUAGE=de
echo kmod >"$STUBS/missing-package"
tool "a missing package is announced with its size and installed" 0 'these packages (5 MB to download): kmod' parts -y
tool "the parts are there" 0 "LINUX_CLOUD_DIR=$cache/linux-cloud" parts
if [ -s "$cache/linux-cloud/Image" ] && [ -s "$cache/guest-root/usr/bin/busybox" ]; then
    verdict ok "every set was unpacked"
else
    verdict "they are not" "every set was unpacked"
fi
rm -rf "$cache"
tool "the size is shown before anything is fetched" 0 'to fetch: 4 of the sets in .* MB to download' parts
touch "$STUBS/no-network"
rm -rf "$cache"
tool "no network" 1 'the package list of Debian trixie could not be fetched' parts
rm "$STUBS/no-network"
tool "and again with network" 0 'dragoman parts: complete' parts

# --- a damaged cache ---

tool "a whole cache is not touched" 0 'PARTS_DIR' parts
if grep -q 'fetching' "$work/messages"; then verdict "it was" "a whole cache is not fetched"; else
    verdict ok "a whole cache is not fetched"
fi
image=$cache/linux-cloud/boot/vmlinuz-6.1
cp -p "$image" "$work/image"
: >"$image"
tool "a file that was cut" 0 'the set linux-cloud in .* is damaged (./boot/vmlinuz-6.1)' parts
rm "$cache/linux-cloud/Image"
tool "a link that is gone" 0 'the set linux-cloud in .* is damaged (a symbolic link)' parts
rm -r "$cache/guest-root/usr"
tool "a directory that is gone" 0 'the set guest-root in .* is damaged' parts
printf x | dd of="$image" bs=1 seek=2000 conv=notrunc 2>/dev/null
touch -r "$work/image" "$image"
sed -i "s/^f 4096 [0-9.]* \(.*vmlinuz.*\)/f 4096 $(find "$image" -printf '%T@') \1/" "$cache/linux-cloud.files"
tool "a byte that changed, with --verify" 0 'the set linux-cloud in .* is damaged (./boot/vmlinuz-6.1)' parts --verify
if cmp -s "$image" "$work/image"; then verdict ok "all was repaired"; else verdict "it is not" "all was repaired"; fi
touch "$image"
tool "a file that was only touched" 0 'PARTS_DIR' parts
if grep -q damaged "$work/messages"; then verdict "said damaged" "a touched file is no damage"; else
    verdict ok "a touched file is no damage"
fi

# --- a run ---

tool "a run" 0 'guest 1: task idle completed; then it powered off' run --task idle
[ ! -e build/run/disk0.img ] || verdict "a disk is left" "a good run leaves no disk"
sed 's/@dragoman done/@dragoman crashing/; s/powered off/crashed/' "$STUBS/console" >"$work/console"
cp "$STUBS/console" "$work/console.good"
cp "$work/console" "$STUBS/console"
tool "a run with a crashed guest says that it crashed" 0 'guest 1: task crash: it crashed, as intended' run --task crash
tool "a guest that crashed before its task was done" 1 'did not complete its task idle; it crashed' run --task idle
printf '(XEN) Panic on CPU 0:\n(XEN) Could not set up domain domU1 (rc = -12)\n' >"$STUBS/console"
tool "a panic of Xen comes with its cause" 1 "Xen lacks memory for that domain" run --task idle
cp "$work/console.good" "$STUBS/console"
mkdir -p "$work/odd, dir"
tool "a directory with blank and comma" 0 'The run passed' run --task idle --dir "$work/odd, dir"

env PATH="$STUBS/bin:$PATH" ./dragoman run --task idle >"$work/out" 2>"$work/messages" <&-
status=$?
if [ $status = 0 ]; then verdict ok "without standard input"; else
    verdict "status $status: $(tail -n 2 "$work/messages")" "without standard input"
fi

# Closed standard streams, and a reader that ends. QEMU's stand-in stays in the boot for ten minutes.
closed() { # NAME, then a command that closes streams
    name=$1
    shift
    env PATH="$STUBS/bin:$PATH" sh -c "$1" >"$work/out" 2>"$work/messages"
    status=$?
    if [ $status = 0 ]; then verdict ok "$name"; else verdict "status $status: $(tail -n 2 "$work/messages")" "$name"; fi
}
closed "without standard output" './dragoman run --task idle >&-'
closed "without standard error" './dragoman run --task idle 2>&-'
closed "without any standard stream" './dragoman run --task idle <&- >&- 2>&-'
echo boot >"$STUBS/pause-in"
for how in '-v' '2>&1'; do
    rm -f "$STUBS/paused"
    env PATH="$STUBS/bin:$PATH" timeout 1200 sh -c \
        "{ ./dragoman run --task idle $how; echo \$? >'$work/status'; } | head -n 1" >"$work/out" 2>"$work/messages"
    left=$(ls build/run/disk*.img 2>/dev/null)
    kill -0 "$(cat "$STUBS/paused")" 2>/dev/null && left="$left QEMU"
    if [ "$(cat "$work/status")" = 141 ] && [ -z "$left" ]; then
        verdict ok "run $how | head -n 1: nothing is left behind"
    else
        verdict "status $(cat "$work/status") left: $left" "run $how | head -n 1: nothing is left behind"
    fi
done
rm -f "$STUBS/pause-in"
for locale in fr_FR.UTF-8 tr_TR.UTF-8; do
    # Installed here or not.
    mkdir -p "$work/locales"
    localedef -i ${locale%.*} -f UTF-8 "$work/locales/$locale" 2>/dev/null
    LOCPATH="$work/locales" LC_ALL=$locale tool "a run with LC_ALL=$locale" 0 'The run passed' run --task idle
done
TMPDIR="$work/none" tool "a TMPDIR that does not exist" 0 'The run passed' run --task idle
tool "a line end in the path" 1 'holds a line end, which a load plan cannot hold' run --task idle --dir "$work/line
end"

# --- missing tools ---

mkdir "$work/few"
for program in sh env dirname pwd id sed awk grep tr cat head tail cut mkdir rm ls df; do
    ln -s "$(command -v $program)" "$work/few/$program"
done
env PATH="$work/few" ./dragoman build >"$work/out" 2>"$work/messages"
status=$?
if [ $status = 1 ] && grep -q 'not a Debian machine' "$work/messages"; then verdict ok "a machine without apt"; else
    verdict "status $status: $(cat "$work/messages")" "a machine without apt"
fi

mv "$STUBS/bin/qemu-system-aarch64" "$work/qemu"
mkdir "$work/few/rest"
for directory in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
    for program in "$directory"/*; do
        case ${program##*/} in qemu-*) ;; *) ln -sf "$program" "$work/few/rest/" ;; esac
    done
done
env PATH="$STUBS/bin:$work/few/rest" ./dragoman run --task idle >"$work/out" 2>"$work/messages" </dev/null
status=$?
if [ $status = 1 ] && grep -q 'the program .qemu-system-aarch64. is not in PATH' "$work/messages" &&
    grep -q 'apt-get install --reinstall qemu-system-arm' "$work/messages"; then verdict ok "a machine without QEMU"; else
    verdict "status $status: $(cat "$work/messages")" "a machine without QEMU"
fi
mv "$work/qemu" "$STUBS/bin/qemu-system-aarch64"
for program in gcc dtc aarch64-linux-gnu-gcc cpio xz flock awk; do
    real=$(readlink "$work/few/rest/$program")
    rm "$work/few/rest/$program"
    # In no directory of the system's: packages.sh adds those of the superuser only.
    PATH="$work/few/rest" tool "a machine without $program" 1 "the program '$program' is not in PATH" build
    ln -s "$real" "$work/few/rest/$program"
done
tool_home=${HOME:-}
unset HOME
XDG_CACHE_HOME='' tool "no HOME" 1 'neither HOME nor XDG_CACHE_HOME is set' parts
export HOME="$tool_home"
XDG_CACHE_HOME="$work/a b" tool "a blank in the cache's path" 1 'holds a blank, which make cannot handle' parts
for odd in "it's" 'a"b' 'a$b' 'a#b' 'a\b' 'a%b'; do
    XDG_CACHE_HOME="$work/$odd" tool "$odd in the cache's path" 1 'a character that has a meaning in make or sh' parts
done
XDG_CACHE_HOME=here tool "a cache that is not absolute" 1 'is not absolute' parts

# As a user who is not root, where there is no sudo.
rm -f "$work/few/rest/sudo"
echo kmod >"$STUBS/missing-package"
if chmod -R a+rX "$work" 2>/dev/null && setpriv --reuid=65534 --clear-groups true 2>/dev/null; then
    env PATH="$STUBS/bin:$work/few/rest" setpriv --reuid=65534 --clear-groups tools/setup/packages.sh -y \
        >"$work/out" 2>"$work/messages" </dev/null
    status=$?
    if [ $status = 1 ] && grep -q 'installing needs root, and there is no sudo here' "$work/messages" &&
        grep -q 'apt-get install --no-install-recommends kmod' "$work/messages"; then
        verdict ok "a user without sudo gets the command to run as root"
    else
        verdict "status $status: $(cat "$work/messages")" "a user without sudo gets the command to run as root"
    fi
else
    skip "a user without sudo gets the command to run as root" "changing the user needs root"
fi
rm -f "$STUBS/missing-package"

# --- file systems ---

# mount_small DIRECTORY KIB: false where it cannot be.
mount_small() {
    mkdir -p "$1" && mount -t tmpfs -o "size=${2}k" tmpfs "$1" 2>/dev/null && mounts="$1 $mounts"
}
if mount_small "$work/small" 2048; then
    XDG_CACHE_HOME="$work/small" tool "a full file system for the cache" 1 \
        'needs [0-9]* MiB in .*, and its file system has [0-9]* MiB left' parts
    tool "a full file system for the run" 1 'the run (1 disks) needs [0-9]* MiB in' run --task idle --dir "$work/small/run"
    yes dragoman: boot | head -c 4000000 >"$STUBS/console"
    build/host/tools/machine --log "$work/small/log" --results "$work/results" --timeout 60 -- \
        "$STUBS/bin/qemu-system-aarch64" x x 2>"$work/messages"
    status=$?
    if [ $status = 1 ] && grep -q 'cannot write .*/log: No space left on device' "$work/messages"; then
        verdict ok "a log that cannot be written fails the run"
    else
        verdict "status $status: $(tail -n 2 "$work/messages")" "a log that cannot be written fails the run"
    fi
    echo 'dragoman: boot' >"$STUBS/console"
    mkdir -p "$work/filling/run"
    if mount_small "$work/filling" 40000; then
        # It fills up while the machine runs.
        FILL="$work/filling/fill" tool "a file system that fills up during the run" 1 'The file system of .*filling/run is full' \
            run --task idle --mib 4 --dir "$work/filling/run"
    fi
    cp "$work/console.good" "$STUBS/console"
    mount -o remount,ro "$work/small"
    XDG_CACHE_HOME="$work/small/x" tool "a read-only file system for the cache" 1 \
        'cannot make the directory .*: Read-only file system' parts
    tool "a read-only file system for the run" 1 'cannot .* the directory .*small/run' run --task idle --dir "$work/small/run"
    mkdir "$work/ro" && mount --bind "$clone" "$work/ro" && mounts="$work/ro $mounts" && mount -o remount,bind,ro "$work/ro"
    cd "$work/ro" || exit 1
    for command in build run test fuzz sim; do
        tool "$command in a read-only clone" 1 'cannot write to the directory build' $command
    done
    cd "$clone" || exit 1
else
    skip "full and read-only file systems" "mounting needs root"
fi

# --- signals ---

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
        grep -q '^[0-9]* (.*) [^ZX] ' "/proc/$pid/stat" 2>/dev/null && left="process $pid" && kill "$pid"
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
for sent in 'HUP 1' 'INT 2' 'TERM 15'; do
    # shellcheck disable=SC2086  # two words
    {
        interrupt boot $sent run --task idle
        interrupt boot $sent soak
        interrupt make $sent bench p2m
    }
done
interrupt dumpdtb TERM 15 run --task idle
interrupt mke2fs INT 2 run --task idle
interrupt make TERM 15 build
interrupt make INT 2 fuzz
interrupt boot QUIT 3 run --task idle
# A target that runs until the signal comes.
mkdir -p build/fuzz
# shellcheck disable=SC2016  # the variable is that of the target
printf '#!/bin/sh\nexec "$STUBS/bin/pause" target\n' >build/fuzz/fuzz-ring
chmod +x build/fuzz/fuzz-ring
for signal in 'HUP 1' 'INT 2' 'QUIT 3' 'TERM 15'; do
    # shellcheck disable=SC2086  # two words
    interrupt target $signal fuzz ring
done
rm -rf "$cache"
interrupt download TERM 15 parts
interrupt download HUP 1 run
echo kmod >"$STUBS/missing-package"
interrupt install INT 2 build -y
rm -f "$STUBS/missing-package"
tool "a run after all the signals passes" 0 'The run passed' run --task idle

# --- two commands at once ---

# beside PHASE NAME STATUS PATTERN COMMAND... -- FIRST...: COMMAND while FIRST is held in the phase.
echo boot >"$STUBS/pause-in"
rm -f "$STUBS/paused"
env PATH="$STUBS/bin:$PATH" ./dragoman run --task idle >/dev/null 2>&1 </dev/null &
first=$!
while [ ! -s "$STUBS/paused" ]; do sleep 0.1; done
rm "$STUBS/pause-in"
tool "a second run in one directory" 1 'another run uses .*build/run (process [0-9]*)' run --task idle
tool "a second run in another directory" 0 'The run passed' run --task idle --dir "$work/second"
tool "clean during a run" 1 'a command works in build/run: nothing was removed' clean
if [ -e build/run/disk0.img ]; then verdict ok "the first run's disk is untouched"; else
    verdict "it is gone" "the first run's disk is untouched"
fi
kill $first
wait $first
echo make >"$STUBS/pause-in"
rm -f "$STUBS/paused"
env PATH="$STUBS/bin:$PATH" ./dragoman build >/dev/null 2>&1 </dev/null &
first=$!
while [ ! -s "$STUBS/paused" ]; do sleep 0.1; done
rm "$STUBS/pause-in"
# The second command waits for the first one, process $first, which ends as soon as it has said so.
second_waits() { # NAME PATTERN, then the command
    name=$1 pattern=$2 tries=600
    shift 2
    env PATH="$STUBS/bin:$PATH" ./dragoman "$@" >/dev/null 2>"$work/messages" </dev/null &
    second=$!
    until grep -q "$pattern" "$work/messages" || [ $tries = 0 ]; do tries=$((tries - 1)) && sleep 0.1; done
    kill $first
    wait $first
    if wait $second && [ $tries -gt 0 ]; then verdict ok "$name"; else verdict "$(cat "$work/messages")" "$name"; fi
}
second_waits "a second build waits, and says so" 'another command builds in this clone' build
mkdir -p build/soak
sh -c 'exec 8>build/soak/lock; flock 8; exec sleep 1200' &
first=$!
while flock -n build/soak/lock true; do sleep 0.1; done
second_waits "a second soak waits, and says so" 'another soak runs in this clone' soak --rounds 1
# What waits for a clean builds in a new directory, under a lock that others see.
mv build "$work/build"
mkdir build
(
    exec 8>build/lock
    flock 8
    echo held >"$work/held"
    while [ -e "$work/held" ]; do sleep 0.1; done
    rm -rf build
) &
first=$!
while [ ! -e "$work/held" ]; do sleep 0.1; done
env PATH="$STUBS/bin:$PATH" ./dragoman build >/dev/null 2>"$work/messages" </dev/null &
second=$!
tries=600
until grep -q 'another command builds in this clone' "$work/messages" || [ $tries = 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
done
rm "$work/held"
wait $first
if wait $second && [ -e build/lock ]; then verdict ok "a build that waited for a clean"; else
    verdict "$(cat "$work/messages")" "a build that waited for a clean"
fi
rm -rf build
mv "$work/build" build

# --- a real build in a path with a blank ---

cp -r "$top/Makefile" "$top/kernel" "$top/include" "$top/port" "$top/examples" "$top/sim" "$clone/"
rm -rf build/host/tools
if make --no-print-directory tools >"$work/out" 2>&1 && [ -x build/host/tools/machine ]; then
    verdict ok "the host tools are built in a path with a blank"
else
    verdict "$(tail -n 3 "$work/out" | tr '\n' ' ')" "the host tools are built in a path with a blank"
fi

# The test guest, from the real parts where they exist.
linux=$(sed -n 's/^LINUX_CLOUD_DIR=//p' "$top/build/parts.mk" 2>/dev/null)
root=$(sed -n 's/^GUEST_ROOT_DIR=//p' "$top/build/parts.mk" 2>/dev/null)
if [ ! -e "$linux/Image" ]; then
    skip "the test guest is built in a path with a blank" "the parts are not fetched"
elif guest/build.sh "$linux" "$root" "$clone/build/guest/real.cpio.gz" >"$work/out" 2>&1 &&
    zcat build/guest/real.cpio.gz | grep -qa 'xen-blkfront.ko'; then
    verdict ok "the test guest is built in a path with a blank"
else
    verdict "$(tail -n 3 "$work/out" | tr '\n' ' ')" "the test guest is built in a path with a blank"
fi
plan
