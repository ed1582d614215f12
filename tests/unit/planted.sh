#!/bin/sh
# SPDX-License-Identifier: MIT
#
# planted.sh: each planted bug that only a unit test can reach is found by that test
#
#   planted.sh [NAME...]
#
# A patch in tests/planted/ that states `Test: NAME` is applied to a copy of the tree, that test is
# built with it, and must fail. Object files are copied too. A patch that no longer applies fails.
# As many run at a time as there are CPUs. Prints TAP.

set -eu

cd "$(dirname -- "$0")/../.."
work=build/planted-unit
number=0
status=0
mkdir -p $work
jobs=$(nproc)

say() { # $1 ok or not ok, $2 text
    number=$((number + 1))
    echo "$1 $number - planted: $2"
    [ "$1" = ok ] || status=1
}

# $1 patch, $2 test, $3 directory. 0: found; else why not.
try() {
    rm -rf "$3"
    mkdir -p "$3"
    tar -cf - --ignore-failed-read -T $work/files | tar -xf - -C "$3"
    patch -s -p1 --no-backup-if-mismatch -d "$3" <"$1" >"$3/patch.log" 2>&1 || return 3
    make -s --no-print-directory -C "$3" "build/host/tests/$2" >"$3/build.log" 2>&1 || return 4
    (cd "$3" && CMOCKA_MESSAGE_OUTPUT=TAP timeout 1200 "build/host/tests/$2") >"$3/run.log" 2>&1 ||
        return 0
    return 5
}

# $1 patch: writes the result to NAME.result.
one() {
    name=$(basename "$1" .patch)
    unit=$(test_of "$1")
    result=0
    try "$1" "$unit" "$work/$name" || result=$?
    case $result in
    0) echo "ok $name, found by $unit" ;;
    3) echo "not ok $name: the patch no longer applies" ;;
    4) echo "not ok $name: does not build" ;;
    *) echo "not ok $name: not found by $unit" ;;
    esac >$work/"$name".result
    [ $result != 0 ] || rm -rf "${work:?}/$name"
}

test_of() { # $1 patch
    sed -n 's/^Test: \([a-z0-9_]*\)$/\1/p' "$1"
}

if [ "${1:-}" = --one ]; then
    one "$2"
    exit 0
fi

patches=
for patch in tests/planted/*.patch; do
    [ -n "$(test_of "$patch")" ] || continue
    if [ $# -gt 0 ]; then
        case " $* " in
        *" $(basename "$patch" .patch) "*) ;;
        *) continue ;;
        esac
    fi
    patches="$patches $patch"
done
# shellcheck disable=SC2046,SC2086  # lists of words on purpose
if ! make -s --no-print-directory -j"$jobs" \
    $(for patch in $patches; do echo "build/host/tests/$(test_of "$patch")"; done | sort -u) >$work/build.log 2>&1; then
    tail -n 20 $work/build.log | sed 's/^/# /'
    say 'not ok' 'the tests build'
    exit 1
fi
# The sources, and what is compiled but not linked: a copy links the one test that it needs.
{
    git ls-files -co --exclude-standard -- . ':!docs' ':!guest' ':!tests/guest' |
        while read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done
    find build/host -name '*.[oad]'
    echo build/xen-headers
} >$work/files
rm -f $work/*.result
# shellcheck disable=SC2086
printf '%s\n' $patches | xargs -P "$jobs" -n 1 tests/unit/planted.sh --one
for patch in $patches; do
    result=$(cat $work/"$(basename "$patch" .patch)".result)
    say "${result%%ok *}ok" "${result#*ok }"
done
echo "1..$number"
exit $status
