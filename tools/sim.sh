#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sim.sh: `./dragoman sim`: builds the simulated machine and runs it.

set -eu

program='dragoman sim'
cd "$(dirname -- "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

# The help text is the program's own, taken from its source: it needs no build.
usage() {
    sed -n '/^static const char usage\[\]/,/";$/s/^ *"\(.*\)";\{0,1\}$/\1/p' sim/machine/main.c |
        tr -d '\n' | sed 's/\\n/\n/g'
}

yes=
while [ "${1:-}" = -y ]; do yes=-y && shift; done
for word in "$@"; do
    case $word in
    -h | --help)
        usage
        exit 0
        ;;
    --*)
        # The program checks its options too, but only after the build.
        usage | grep -q -- "^  ${word%%=*} " || usage_error "unknown option '$word'"
        ;;
    esac
done

# shellcheck disable=SC2086  # no word, or one
tools/setup/packages.sh --tests $yes
build sim
exec build/sim/fast/dragoman-sim "$@"
