# SPDX-License-Identifier: MIT
# From `nm -n` to the table that symbols.c reads. Code symbols only, without what the compiler appends (.part.0);
# link.ld puts code first, from offset 0.
BEGIN {
    print "    .section .symbols, \"a\""
    print "    .balign 4"
    print "    .global symbol_table"
    print "symbol_table:"
}
$2 ~ /^[tT]$/ && $3 !~ /^[$.]/ {
    sub(/\..*/, "", $3)
    print "    .long 0x" substr($1, length($1) - 7)
    print "    .asciz \"" $3 "\""
    print "    .balign 4"
}
END { print "    .long 0xffffffff" }
