# shellcheck shell=sh
# SPDX-License-Identifier: MIT
#
# tap.sh: the TAP output of the tests of tests/tools. Sourced after `subject=NAME`, the name in each
# line.

number=0

# report WHAT WRONG: one test. WRONG describes the failure in any number of lines; empty: passed.
report() {
    number=$((number + 1))
    if [ -z "$2" ]; then
        echo "ok $number - $subject: $1"
    else
        echo "not ok $number - $subject: $1"
        printf '%s\n' "$2" | sed 's/^/# /'
    fi
}

# verdict ok|WRONG WHAT: the same, where a case names its outcome first.
verdict() {
    if [ "$1" = ok ]; then report "$2" ''; else report "$2" "${1:-no cause was given}"; fi
}

# skip WHAT WHY: a test that cannot run here.
skip() {
    number=$((number + 1))
    echo "ok $number - $subject: $1 # SKIP $2"
}

# The last line: how many tests there were.
plan() { echo "1..$number"; }
