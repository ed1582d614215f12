#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_first_hour.sh: a newcomer's first commands: `make help` lists every target, and compile_commands.json has every
# source. If this breaks, the newcomer must read makefiles instead.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
work=build/test/first-hour
rm -rf $work
mkdir -p $work

subject='first hour'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh

make --no-print-directory -s help >$work/help
make --no-print-directory -npq 2>/dev/null | sed -n 's/^\.PHONY: //p' | tr ' ' '\n' | sort -u >$work/targets
[ "$(wc -l <$work/targets)" -gt 10 ] && wrong= || wrong="make names no targets"
while read -r target; do
    case $target in all | help) continue ;; esac
    grep -qw -- "$target" $work/help || wrong="$wrong not in make help: $target."
done <$work/targets
report "make help lists every target" "$wrong"

wrong=
for target in $(sed -n 's/^ *make \([^ ]*\) .*/\1/p' $work/help); do
    grep -qx -- "$target" $work/targets || [ "$target" = compile_commands.json ] ||
        wrong="$wrong make help lists '$target', which is no target."
done
report "make help lists no other" "$wrong"

wrong=$(make --no-print-directory -s -B compile_commands.json 2>&1)
report "compile_commands.json is made without a complaint" "$wrong"

# The proofs' harnesses are read by CBMC, not by a compiler.
git ls-files -co --exclude-standard -- '*.c' | grep -v '^proofs/' >$work/sources
wrong=$(python3 - $work/sources 2>&1 <<'END'
import json, os, shlex, subprocess, sys
database = {entry["file"]: entry for entry in json.load(open("compile_commands.json"))}
for line in open(sys.argv[1]):
    if os.path.exists(line.strip()) and line.strip() not in database:
        print("not listed:", line.strip())
for file in ("dma/plan.c", "kernel/main.c", "tests/unit/base/test_text.c", "tools/mkboottree.c"):
    entry = database.get(file)
    if not entry or entry["directory"] != os.getcwd():
        print("no entry of this tree:", file)
        continue
    # The compiler alone, without what comes before it (ccache) and without the linker's part.
    words = [word for word in shlex.split(entry["command"]) if not word.endswith(".a")]
    output = words.index("-o")
    words = [word for word in words[:output] + words[output + 2:] if word not in ("-MMD", "-MP")] + ["-fsyntax-only"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        print(file + ":", done.stderr)
END
)
report "it lists every source, with a command that compiles it" "$wrong"

# docs/first-disk-driver.md promises both.
lines=$(wc -l <examples/ramdisk/ramdisk.c)
[ "$lines" -le 150 ] && wrong= || wrong="it has $lines lines"
[ "$(ls examples/ramdisk/*.[ch] | wc -l)" = 1 ] || wrong="$wrong it is not one file"
[ "$(grep -c '^DGM_DISK_DRIVER(' examples/ramdisk/ramdisk.c)" = 1 ] || wrong="$wrong it is not registered by one line"
report "the first disk driver is one file of at most 150 lines, registered by one line" "$wrong"
