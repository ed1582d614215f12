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
       ./dragoman bench [-y] io|net [OPTION...]

Measures parts of the library and what they replace: instructions, bytes, calls, and ratios of two
things measured in turn; never times. Prints lines "# measure: ...".

  --check  also tests the measures that have a limit, as TAP
  NAME...  only these benchmarks
  -y       install missing packages without asking

'io' and 'net' boot whole machines, native Linux and a Linux Dom0 beside Dragoman: minutes with --quick,
hours without. All that follows 'io' or 'net' is for it: './dragoman bench io --help'. Without a name both run
--quick.
END
}

cd "$(dirname -- "$0")/.."
all=
for fragment in bench/*.mk; do
    all="$all $(basename "$fragment" .mk)"
done

# The options of $1, io or net, in $options. Its program checks them itself, before packages are installed for it.
machine_options() {
    bench=$1
    shift
    for option in "$@"; do
        case $option in
        *[!A-Za-z0-9_./=-]*) usage_error "$bench's option '$option' has a character that is not supported" ;;
        esac
    done
    options=$*
    if command -v python3 >/dev/null; then
        python3 -B "bench/$bench/$bench.py" --check-options "$@" || exit $?
        case " $options " in
        *' --help '* | *' -h '*) exit 0 ;;
        esac
    fi
}

check='' names='' yes='' options=--quick
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
    io | net)
        names="$names $1"
        machine_options "$@"
        break
        ;;
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
case " ${names:-$all} " in
*' io '* | *' net '*) tools/setup/parts.sh --bench --write build/parts.mk ;;
*) tools/setup/parts.sh --write build/parts.mk ;;
esac
lock_build
status=0
for name in ${names:-$all}; do
    # shellcheck disable=SC2086
    make --no-print-directory "bench-$name" $check OPTIONS="$options" || status=1
done
exit $status
