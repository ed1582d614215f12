#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_draws.sh: fuzz targets, the simulated machine and the unit tests draw in an order that C defines (draws.py). If
# this breaks, a saved input or a seed means another run under another compiler, and no longer shows what it was saved
# for.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject=draws
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
work=build/test/draws
rm -rf $work
mkdir -p $work

# shellcheck disable=SC2046  # a list of names without blanks
report "one order under every compiler" \
    "$(python3 tests/tools/draws.py $(git ls-files -co --exclude-standard -- 'fuzz/*.[ch]' 'sim/*.[ch]') 2>&1)"

# shellcheck disable=SC2046  # as above
report "one order under every compiler in the unit tests" \
    "$(python3 tests/tools/draws.py $(git ls-files -co --exclude-standard -- 'tests/unit/*.[ch]') 2>&1)"

# planted EXPECTED WHAT STATEMENTS: the check finds a fault in them (yes) or none (no).
planted() {
    printf 'static int any(struct feed *feed)\n{\n    return feed_take(feed, 1);\n}\n\nstatic void f(void)\n{\n%s\n}\n' \
        "$3" >$work/planted.c
    found=no
    python3 tests/tools/draws.py $work/planted.c >$work/out 2>&1 || found=yes
    [ "$found" = "$1" ] && wrong='' || wrong="found: $found, expected: $1
$(cat $work/out)"
    report "$2" "$wrong"
}

planted yes "two arguments of a call" 'g(feed_take(feed, 1), feed_take(feed, 2));'
planted yes "the sides of an assignment" 'a[feed_below(feed, 4)] = feed_take(feed, 1);'
planted yes "operands of an operator" 'x = feed_below(feed, 4) + y * (z ? feed_take(feed, 1) : 0);'
planted yes "members of an initialiser" 'struct s s = {.a = feed_take(feed, 1), .b = feed_take(feed, 1)};'
planted yes "functions that draw" 'g(any(feed), h(any(feed)));'
planted yes "behind an operator that has an order" 'x = g(feed_take(feed, 1) ? 1 : 2, any(feed));'
planted no "statements and conditions" 'if (feed_chance(feed, 9)) x = any(feed); else x = any(feed); y = any(feed);'
planted no "operators that have an order" 'x = any(feed) && any(feed) ? any(feed) : any(feed) || any(feed);'
planted no "an argument of a draw" 'x = feed_below(feed, 1 + feed_below(feed, 3));'
planted no "declarations, loops and cases" 'int x = any(feed), y = any(feed);
    for (x = any(feed); x < any(feed); x++) switch (any(feed)) { case 1: any(feed); break; default: any(feed); }'
plan
