#!/bin/sh
# SPDX-License-Identifier: MIT
#
# compile-commands.sh: the compilation database of all C sources, for clangd and other readers of code.
# `make compile_commands.json` calls it.
#
# The commands come from make itself. A source that is compiled for several machines is listed once,
# as the first of the targets below compiles it: the library and the kernel as they ship. The
# harnesses in proofs/ are not compiled, so they are not listed.

set -eu

cd "$(dirname -- "$0")/.."
for target in domain ramdisk tools unit-tests tsan-tests sim embed fuzzers fuzz-replay x86-pv guest-programs bench-dma bench-io bench-machine-test bench-net bench-p2m; do
    make --no-print-directory -nB "$target" 2>/dev/null || echo "compile-commands: '$target' is left out" >&2
done | sed -e ':join' -e '/\\$/N; s/\\\n */ /; t join' | awk -v directory="$PWD" '
    function text(string) {
        gsub(/\\/, "\\\\", string)
        gsub(/"/, "\\\"", string)
        gsub(/\t/, " ", string)
        return "\"" string "\""
    }
    $1 ~ /(gcc|clang|cc)$/ || $2 ~ /(gcc|clang)$/ {
        for (i = 2; i <= NF; i++)
            if ($i ~ /\.c$/ && !($i in seen)) {
                seen[$i] = 1
                printf "%s{\"directory\": %s, \"file\": %s, \"command\": %s}", separator, text(directory), text($i), text($0)
                separator = ",\n"
            }
    }
    BEGIN { print "[" }
    END { print "\n]" }'
