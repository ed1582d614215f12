#!/bin/sh
# SPDX-License-Identifier: MIT
#
# planted.sh: each planted bug of the library is found by the simulator
#
#   planted.sh [NAME...]
#
# A patch in tests/planted/ that states `Seeds: N` is applied to a copy of the tree, the simulator is
# built with it, and seeds 1 to N must find it; one that states `Run: OPTIONS` must be found by a run
# with these. Object files are copied too, so only the sources that the patch changes are compiled again. A patch that
# no longer applies fails, and so does a simulator that finds a failure in the unchanged tree. A bug that makes the
# simulator loop is found by the limit on its CPU time.
# Prints TAP.

set -eu

cd "$(dirname -- "$0")/../.."
work=build/planted
list=$work/files
number=0
status=0
mkdir -p $work
jobs=$(nproc)

say() { # $1 ok or not ok, $2 text
    number=$((number + 1))
    echo "$1 $number - planted: $2"
    [ "$1" = ok ] || status=1
}

build() {
    make -s --no-print-directory -j"$jobs" SIM_OPT=-O1 SIM_OUT=build/planted/sim \
        build/planted/sim/fast/dragoman-sim
}

# The unchanged tree, compiled once, and its requests a second, which show that it runs at all.
if ! build >$work/build.log 2>&1; then
    tail -n 20 $work/build.log | sed 's/^/# /'
    say 'not ok' 'the simulator builds'
    exit 1
fi
git ls-files -co --exclude-standard -- . ':!docs' ':!guest' ':!tests' ':!fuzz' >$list.all
while read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done <$list.all >$list

try() { # $1 patch, $2 directory, $3 the simulator's options
    rm -rf "$2"
    mkdir -p "$2/build/planted"
    tar -cf - --ignore-failed-read -T $list | tar -xf - -C "$2"
    cp -a build/planted/sim "$2/build/planted/sim"
    patch -s -p1 --no-backup-if-mismatch -d "$2" <"$1" >"$2/patch.log" 2>&1 || return 3
    (cd "$2" && build) >"$2/build.log" 2>&1 || return 4
    # shellcheck disable=SC2086  # words on purpose
    prlimit --cpu=900: "$2/build/planted/sim/fast/dragoman-sim" $3 --jobs 1 >"$2/run.log" 2>&1 || return 0
    return 5
}

# $1 patch: writes the result to build/planted/NAME.result.
one() {
    name=$(basename "$1" .patch)
    options=$(sed -n 's/^Seeds: \([0-9]*\)$/--seeds 1-\1/p; s/^Run: //p' "$1")
    tree=$work/$name
    result=0
    try "$1" "$tree" "$options" || result=$?
    case $result in
    0)
        seed=$(sed -n 's/^seed \([0-9]*\) .*/\1/p' "$tree/run.log" | head -n 1)
        why=$(sed -n 's/^seed [0-9]* [^:]*: //p' "$tree/run.log" | head -n 1)
        echo "ok $name, found by seed $seed of $options ($why)"
        ;;
    3) echo "not ok $name: the patch no longer applies" ;;
    4) echo "not ok $name: does not build" ;;
    *) echo "not ok $name: not found by $options" ;;
    esac >$work/"$name".result
    [ $result != 0 ] || rm -rf "$tree"
}

if [ "${1:-}" = --one ]; then
    one "$2"
    exit 0
fi

patches=
for patch in tests/planted/*.patch; do
    grep -Eq '^(Seeds|Run): ' "$patch" || continue
    if [ $# -gt 0 ]; then
        case " $* " in
        *" $(basename "$patch" .patch) "*) ;;
        *) continue ;;
        esac
    fi
    patches="$patches $patch"
done
rm -f $work/*.result
# shellcheck disable=SC2086  # a list of words on purpose
printf '%s\n' $patches | xargs -P "$jobs" -n 1 tests/sim/planted.sh --one
for patch in $patches; do
    result=$(cat $work/"$(basename "$patch" .patch)".result)
    say "${result%%ok *}ok" "${result#*ok }"
done
exit $status
