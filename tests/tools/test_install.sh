#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_install.sh: the files of `make install` suffice: outside the source tree, with the flags of dragoman.pc alone,
# the example of an embedding builds and runs, in C and in C++, and a freestanding program for each of the other ports
# links without a name missing. If this breaks, an embedder needs the source tree.

set -u

cd "$(dirname -- "$0")/../.." || exit 1

subject='install'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
tree=$PWD
version=$(sed -n 's/^#define DGM_VERSION "\(.*\)"/\1/p' include/dragoman/base/version.h)
xen=${XEN_HEADERS:-/usr/include/xen}

wrong=$(make --no-print-directory -s install PREFIX=/opt/dragoman DESTDIR="$work/stage" 2>&1 >/dev/null) && wrong=
report 'DESTDIR is put before PREFIX' "$wrong"
[ -z "$wrong" ] || exit 1
wrong=$(grep -v '^prefix=/opt/dragoman$' "$work/stage/opt/dragoman/lib/pkgconfig/dragoman.pc" | grep "$work\|$tree\|@")
report 'dragoman.pc names PREFIX, and no other place' "$wrong"
wrong=$(cd include && find dragoman -name '*.h' | while read -r header; do
    cmp "$header" "$work/stage/opt/dragoman/include/dragoman/$header" 2>&1
done)
report 'every public header is installed' "$wrong"

# From here on as an embedder: no path into the source tree.
mkdir "$work/source"
cp examples/embed/*.c "$work/source"
cd "$work/source" || exit 1
ln -s "$xen" "$work/xen" && mkdir "$work/headers" && mv "$work/xen" "$work/headers/xen"

# $1 port, then --cflags or --libs.
flags() {
    port=$1
    shift
    PKG_CONFIG_PATH=$work/stage/opt/dragoman/lib/pkgconfig \
        pkg-config --define-variable=prefix="$work/stage/opt/dragoman" --define-variable=port="$port" "$@" dragoman
}

found=$(flags sim --modversion)
wrong=
[ "$found" = "$version" ] || wrong="found $found, not $version"
report 'dragoman.pc has the version' "$wrong"

# shellcheck disable=SC2046  # flags are words
wrong=$(cc -std=gnu17 -Wall -Wextra -Wno-unused-parameter -Werror -O1 $(flags sim --cflags) ./*.c $(flags sim --libs) \
    -o embed 2>&1) && wrong=$(timeout 600 ./embed 2>&1 | tail -n 1 | grep -v '^0 wrong, ')
report 'examples/embed builds and runs with what is installed' "$wrong"

cat >cpp.cc <<'END'
#include <dragoman/base/version.h>
#include <dragoman/core/core.h>
#include <cstring>

int main()
{
    dgm_reactor reactor;

    dgm_reactor_init(&reactor);
    return dgm_reactor_turn(&reactor) || std::strcmp(dgm_reach_mode_name(DGM_REACH_MODE_COPY), "copy");
}
END
# shellcheck disable=SC2046
wrong=$(c++ -std=c++17 -Wall -Wextra -Werror -O1 $(flags sim --cflags) cpp.cc $(flags sim --libs) -o cpp 2>&1 && ./cpp)
status=$?
[ $status = 0 ] || wrong="status $status: $wrong"
report 'a C++ program links and runs' "$wrong"

# All functions that docs/porting.md requires of an embedder; they are linked and never called.
cat >kernel.c <<'END'
#include <dragoman/block/blkback.h>
#include <dragoman/core/core.h>
#include <dragoman/xenstore/xenstore.h>
#include <port/env.h>
#include <string.h>

char hypercall_page[4096];

uint64_t dgm_env_now_ns(void) { return 0; }
void *dgm_env_va(dgm_gfn_t gfn) { return (void *)dgm_gfn_address(gfn); }
dgm_gfn_t dgm_env_gfn(const void *va) { return dgm_gfn((uintptr_t)va >> DGM_FRAME_SHIFT); }
void dgm_env_log(const char *format, ...) { (void)format; }
void dgm_env_panic(const char *file, int line, const char *what)
{
    (void)file, (void)line, (void)what;
    for (;;)
        ;
}

void *memset(void *to, int value, size_t bytes) { for (char *p = to; bytes--;) *p++ = (char)value; return to; }
void *memcpy(void *to, const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((char *)to)[i] = ((const char *)from)[i];
    return to;
}
void *memmove(void *to, const void *from, size_t bytes) { return memcpy(to, from, bytes); }
int memcmp(const void *a, const void *b, size_t bytes) { return bytes && *(const char *)a != *(const char *)b; }
void *memchr(const void *in, int value, size_t bytes) { (void)value; return bytes ? (void *)in : NULL; }

static struct dgm_core core;
static struct dgm_core_config config;
static struct dgm_blkback_pool pool;

void _start(void)
{
    dgm_core_init(&core, &config);
    dgm_blkback_pool_init(&pool, config.reactor, config.frames, NULL);
    dgm_xenstore_init(NULL, 0, config.reactor, NULL, NULL);
    dgm_reactor_turn(config.reactor);
}
END

# $1 port, $2 compiler, then its flags.
link_freestanding() {
    port=$1 compiler=$2
    shift 2
    # shellcheck disable=SC2046
    wrong=$("$compiler" -std=gnu17 -O1 -ffreestanding -fno-builtin -fno-stack-protector "$@" -nostdinc \
        -isystem "$("$compiler" -print-file-name=include)" -isystem "$work/stage/opt/dragoman/include/dragoman/freestanding" \
        -isystem "$work/headers" $(flags "$port" --cflags) kernel.c -nostdlib -static $(flags "$port" --libs) -lgcc \
        -o "kernel-$port" 2>&1)
    report "a freestanding kernel links with port $port" "$wrong"
}

link_freestanding arm64-xen "${CROSS:-aarch64-linux-gnu-}gcc" -mno-outline-atomics
link_freestanding x86-pv gcc -mno-red-zone -mgeneral-regs-only
