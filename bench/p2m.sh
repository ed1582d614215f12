#!/bin/sh
# SPDX-License-Identifier: MIT
#
# p2m.sh: runs the two programs of bench/p2m.mk. Instructions are counted by callgrind, so they are the
# same in every run on every machine of one kind; no figure is a time.
#
#   --check   also judges, as TAP: a lookup costs the same at 1, 10^3 and 10^6 live mappings (within
#             1 %), and at 10^4 at least 10 times fewer instructions than the tree's

set -eu
cd "$(dirname -- "$0")/.."

check=no
[ "${1:-}" != --check ] || check=yes
programs=build/bench/p2m
dumps=$programs/dumps
rm -rf $dumps
mkdir -p $dumps

if ! valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file=$dumps/out \
    $programs/p2m_count >$programs/count.log 2>&1; then
    cat $programs/count.log >&2
    exit 1
fi
grep '^# measure' $programs/count.log

# Each dump: "desc: Trigger: Client Request: NAME", and its count in "summary: N" or "totals: N".
# shellcheck disable=SC2016  # awk's own variables
awk -v check=$check '
    FNR == 1 { name = "" }
    /^desc: Trigger: Client Request: / { name = substr($0, length("desc: Trigger: Client Request: ") + 1) }
    /^(summary|totals): / && name != "" { count[name] = $2 }
    function cost(name) {
        if (!(name in count) || !("empty" in count)) {
            printf "not ok bench p2m: callgrind counted no \"%s\"\n", name
            failed = 1
            exit 1
        }
        return (count[name] - count["empty"]) / 10000
    }
    function judge(holds, what) {
        if (check == "yes")
            printf "%s bench p2m: %s\n", holds ? "ok" : "not ok", what
        if (!holds && check == "yes")
            failed = 1
    }
    END {
        if (failed) exit 1
        split("1 1000 10000 1000000", live, " ")
        for (i = 1; i <= 4; i++)
            printf "# measure: instructions per lookup at %7d live: foreign %5.2f, tree %6.1f; local %5.2f, tree %6.1f\n", \
                live[i], cost("ours lookup " live[i]), cost("theirs lookup " live[i]), \
                cost("ours local " live[i]), cost("theirs local " live[i])
        printf "# measure: instructions per insert and remove at 10000 live: %.1f, tree %.1f (%.1f times)\n", \
            cost("ours change 10000"), cost("theirs change 10000"), \
            cost("theirs change 10000") / cost("ours change 10000")
        printf "# measure: instructions per lookup at 10000 live, tree / ours: %.1f\n", \
            cost("theirs lookup 10000") / cost("ours lookup 10000")
        base = cost("ours lookup 1")
        worst = 0
        for (i = 2; i <= 4; i++) {
            apart = cost("ours lookup " live[i]) / base - 1
            if (apart < 0) apart = -apart
            if (apart > worst) worst = apart
        }
        judge(worst <= 0.01, sprintf("a lookup costs the same at 1, 10^3 and 10^6 live (%.2f %% apart)", 100 * worst))
        judge(cost("theirs lookup 10000") >= 10 * cost("ours lookup 10000"), \
            "a lookup costs at least 10 times fewer instructions than in a tree of 10^4")
        exit failed
    }' $dumps/*

$programs/p2m_race
