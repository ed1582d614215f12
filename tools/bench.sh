#!/bin/sh
# SPDX-License-Identifier: MIT
#
# bench.sh: `./dragoman bench`: builds and runs the benchmarks. Each is a fragment bench/NAME.mk with a
# target bench-NAME that prints lines "# measure: ..."; with CHECK=yes it also judges what has a limit, as TAP.

set -eu

usage() {
    cat <<'END'
Usage: ./dragoman bench [-y] [--check] [NAME...]

Measures parts of the library beside what they replace: instructions, bytes, calls, and ratios of
two things measured in turns; never times. Prints lines "# measure: ...".

  --check  also judges what has a limit, as TAP; fails if one is missed
  NAME...  these benchmarks only
  -y       install missing packages without asking
END
}

fail() {
    printf 'dragoman bench: %s\n' "$1" >&2
    printf "Try './dragoman bench --help'.\n" >&2
    exit 2
}

cd "$(dirname -- "$0")/.."
all=
for fragment in bench/*.mk; do
    all="$all $(basename "$fragment" .mk)"
done

check='' names='' yes=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        printf '\nBenchmarks:%s\n' "$all"
        exit 0
        ;;
    -y) yes=-y ;;
    --check) check=CHECK=yes ;;
    -*) fail "unknown option '$1'" ;;
    *)
        case "$all " in
        *" $1 "*) names="$names $1" ;;
        *) fail "there is no benchmark '$1' (there are:$all)" ;;
        esac
        ;;
    esac
    shift
done

# shellcheck disable=SC2086  # no word, or one
tools/setup/packages.sh --bench $yes
tools/setup/parts.sh --write build/parts.mk
status=0
for name in ${names:-$all}; do
    # shellcheck disable=SC2086
    make --no-print-directory "bench-$name" $check || status=1
done
exit $status
