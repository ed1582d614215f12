#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_embed.sh: the example of an embedding works, with an environment of its own, and is as short as
# docs/porting.md says. If this breaks, the first thing that an embedder tries does not work.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
program=build/host/embed
LINES_MAX=199

subject='embed'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh

wrong=$(make --no-print-directory -s embed 2>&1 >/dev/null) && wrong=
report 'it builds' "$wrong"
[ -z "$wrong" ] || exit 1

output=$(timeout 600 $program 2>&1)
status=$?
wrong=
[ $status = 0 ] || wrong="status $status: $output"
report 'it runs to its end under the sanitizers, and the guest has its bytes' "$wrong"

# Two pages for each mode, of which the device reaches one; Xen's copies need no bouncing.
wanted='copy 4096 bytes, 0 bounced
copy 4096 bytes, 0 bounced
identity 4096 bytes, 0 bounced
identity 4096 bytes, 4096 bounced
map 4096 bytes, 0 bounced
map 4096 bytes, 4096 bounced'
found=$(printf '%s\n' "$output" | tr -s ' ' | grep bounced | LC_ALL=C sort)
wrong=
[ "$found" = "$wanted" ] || wrong="found: $found"
report 'each mode does what it is for' "$wrong"

wrong=
printf '%s\n' "$output" | grep -q '^0 wrong, 1 mapped at gfn == mfn, 0 still mapped$' || wrong="output: $output"
report 'one frame was mapped at its own number, and none is left mapped' "$wrong"

# port/sim's env.c comes with a clock that is set by hand.
report "no environment but its own is linked" "$(nm $program | grep -w 'dgm_sim_set_now_ns')"

lines=$(cat examples/embed/*.[ch] | wc -l)
wrong=
[ "$lines" -le $LINES_MAX ] || wrong="$lines lines"
report 'it has fewer than 200 lines' "$wrong"
