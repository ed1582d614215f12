#!/bin/sh
# SPDX-License-Identifier: MIT
#
# coverage.sh: `make coverage`: how much of the foreign-page path the hosted tests and the saved inputs
# of the fuzz targets reach, in branches. One TAP line; it fails below the limit, and for a file that no
# test has in it.
#
#   tools/coverage.sh [--missing] ROOM...   the rooms (folders) to measure; 'make coverage' has them
#
# A branch is one outcome, true or false, of one condition (clang's coverage mapping); an "a && b" has
# four. The figure excludes the conditions of dgm_assert(): their false outcome is a bug in Dragoman itself, which
# most tests must not cause. The figure with them is printed too.
#
#   --missing   prints each branch that no test takes

set -eu
cd "$(dirname -- "$0")/.."

limit=95 # percent
missing=no
if [ "${1:-}" = --missing ]; then
    missing=yes
    shift
fi
files=
for room in "$@"; do
    for source in "$room"/*.c; do
        if [ ! -f "$source" ]; then
            echo "coverage.sh: no room '$room' with sources" >&2
            exit 2
        fi
        files="$files $source"
    done
done
if [ -z "$files" ]; then
    echo "Usage: tools/coverage.sh [--missing] ROOM...   (after 'make coverage-programs')" >&2
    exit 2
fi

out=build/coverage
raw=$out/raw
rm -rf $raw
mkdir -p $raw

programs=
for source in tests/unit/*/test_*.c; do
    name=$(basename "$source" .c)
    programs="$programs -object $out/tests/$name"
    # %m: a test's child processes add to what it counted.
    if ! CMOCKA_MESSAGE_OUTPUT=TAP LLVM_PROFILE_FILE="$raw/$name-%m.profraw" \
        "$out/tests/$name" >"$out/tests/$name.log" 2>&1; then
        echo "not ok coverage: $name fails when built for coverage: $out/tests/$name.log"
        exit 1
    fi
done
for source in fuzz/*.c; do
    name=$(basename "$source" .c)
    [ "$name" != replay ] || continue
    programs="$programs -object $out/fuzz/$name"
    if ! LLVM_PROFILE_FILE="$raw/fuzz-$name-%m.profraw" "$out/fuzz/$name" "$name" \
        "fuzz/corpus/$name" >"$out/fuzz/$name.log" 2>&1; then
        echo "not ok coverage: the inputs of fuzz target $name: $out/fuzz/$name.log"
        exit 1
    fi
done

llvm-profdata merge -sparse -o $out/all.profdata $raw/*.profraw
# shellcheck disable=SC2086  # a list of words on purpose
llvm-cov export -format=lcov -instr-profile $out/all.profdata ${programs# -object } >$out/all.lcov

# What headers have inline is left out: it is listed once for each file that includes it.
# shellcheck disable=SC2016  # awk's own variables
awk -v top="$PWD" -v limit=$limit -v missing=$missing -v files="$files" '
    # The lines of `path` that belong to a dgm_assert(), into asserted[].
    function read_asserts(path,    line, number, depth, i, c, at) {
        delete asserted
        depth = 0
        number = 0
        while ((getline line < path) > 0) {
            number++
            i = 1
            if (depth == 0) {
                at = index(line, "dgm_assert(")
                if (at == 0)
                    continue
                i = at + length("dgm_assert")
            }
            asserted[number] = 1
            for (; i <= length(line); i++) {
                c = substr(line, i, 1)
                if (c == "(") depth++
                if (c == ")" && --depth == 0) break
            }
        }
        close(path)
    }
    BEGIN {
        count = split(files, want, " ")
        for (i = 1; i <= count; i++)
            judged[want[i]] = 1
    }
    /^SF:/ {
        path = substr($0, 4)
        sub(/^\.\//, "", path)
        if (index(path, top "/") == 1)
            path = substr(path, length(top) + 2)
        wanted = path in judged
        if (wanted) {
            seen[path] = 1
            read_asserts(path)
        }
    }
    /^BRDA:/ && wanted {
        split(substr($0, 6), field, ",")
        taken = field[4] != "-" && field[4] > 0
        all_total++
        all_taken += taken
        if (field[1] in asserted)
            next
        total[path]++
        hit[path] += taken
        if (!taken && missing == "yes")
            printf "# %s:%d: %s never\n", path, field[1], field[3] % 2 ? "false" : "true"
    }
    END {
        for (i = 1; i <= count; i++)
            if (!(want[i] in seen)) {
                printf "not ok coverage: no test has %s in it\n", want[i]
                exit 1
            }
        for (path in total) {
            printf "# measure: branches of %-28s %4d of %4d, %5.1f %%\n", path, hit[path], \
                total[path], 100 * hit[path] / total[path] | "sort"
            sum_total += total[path]
            sum_hit += hit[path]
        }
        close("sort")
        if (sum_total == 0) {
            print "not ok coverage: no branch was found"
            exit 1
        }
        printf "# measure: with the conditions of assertions: %d of %d, %.1f %%\n", all_taken, \
            all_total, 100 * all_taken / all_total
        percent = 100 * sum_hit / sum_total
        printf "%s branch coverage of the foreign-page path: %.1f %% (%d of %d; at least %d %%)\n", \
            (percent >= limit) ? "ok" : "not ok", percent, sum_hit, sum_total, limit
        exit (percent < limit)
    }' $out/all.lcov
