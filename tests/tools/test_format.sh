#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_format.sh: the format by clang-format, and its damage. Version 14 (Debian 12's) decides; if only another one is
# installed, that test is skipped, because each version formats differently. If this breaks, `make format` corrects
# it, except for the damage: if a one-line comment is one or two characters too long, clang-format moves its end to a
# separate line. Shorten or rewrite that comment.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
work=build/test/format
rm -rf $work
mkdir -p $work

subject='format'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh

# Comments that begin with their text on the first line, and whose end stands alone.
lone_ends='
    FNR == 1 { open = 0 }
    /^[ \t]*\*\/[ \t]*$/ && open { print FILENAME ":" FNR ": the end of a comment stands alone" }
    /\/\*/ && !/\*\// { open = $0 !~ /\/\*+[ \t]*$/ }
    /\*\// { open = 0 }'

tool=$(command -v clang-format-14 || command -v clang-format || echo none)
case $("$tool" --version 2>/dev/null) in
*'version 14.'*)
    report "make format-check" "$(make --no-print-directory -s format-check 2>&1)"
    # Planted: it can fail.
    printf 'int  f(void){return 1;}\n' >$work/planted.c
    make --no-print-directory -s format-check FORMATTED=$work/planted.c >/dev/null 2>&1 && wrong="it passes" || wrong=
    report "make format-check finds a planted fault" "$wrong"
    ;;
*)
    skip "make format-check" "clang-format 14 decides, here is $("$tool" --version 2>/dev/null || echo none)"
    ;;
esac

git ls-files -co --exclude-standard -- '*.c' '*.h' | while read -r file; do
    [ ! -e "$file" ] || echo "$file"
done >$work/files
report "no comment's end was pushed onto a line of its own" "$(xargs awk "$lone_ends" <$work/files)"
printf '/* A comment.\n */\n/*\n * Another.\n */\n' >$work/planted.c
[ "$(awk "$lone_ends" $work/planted.c | wc -l)" = 1 ] && wrong= || wrong="it is not found"
report "a planted one is found" "$wrong"
