# SPDX-License-Identifier: MIT
# From `nm -n` to the table that symbols.c reads. Code symbols only, without what the compiler appends (.part.0);
# link.ld puts code first, from offset 0.
function number(hex,    i, n) {
    for (i = 1; i <= length(hex); i++)
        n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
    return n
}
BEGIN {
    print "    .section .symbols, \"a\""
    print "    .global symbol_table, symbol_table_end"
    print "symbol_table:"
}
$2 ~ /^[tT]$/ && $3 !~ /^[$.]/ {
    sub(/\..*/, "", $3)
    at = number($1)
    print "    .uleb128 " (at - last) / 4
    print "    .asciz \"" $3 "\""
    last = at
}
END { print "symbol_table_end:" }
