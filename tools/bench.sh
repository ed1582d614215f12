#!/bin/sh
# SPDX-License-Identifier: MIT
#
# bench.sh: `./dragoman bench`: builds and runs the benchmarks. Each is a fragment bench/NAME.mk with a
# target bench-NAME that prints lines "# measure: ..."; with CHECK=yes it also tests those measures that
# have a limit, as TAP.

set -eu

program='dragoman bench'
# shellcheck source=tools/lib.sh
. "$(dirname -- "$0")/lib.sh"

usage() {
    cat <<'END'
Usage: ./dragoman bench [-y] [--check] [NAME...]

Measures parts of the library and what they replace: instructions, bytes, calls, and ratios of two
things measured in turn; never times. Prints lines "# measure: ...".

  --check  also tests the measures that have a limit, as TAP
  NAME...  only these benchmarks
  -y       install missing packages without asking
END
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
    -*) usage_error "unknown option '$1'" ;;
    *)
        case "$all " in
        *" $1 "*) names="$names $1" ;;
        *) usage_error "there is no benchmark '$1' (there are:$all)" ;;
        esac
        ;;
    esac
    shift
done

# shellcheck disable=SC2086  # no word, or one
tools/setup/packages.sh --bench $yes
tools/setup/parts.sh --write build/parts.mk
lock_build
status=0
for name in ${names:-$all}; do
    # shellcheck disable=SC2086
    make --no-print-directory "bench-$name" $check || status=1
done
exit $status
