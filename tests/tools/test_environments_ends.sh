#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_environments_ends.sh: commands that end early, and commands beside others: full and read-only file systems, signals
# in every phase, two commands at once. Each must end with the right message and status and leave no file or process.
# If this breaks, QEMU continues to run after a command's end, or two commands destroy each other's files. Some cases
# need root (mount), and are skipped without. Prints TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject='ends of commands'
# shellcheck source=tests/tools/lib/environment.sh
. tests/tools/lib/environment.sh

tool "a run before all others" 0 'The run passed' run --task idle
cp "$STUBS/console" "$work/console.good"

# --- file systems ---

# mount_small DIRECTORY KIB: false where it cannot be.
mount_small() {
    mkdir -p "$1" && mount -t tmpfs -o "size=${2}k" tmpfs "$1" 2>/dev/null && mounts="$1 $mounts"
}
if mount_small "$work/small" 2048; then
    XDG_CACHE_HOME="$work/small" tool "a full file system for the cache" 1 \
        'needs [0-9]* MiB in .*, and its file system has [0-9]* MiB left' parts
    TMPDIR="$work/small" tool "a full file system for temporary files" 1 'building needs 50 MiB in .*small' build
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

# What a Linux Dom0 needs, for `bench io`.
make_deb xen-utils-4.20 usr/lib/xen-4.20/bin/xl
for name in libxenmisc4.20 xenstore-utils libxencall1 libxendevicemodel1 libxenevtchn1 libxenforeignmemory1 libxengnttab1 \
    libxenhypfs1 libxenstore4 libxentoolcore1 libxentoollog1 libyajl2 libfdt1 libgcc-s1 zlib1g; do
    make_deb $name usr/lib/$name.so
done
for sent in 'HUP 1' 'INT 2' 'TERM 15'; do
    # shellcheck disable=SC2086  # two words
    {
        interrupt boot $sent run --task idle
        interrupt boot $sent soak
        interrupt make $sent bench p2m
        interrupt make $sent bench io --system native
        interrupt boot $sent bench io --system native
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
plan
