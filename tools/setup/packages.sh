#!/bin/sh
# SPDX-License-Identifier: MIT
#
# packages.sh: the Debian packages that Dragoman needs on this machine.
#
#   packages.sh [--tests] [--bench] [-y]
#
# Looks which are missing, shows them, and installs them with apt-get. It asks on a terminal; it
# goes ahead with -y, with CI set, or as root without a terminal. Nothing is run when all are there,
# so calling it each time costs a few milliseconds.

set -eu

packages_run='make gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    picolibc-aarch64-linux-gnu libfdt-dev
    libxen-dev uuid-dev qemu-system-arm cpio gzip xz-utils kmod e2fsprogs'
packages_test='device-tree-compiler libcmocka-dev clang clang-format libclang-rt-dev llvm patch python3
    qemu-system-x86 spin'
packages_bench='valgrind libbsd-dev'

say() { printf '%s\n' "$*" >&2; }
fail() {
    printf 'packages: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '          %s\n' "$line" >&2; done
    exit 1
}

missing_of() {
    for package in "$@"; do
        # shellcheck disable=SC2016  # dpkg-query's own variable
        case " $(dpkg-query -W -f '${db:Status-Status} ' "$package" 2>/dev/null)" in
        *' installed '*) ;;
        *) printf '%s\n' "$package" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        fail "installing needs root, and there is no sudo here." \
            "As root: apt-get install --no-install-recommends$missing_words"
    fi
}

# True if the user agrees, or need not be asked.
may_install() {
    if [ "$assume_yes" = yes ] || [ -n "${CI:-}" ]; then return 0; fi
    if [ -t 0 ] && [ -t 2 ]; then
        printf 'Install them now with apt-get? [Y/n] ' >&2
        read -r answer || answer=n
        case $answer in
        '' | [yY]*) return 0 ;;
        *) return 1 ;;
        esac
    fi
    [ "$(id -u)" -eq 0 ]
}

packages=$packages_run
assume_yes=no
for argument in "$@"; do
    case $argument in
    --tests) packages="$packages $packages_test" ;;
    --bench) packages="$packages $packages_bench" ;;
    -y) assume_yes=yes ;;
    *) fail "unknown option '$argument' (known: --tests, --bench, -y)." ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    fail "this is not a Debian machine (no apt-get)." "Dragoman's set-up needs Debian 12 or 13."
fi

# shellcheck disable=SC2086  # lists of words on purpose
missing=$(missing_of $packages)
[ -n "$missing" ] || exit 0
missing_words=" $(echo "$missing" | tr '\n' ' ')"

say "Packages that Dragoman needs and this machine lacks:$missing_words"
if ! may_install; then
    fail "not installed." "By hand, as root: apt-get install --no-install-recommends$missing_words"
fi

install() {
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >&2
}

# A machine that never read its package lists, or long ago, needs "update" before it finds them all.
updated=no
for package in $missing; do
    if [ -z "$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^  Candidate: [^(]/&/p')" ]; then
        say "packages: apt does not know '$package' yet: reading the package lists"
        as_root apt-get update >&2 || fail "apt-get update failed (its words are above)."
        updated=yes
        break
    fi
done
if ! install; then
    [ "$updated" = no ] || fail "apt-get could not install them (its words are above)."
    say "packages: once more, with fresh package lists"
    as_root apt-get update >&2 || fail "apt-get update failed (its words are above)."
    install || fail "apt-get could not install them (its words are above)."
fi
