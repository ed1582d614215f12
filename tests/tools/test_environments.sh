#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_environments.sh: the tool in unusual environments: another language, a blank in the path, damaged caches, missing
# tools, closed streams. Each command must end with the right message and status. If this breaks, a new user's first
# command fails. Signals, file systems and commands at once: test_environments_ends.sh. Prints TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject='environments'
# shellcheck source=tests/tools/lib/environment.sh
. tests/tools/lib/environment.sh

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
--vif=user no PCI, so no network card
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
DEB_BYTES=2000000 tool "the size is shown before anything is fetched" 0 \
    'to fetch: 4 of the sets in .* 23 MB to download, 2 MB when unpacked' parts
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
    lives "$(cat "$STUBS/paused" 2>/dev/null)" && left="$left QEMU"
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

tool "a build says what it made" 0 'built: the domain (build/arm64/dragoman.bin)' build
tool "a soak" 0 '^ok 1 - ' soak --rounds 1 --seconds 40
# A fuzz target's stand-in says what libFuzzer says at its end.
mkdir -p build/fuzz
cat >build/fuzz/fuzz-nvme <<'END'
#!/bin/sh
printf '#900\tDONE   cov: 77 ft: 80 corp: 1/1b\nstat::number_of_executed_units: 900\nstat::average_exec_per_sec: 450\n'
exit "${CRASH:-0}"
END
chmod +x build/fuzz/fuzz-nvme
tool "a fuzz target" 0 'nvme *900 inputs in [0-9]* s, 450 a second, 77 edges reached' fuzz --seconds 1 nvme
CRASH=77 tool "a fuzz target that crashes" 1 'nvme *CRASHED' fuzz --seconds 1 nvme

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
# shellcheck disable=SC2016 # a dollar sign
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

# --- a real build in a path with a blank ---

copy_sources
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
