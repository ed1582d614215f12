#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_cache_loops.sh: cache maintenance on arm64 touches each line once and waits once, after the last. A
# barrier in the loop is right and slow (sDDF #348); without one the doorbell may be rung too early. Checks the
# machine code that ships.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
make --no-print-directory build/arm64/port/arm64-xen/arch.o >/dev/null || exit 1

subject='cache loops'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
# $1 function, $2 the instruction that it repeats
look() {
    code=$(aarch64-linux-gnu-objdump -d --no-show-raw-insn -j ".text.$1" build/arm64/port/arm64-xen/arch.o |
        sed -n 's/^ *\([0-9a-f]*\):[[:space:]]*/\1 /p')
    # The back edge of the loop is the branch to a lower address; what lies within it is done for each line.
    found=$(printf '%s\n' "$code" | awk -v wanted="$2" '
        function value(hex,   i, n) {
            n = 0
            for (i = 1; i <= length(hex); i++)
                n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
            return n
        }
        { at = value($1); line[NR] = $0; where[NR] = at }
        $2 ~ /^b\.|^cbn?z|^tbn?z/ && value($3) < at { first = value($3); last = at }
        END {
            for (i = 1; i <= NR; i++) {
                inside = where[i] >= first && where[i] <= last
                if (index(line[i], wanted)) inside ? repeated++ : once++
                if (line[i] ~ / (dsb|dmb|isb)/) inside ? waits++ : (where[i] > last ? after++ : before++)
            }
            print repeated + 0, once + 0, waits + 0, before + 0, after + 0
        }')
    wrong=
    [ "$found" = "1 0 0 0 1" ] || wrong="'$2' in and outside of the loop, barriers in, before and after it: $found, not 1 0 0 0 1
$code"
    report "$1" "$wrong"
}

look dgm_arch_cache_clean "cvac"
look dgm_arch_cache_clean_invalidate "civac"
plan
