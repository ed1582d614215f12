#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_library.sh: the library builds without libc and its headers, by gcc and clang, for arm64 and
# this machine; it leaves to the embedder exactly the names that docs/porting.md lists, and defines none
# of its names. If this breaks, the library has a new dependency, or the page is wrong.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
page=docs/porting.md

subject='library'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh

# The names between the page's two marks, in backquotes.
listed=$(sed -n '/<!-- names: begin -->/,/<!-- names: end -->/s/^| `\([a-z_0-9]*\).*/\1/p' $page | LC_ALL=C sort)
wrong=
[ "$(printf '%s\n' "$listed" | wc -l)" -ge 5 ] || wrong="the table of names is not found in $page"
report "$page lists what is left to the embedder" "$wrong"

for machine in arm64 host; do
    for compiler in gcc clang; do
        build=$machine-$compiler
        wrong=$(make --no-print-directory -s -j"$(nproc)" "build/library/$build.o" 2>&1 >/dev/null) && wrong=
        report "$build builds, freestanding, without a warning" "$wrong"
        [ -z "$wrong" ] || continue
        # The linker itself makes the table of offsets.
        nm -u "build/library/$build.o" | awk '$2 != "_GLOBAL_OFFSET_TABLE_" { print $2 }' |
            LC_ALL=C sort >"build/library/$build.needs"
        wrong=$(printf '%s\n' "$listed" | LC_ALL=C comm -13 - "build/library/$build.needs")
        report "$build needs nothing but what is listed" "$wrong"
        # Two underscores: libgcc's, which the compiler calls.
        wrong=$(nm -g --defined-only "build/library/$build.o" | awk '{ print $3 }' | grep -v '^dgm_\|^__')
        report "$build gives no name without dgm_" "$wrong"
    done
done

# A listed name that no build needs is one too many.
wrong=$(printf '%s\n' "$listed" | LC_ALL=C comm -23 - "build/library/arm64-gcc.needs")
report 'all that is listed is needed' "$wrong"

# Both ways: a header that the index forgets or puts into another room, and a name in it that is no header.
(cd include/dragoman && ls -- */*.h) | LC_ALL=C sort >build/library/headers
# shellcheck disable=SC2016  # backquotes, and no expansion
sed -n '/^## The headers by room/,$s/^| `\([a-z]*\)` |/\1 /p' $page | while read -r room row; do
    printf '%s\n' "$row" | grep -o '`[a-z0-9_]*\.h`' | tr -d '`' | sed "s|^|$room/|"
done | LC_ALL=C sort >build/library/indexed
report "$page has every public header once, in its room" "$(diff build/library/headers build/library/indexed)"
