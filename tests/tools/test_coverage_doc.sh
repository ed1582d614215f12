#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_coverage_doc.sh: docs/coverage-of-linux-path.md has every row of the survey once, and the files and
# tests that it names exist. If this breaks, the page names files or tests that do not exist.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
page=docs/coverage-of-linux-path.md

subject='coverage doc'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh

ids() {
    for section in A:22 B:8 C:5 D:12 E:18 F:11 :25; do
        seq -f "${section%:*}%g" 1 "${section#*:}"
    done
}

rows=$(sed -n 's/^| \([A-F]*[0-9][0-9]*\) |.*/\1/p' "$page")
wrong=$({ ids; echo "$rows"; } | sort | uniq -c | awk '$1 != 2 { print $2 ": " $1 - 1 " times" }')
report 'every row is there once' "$wrong"

wrong=$(awk -F' [|] ' '/^[|] [A-F]*[0-9]+ [|]/ && (NF < 4 || $2 == "" || $3 == "") { print }' "$page")
report 'every row says what and where, or why not' "$wrong"

# $1 a test's file, $2 its name there; "" for the file alone. Says what is missing.
missing_test() {
    if [ ! -f "$1" ]; then
        echo "no file $1"
    elif [ -n "$2" ] && ! grep -qw -- "$2" "$1"; then
        echo "no test $2 in $1"
    fi
}

# Every word in backquotes, line by line; a bare name belongs to the file before it in its line.
# shellcheck disable=SC2016  # backquotes, and no expansion
wrong=$(grep -o '`[^`]*`\|^.' "$page" | while IFS= read -r word; do
    case $word in
    '`'*) word=${word#?} word=${word%?} ;;
    *) # a new line begins
        file=''
        continue
        ;;
    esac
    case $word in
    *FILE* | *NAME*) ;; # how names are written
    planted/*) [ -f "tests/$word.patch" ] || echo "no file tests/$word.patch" ;;
    test_*:*)
        file=$(find tests/unit -name "${word%%:*}.c")
        missing_test "$file" "${word##*: }"
        ;;
    test_*)
        file=$(find tests/unit -name "$word.c")
        missing_test "$file" ''
        ;;
    *.py:*) missing_test "${word%%:*}" "${word##*: }" ;;
    */*) [ -e "$word" ] || echo "no file $word" ;;
    dgm_* | DGM_* | struct*) grep -rqw -- "${word#struct }" include/dragoman || echo "no $word in the headers" ;;
    *)
        missing_test "${file:-no-file-before-it}" "$word"
        ;;
    esac
done | sort -u)
report 'every file and test that it names exists' "$wrong"
