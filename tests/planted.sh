#!/bin/sh
# SPDX-License-Identifier: MIT
#
# planted.sh: each planted bug of the library is found
#
#   planted.sh [NAME...]
#
# A patch in tests/planted/ states what must find it, one line each:
#
#   Seeds: N        the simulator, in seeds 1 to N
#   Run: OPTIONS    the simulator, in a run with these options
#   Test: NAME      this unit test; for bugs that the simulated machine cannot reach
#
# The patch is applied to a copy of the tree, and the simulator or the test is built there and must fail.
# Object files are copied too, so only what the patch changes is compiled again. A patch that no longer
# applies fails. A bug that makes the simulator loop is found by the limit on its CPU time. As many run at
# a time as there are CPUs. Prints TAP.

set -eu

cd "$(dirname -- "$0")/.."
work=build/planted
sim=build/planted/sim/fast/dragoman-sim
number=0
status=0
mkdir -p $work
jobs=$(nproc)

say() { # $1 ok or not ok, $2 text
    number=$((number + 1))
    echo "$1 $number - planted: $2"
    [ "$1" = ok ] || status=1
}

# $1 patch, $2 Seeds, Run or Test: what it states there; empty if nothing.
stated() {
    sed -n "s/^$2: //p" "$1"
}

# $1 patch: the simulator's options that must find the bug.
options_of() {
    seeds=$(stated "$1" Seeds)
    [ -z "$seeds" ] || echo "--seeds 1-$seeds"
    stated "$1" Run
}

make_sim() {
    make -s --no-print-directory -j"$jobs" SIM_OPT=-O1 SIM_OUT=build/planted/sim $sim
}

make_tests() { # NAME...
    # shellcheck disable=SC2046  # a list of words on purpose
    [ $# = 0 ] || make -s --no-print-directory -j"$jobs" $(printf 'build/host/tests/%s\n' "$@" | sort -u)
}

# $1 patch, $2 sim or unit: makes the directory with the changed tree, and names it in $tree.
# shellcheck disable=SC2317  # called by find_with_sim and find_with_test
plant() {
    tree=$work/$(basename "$1" .patch).$2
    rm -rf "$tree"
    mkdir -p "$tree/build"
    tar -cf - --ignore-failed-read -T "$work/files" -T "$work/files.$2" | tar -xf - -C "$tree"
    patch -s -p1 --no-backup-if-mismatch -d "$tree" <"$1" >"$tree/patch.log" 2>&1
}

# shellcheck disable=SC2317  # called by try
find_with_sim() { # $1 patch, $2 the simulator's options
    plant "$1" sim || return 3
    (cd "$tree" && make_sim) >"$tree/build.log" 2>&1 || return 4
    # shellcheck disable=SC2086  # words on purpose
    prlimit --cpu=300: "$tree/$sim" $2 --jobs 1 >"$tree/run.log" 2>&1 && return 5
    seed=$(sed -n 's/^seed \([0-9]*\) .*/\1/p' "$tree/run.log" | head -n 1)
    by="seed $seed of $2 ($(sed -n 's/^seed [0-9]* [^:]*: //p' "$tree/run.log" | head -n 1))"
}

# shellcheck disable=SC2317  # called by try
find_with_test() { # $1 patch, $2 the test
    plant "$1" unit || return 3
    (cd "$tree" && make_tests "$2") >"$tree/build.log" 2>&1 || return 4
    (cd "$tree" && CMOCKA_MESSAGE_OUTPUT=TAP timeout 1200 "build/host/tests/$2") >"$tree/run.log" 2>&1 && return 5
    by=$2
}

# $1 patch, $2 find_with_sim or find_with_test, $3 its argument: prints the result.
try() {
    name=$(basename "$1" .patch)
    result=0
    "$2" "$1" "$3" || result=$?
    case $result in
    0) echo "ok $name, found by $by" ;;
    3) echo "not ok $name: the patch no longer applies" ;;
    4) echo "not ok $name: does not build" ;;
    *) echo "not ok $name: not found by $3" ;;
    esac
    [ $result != 0 ] || rm -rf "${tree:?}"
}

# $1 patch: writes the results to NAME.result.
one() {
    options=$(options_of "$1")
    unit=$(stated "$1" Test)
    {
        [ -z "$options" ] || try "$1" find_with_sim "$options"
        [ -z "$unit" ] || try "$1" find_with_test "$unit"
    } >$work/"$(basename "$1" .patch)".result
}

if [ "${1:-}" = --one ]; then
    one "$2"
    exit 0
fi

for name in "$@"; do
    [ -e "tests/planted/$name.patch" ] || say 'not ok' "$name: there is no such patch"
done
patches='' units='' by_sim=no
for patch in tests/planted/*.patch; do
    name=$(basename "$patch" .patch)
    if [ $# -gt 0 ]; then
        case " $* " in
        *" $name "*) ;;
        *) continue ;;
        esac
    fi
    options=$(options_of "$patch")
    unit=$(stated "$patch" Test)
    [ -n "$options$unit" ] || say 'not ok' "$name states neither Seeds, Run nor Test"
    [ -z "$options" ] || by_sim=yes
    patches="$patches $patch"
    units="$units $unit"
done

# The unchanged tree, compiled once.
# shellcheck disable=SC2086  # a list of words on purpose
if ! { { [ $by_sim = no ] || make_sim; } && make_tests $units; } >$work/build.log 2>&1; then
    tail -n 20 $work/build.log | sed 's/^/# /'
    say 'not ok' 'the unchanged tree builds'
    exit 1
fi
git ls-files -co --exclude-standard -- . ':!docs' ':!guest' ':!tests/guest' |
    while read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done >$work/files
# Of the unit tests what is compiled, not what is linked: a copy links the one test that it needs.
find build/planted/sim -type f >$work/files.sim 2>/dev/null || true
{ find build/host -name '*.[oad]' && echo build/xen-headers; } >$work/files.unit 2>/dev/null || true

rm -f $work/*.result
# shellcheck disable=SC2086
printf '%s\n' $patches | xargs -r -P "$jobs" -n 1 tests/planted.sh --one
for patch in $patches; do
    while read -r result; do
        say "${result%%ok *}ok" "${result#*ok }"
    done <$work/"$(basename "$patch" .patch)".result
done
echo "1..$number"
exit $status
