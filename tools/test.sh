#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test.sh: `./dragoman test`: the set-up, then every part of the tests, then the totals.
#
# A part is a command that prints TAP lines ("ok NAME", "not ok NAME", "ok NAME # SKIP why"); other
# lines are for people. A part that fails without a "not ok" of its own, or that runs no test,
# counts as one failure. The last line is "N passed, N failed", with ", N skipped" where there are
# any; the exit status is 0 only when none failed.

set -eu

program='dragoman test'
# shellcheck source=tools/lib.sh
. "$(dirname -- "$0")/lib.sh"

usage() {
    cat <<'END'
Usage: ./dragoman test [-y] [--unit | --guest] [NAME...]

Runs the tests and ends with a line "N passed, N failed".

  --unit    hosted tests only: the library with a scripted and a simulated Xen, and the host tools
  --guest   tests on real Xen under QEMU only: Linux guests on arm64, and pages/contig on x86
  NAME...   those of them whose names contain one of these
  -y        install missing packages without asking

Deadlines of tests are generous; DRAGOMAN_SLOW=4 in the environment makes them four times as long.
END
}

unit=yes guest=yes yes=
names=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    -y) yes=-y ;;
    --unit) guest=no ;;
    --guest) unit=no ;;
    -*) usage_error "unknown option '$1'" ;;
    *) names="$names $1" ;;
    esac
    shift
done
{ [ $unit = yes ] || [ $guest = yes ]; } || usage_error "--unit and --guest exclude each other"
# Names select guest tests, so the other parts do not run.
[ -z "$names" ] || unit=no

cd "$(dirname -- "$0")/.."
export PATH="$PATH:/sbin:/usr/sbin"
passed=0 failed=0 skipped=0
# Tests run programs that this command has built: no other command may build meanwhile.
lock_build
export DRAGOMAN_LOCKED=yes
# Builds with sanitizers, copies of the tree for planted bugs, disks of guests.
require_space build 1500 "the tests"
reports=build/test
mkdir -p $reports

# $1 the part's name, then its command.
run_part() {
    part=$1
    shift
    part_start=$(date +%s)
    printf '# %s\n' "$part"
    report=$reports/$part.tap
    { "$@" 2>&1 || echo "$?" >"$report.status"; } | tee "$report"
    part_passed=$(grep -c '^ok\>' "$report") || true
    part_skipped=$(grep -ci '^ok\>.*# *skip' "$report") || true
    part_failed=$(grep -c '^not ok\>' "$report") || true
    if [ -e "$report.status" ] && [ "$part_failed" = 0 ]; then
        printf 'not ok %s: ended with status %s and names no failed test\n' "$part" \
            "$(cat "$report.status")"
        part_failed=1
    elif [ $((part_passed + part_failed)) = 0 ]; then
        printf 'not ok %s: ran no test\n' "$part"
        part_failed=1
    fi
    rm -f "$report.status"
    passed=$((passed + part_passed - part_skipped))
    skipped=$((skipped + part_skipped))
    failed=$((failed + part_failed))
    printf '# %s took %d s\n' "$part" $(($(date +%s) - part_start))
}

# The number of tests of a runner that the names select. $1 the runner.
count_selected() {
    for name in $names; do
        python3 "$1" --list | grep -F -- "$name" || true
    done | grep -c .
}

tools/setup/packages.sh --tests $yes
tools/setup/parts.sh --all --write build/parts.mk
rm -f $reports/*.status

jobs=$(nproc)
if [ $unit = yes ]; then
    make --no-print-directory -j"$jobs" tools unit-tests tsan-tests coverage-programs fuzz-programs
    run_part unit make --no-print-directory check
    run_part tsan make --no-print-directory tsan-check
    run_part coverage make --no-print-directory coverage
    run_part fuzz make --no-print-directory fuzz-replay
    run_part proofs tools/prove.sh
    make --no-print-directory -j"$jobs" sim sim-asan build/bench/path/machine
    run_part sim make --no-print-directory sim-check
    run_part path make --no-print-directory bench-path CHECK=yes
    run_part planted tests/planted.sh
    for script in tests/tools/test_*.sh; do
        [ ! -e "$script" ] || run_part "$(basename "$script" .sh)" "$script"
    done
fi
if [ $guest = yes ]; then
    # Names may select tests of one of the two only. Names that select none: the guest part reports that.
    x86=yes
    [ -z "$names" ] || [ "$(count_selected tests/x86/run.py)" -gt 0 ] || x86=no
    if [ $x86 = no ] || [ -z "$names" ] || [ "$(count_selected tests/guest/run.py)" -gt 0 ]; then
        make --no-print-directory -j"$jobs" domain ramdisk twins tools boards guest guest-16k
        # shellcheck disable=SC2086  # a list of words on purpose
        run_part guest python3 -u tests/guest/run.py $names
    fi
    if [ $x86 = yes ]; then
        make --no-print-directory -j"$jobs" x86-pv
        # shellcheck disable=SC2086
        run_part x86 python3 -u tests/x86/run.py $names
    fi
fi

if [ $skipped -gt 0 ]; then
    printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
else
    printf '%d passed, %d failed\n' $passed $failed
fi
[ $failed = 0 ]
