#!/bin/sh
# SPDX-License-Identifier: MIT
#
# planted.sh: each planted bug that only a unit test can reach is found by that test
#
#   planted.sh [NAME...]
#
# A patch in tests/planted/ that states `Test: NAME` is applied to a copy of the tree, that test is
# built with it, and must fail. What was compiled before is copied along. A patch that no longer
# applies fails. Speaks TAP.

set -eu

cd "$(dirname -- "$0")/../.."
work=build/planted-unit
number=0
status=0
mkdir -p $work

say() { # $1 ok or not ok, $2 text
    number=$((number + 1))
    echo "$1 $number - planted: $2"
    [ "$1" = ok ] || status=1
}

# $1 patch, $2 test, $3 directory. 0: found; else why not.
try() {
    rm -rf "$3"
    mkdir -p "$3/build"
    git ls-files -co --exclude-standard -- . ':!docs' ':!guest' ':!tests/guest' |
        while read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done |
        tar -cf - -T - | tar -xf - -C "$3"
    cp -a build/host "$3/build/host"
    rm -f "$3/build/host/tests/$2"
    patch -s -p1 --no-backup-if-mismatch -d "$3" <"$1" >"$3/patch.log" 2>&1 || return 3
    make -s --no-print-directory -C "$3" "build/host/tests/$2" >"$3/build.log" 2>&1 || return 4
    (cd "$3" && CMOCKA_MESSAGE_OUTPUT=TAP timeout 600 "build/host/tests/$2") >"$3/run.log" 2>&1 ||
        return 0
    return 5
}

for patch in tests/planted/*.patch; do
    name=$(basename "$patch" .patch)
    unit=$(sed -n 's/^Test: \([a-z0-9_]*\)$/\1/p' "$patch")
    [ -n "$unit" ] || continue
    if [ $# -gt 0 ]; then
        case " $* " in
        *" $name "*) ;;
        *) continue ;;
        esac
    fi
    make -s --no-print-directory "build/host/tests/$unit" >$work/build.log 2>&1
    result=0
    try "$patch" "$unit" "$work/$name" || result=$?
    case $result in
    0)
        say ok "$name, found by $unit"
        rm -rf "${work:?}/$name"
        ;;
    3) say 'not ok' "$name: the patch no longer applies" ;;
    4) say 'not ok' "$name: does not build" ;;
    *) say 'not ok' "$name: not found by $unit" ;;
    esac
done
echo "1..$number"
exit $status
