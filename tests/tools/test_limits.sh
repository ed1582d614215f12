#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_limits.sh: the limits of size: no source file has more than 400 lines, no test more than 500, and no public
# function more than six parameters. If this breaks, a file has two subjects, or a call cannot be read without its
# declaration.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject=limits
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
work=build/test/limits
rm -rf $work
mkdir -p $work/include/dragoman/base

files=$(git ls-files -co --exclude-standard -- '*.c' '*.h' '*.S' '*.sh' '*.py' '*.mk' Makefile dragoman)

# longer MOST FILE...: those with more lines.
longer() {
    most=$1
    shift
    for file in "$@"; do
        [ ! -e "$file" ] || awk -v most="$most" 'END { if (NR > most) print FILENAME ": " NR " lines" }' "$file"
    done
}

# Declarations with more than six parameters in the headers below $1; parameters of a function type count as one.
many_parameters() {
    find "$1" -name '*.h' -exec awk '
        FNR == 1 { text = "" }
        { line = $0; sub(/\/\/.*/, "", line); text = text " " line }
        FNR > 1 && /^#endif/ { check(FILENAME) }
        function check(file,    part, depth, commas, i, c, name, inside) {
            gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, "", text)
            while (match(text, /[a-z_][a-z0-9_]*\)? *\(/)) {
                name = substr(text, RSTART, RLENGTH)
                text = substr(text, RSTART + RLENGTH)
                depth = 1
                commas = 0
                for (i = 1; i <= length(text) && depth; i++) {
                    c = substr(text, i, 1)
                    if (c == "(" || c == "{") depth++
                    if (c == ")" || c == "}") depth--
                    if (c == "," && depth == 1) commas++
                }
                if (commas > 5) {
                    sub(/\)? *\($/, "", name)
                    print file ": " name " has " commas + 1 " parameters"
                }
            }
            text = ""
        }' {} +
}

# shellcheck disable=SC2046,SC2086  # lists of words
{
    report "no source file has more than 400 lines" "$(longer 400 $(printf '%s\n' $files | grep -v '^tests/'))"
    report "no test has more than 500 lines" "$(longer 500 $(printf '%s\n' $files | grep '^tests/'))"
}
report "no public function has more than six parameters" "$(many_parameters include/dragoman)"

# Planted: each can fail.
yes | head -n 401 >$work/long
[ -n "$(longer 400 $work/long)" ] && wrong= || wrong="it is not found"
report "a planted file of 401 lines is found" "$wrong"
cat >$work/include/dragoman/base/planted.h <<'HEADER'
#ifndef PLANTED_H
#define PLANTED_H
/* six( a, b, c, d, e, f, g */
int dgm_six(int a, int b, void (*done)(int x, int y), int d,
            int e, int f);
int dgm_seven(int a, int b, int c, int d, int e, int f,
              void (*done)(int x, int y));
#endif
HEADER
found=$(many_parameters $work/include)
[ "$found" = "$work/include/dragoman/base/planted.h: dgm_seven has 7 parameters" ] && wrong= || wrong="found: $found"
report "a planted function of seven parameters is found" "$wrong"
plan
