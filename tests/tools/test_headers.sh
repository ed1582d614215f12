#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_headers.sh: each public header compiles alone, as C17 and as C++17, by gcc and clang, with all warnings; and what it
# declares has C linkage in C++. If this breaks, an embedder must know which header to include first, or cannot link from C++.

set -u

cd "$(dirname -- "$0")/../.." || exit 1

subject='headers'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh

headers=$(ls include/dragoman/*/*.h port/arch.h port/env.h)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
make --no-print-directory -s build/xen-headers/xen || exit 1

# $1 compiler, $2 its language, $3 the dialect, then options for it.
compile_alone() {
    compiler=$1 language=$2 dialect=$3
    shift 3
    wrong=$(for header in $headers; do
        # Twice: the guard against a second inclusion works.
        printf '#include <%s>\n#include <%s>\n' "${header#include/}" "${header#include/}" >"$work/alone"
        "$compiler" -x "$language" "-std=$dialect" -Wall -Wextra -Wno-unused-parameter -Werror "$@" \
            -isystem build/xen-headers -D__XEN_TOOLS__=1 -Iinclude -I. -Iport/x86-pv -fsyntax-only "$work/alone" 2>&1
    done)
    report "each compiles alone as $dialect by $compiler" "$wrong"
}

compile_alone gcc c c17 -Wstrict-prototypes
compile_alone clang c c17 -Wstrict-prototypes
compile_alone g++ c++ c++17
compile_alone clang++ c++ c++17

# One C++ program that includes all of them and names a function of each room must ask for unmangled names.
{
    for header in $headers; do echo "#include <${header#include/}>"; done
    # Every function that is declared at the left margin.
    echo 'extern "C" const void *const dgm_test_names[] = {'
    cat $headers | grep -v '^static\|^#\|^ \|^/' | grep -o '\bdgm_[a-z0-9_]*(' | sort -u |
        sed 's/\(.*\)(/    (const void *)\1,/'
    echo '};'
} >"$work/all.cc"
if wrong=$(g++ -std=c++17 -isystem build/xen-headers -D__XEN_TOOLS__=1 -Iinclude -I. -Iport/x86-pv \
    -c "$work/all.cc" -o "$work/all.o" 2>&1); then
    wrong=$(nm -u "$work/all.o" | awk '{ print $2 }' | grep -v '^dgm_\|^_GLOBAL_OFFSET_TABLE_$')
    [ "$(nm -u "$work/all.o" | grep -c ' dgm_')" -ge 100 ] || wrong="$wrong fewer than 100 names were found"
fi
report 'what they declare has C linkage in C++' "$wrong"
