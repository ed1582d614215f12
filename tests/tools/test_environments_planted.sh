#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_environments_planted.sh: the tests of the tool find what they are for: in a copy of the tool one guard at a time is
# taken away (a lock, a check of space, a trap...), and the test of it must fail. If this breaks, such a test passes
# whatever the tool does. Prints TAP.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject='planted in the tool'
# shellcheck source=tests/tools/lib/environment.sh
. tests/tools/lib/environment.sh

# planted WHAT FILE SED-SCRIPT COMMAND...: COMMAND, which prints one verdict, must pass, and fail with the script applied.
planted() {
    what=$1 file=$2 script=$3
    shift 3
    before=$("$@" 2>&1 | grep '^ok\|^not ok\|^#')
    cp "$file" "$work/original"
    sed -i "$script" "$file"
    cmp -s "$file" "$work/original" && applied=no || applied=yes
    after=$("$@" 2>&1 | grep '^ok\|^not ok\|^#')
    cp "$work/original" "$file"
    case $applied,$before,$after in
    no,*) verdict "the planted bug no longer applies to $file" "$what" ;;
    yes,ok*,'not ok'*) verdict ok "$what" ;;
    *) verdict "without it: $before; with it: $after" "$what" ;;
    esac
}

# held PHASE COMMAND... -- CHECK...: CHECK while ./dragoman COMMAND stays in the phase.
held() {
    echo "$1" >"$STUBS/pause-in"
    shift
    rm -f "$STUBS/paused"
    first_words=
    while [ "$1" != -- ]; do first_words="$first_words $1" && shift; done
    shift
    # shellcheck disable=SC2086  # words
    env PATH="$STUBS/bin:$PATH" ./dragoman $first_words >/dev/null 2>&1 </dev/null &
    first=$!
    while [ ! -s "$STUBS/paused" ]; do sleep 0.1; done
    rm "$STUBS/pause-in"
    "$@"
    kill $first
    wait $first
    rm -rf build/run
}

# waits COMMAND...: the command says that it waits, within a minute at most, and has not ended.
waits() {
    env PATH="$STUBS/bin:$PATH" ./dragoman "$@" >/dev/null 2>"$work/messages" </dev/null &
    second=$!
    tries=600
    until grep -q 'waiting until it ends' "$work/messages" || ! lives $second || [ $tries = 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    if lives $second; then verdict ok waits; else verdict "it ended" waits; fi
    kill $second 2>/dev/null
    wait $second
}

# damaged: a file of the cache that was cut is fetched again.
damaged() {
    : >"$cache/linux-cloud/boot/vmlinuz-6.1"
    tool "a file that was cut" 0 'the set linux-cloud in .* is damaged' parts
}

# whole_output: a plan that cannot be written leaves the tree as it was.
whole_output() {
    make --no-print-directory -s build/host/tools/mkboottree >/dev/null 2>&1 || verdict "it is not built" whole
    printf 'name = "a"\nkernel = "%s"\nmemory = 64\n' "$work/kernel" >"$work/a.cfg"
    echo before >"$work/boot.dtb"
    long=$(head -c 250 /dev/zero | tr '\0' p) # too long for a name with a suffix
    build/host/tools/mkboottree --when-idle stay --board "$STUBS/board.dtb" --domain "$work/domain.bin" --output "$work/boot.dtb" \
        --plan "$work/$long" "$work/a.cfg" >/dev/null 2>&1
    if [ "$(head -c 6 "$work/boot.dtb")" = before ]; then verdict ok whole; else verdict "the tree is another one" whole; fi
}

tool "a run before all others" 0 'The run passed' run --task idle
cp "$STUBS/console" "$work/console.good"

DEB_BYTES=999999999999
export DEB_BYTES
mv "$cache" "$work/parts"
planted "space is not checked" tools/lib.sh 's/^require_space() {/&\n    return 0/' tool space 1 'needs [0-9]* MiB in' parts
unset DEB_BYTES
rm -rf "$cache"
mv "$work/parts" "$cache"
planted "a damaged cache is not noticed" tools/setup/parts.sh 's/^set_is_whole() {/&\n    return 0/' damaged
tool "the cache is whole again" 0 'PARTS_DIR' parts
planted "two runs use one directory" tools/run.sh 's/^flock -n 9 || fail/true || fail/' \
    held boot run --task idle -- tool second 1 'another run uses' run --task idle
cp -r build "$work/build"
# shellcheck disable=SC2016 # the variable is that of the file
planted "clean removes what a run uses" dragoman 's/^    \[ -z "\$busy" \] || fail/    true || fail/' \
    held boot run --task idle --dir build/other -- tool clean 1 'nothing was removed' clean
mkdir -p build/host/tools # the planted one has removed them
cp -r "$work/build/." build/
planted "two commands build at once" tools/lib.sh 's/if ! flock -n 8; then/if false; then/' held make build -- waits build
planted "a signal leaves QEMU running" tools/lib.sh "s/^    trap 'end_guarded 15' TERM//" interrupt boot TERM 15 run --task idle
# shellcheck disable=SC2016
planted "a signal leaves the disks" tools/run.sh 's/|| rm -f "\$dir"\/disk\*\.img\*/|| true/' \
    interrupt boot INT 2 run --task idle
sed 's/@dragoman done/@dragoman crashing/; s/powered off/crashed/' "$work/console.good" >"$STUBS/console"
planted "a crashed guest passes" tools/run-checks.sh 's/^check_ends() {/&\n    return 0/' \
    tool crash 1 'did not complete its task idle; it crashed' run --task idle
cp "$work/console.good" "$STUBS/console"
make_image "$work/domain.bin"
make_image "$work/kernel"
printf x >>"$work/kernel" # a guest must not get the domain's image
copy_sources
planted "an output is written before the other can be" tools/output_files.c \
    's/write_unfinished(&files\[i\], &unfinished\[i\])/&, rename(unfinished[i], files[i].path)/' whole_output
plan
