#!/bin/sh
# SPDX-License-Identifier: MIT
#
# packages.sh: the Debian packages that Dragoman needs on this machine.
#
#   packages.sh [--tests] [--bench] [-y]
#
# Finds which are missing, shows them and their size, and installs them with apt-get. It asks on a
# terminal; it does not ask with -y, with CI set, or as root without a terminal. When all are
# installed it takes a few milliseconds, so every command calls it. apt's messages are translated
# and are never read: only exit status and interfaces for programs.

set -eu

program='dragoman packages'
# shellcheck source=tools/lib.sh
. "$(dirname -- "$0")/../lib.sh"

packages_run='make gcc device-tree-compiler libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    picolibc-aarch64-linux-gnu libfdt-dev
    libxen-dev uuid-dev qemu-system-arm cpio gzip xz-utils kmod e2fsprogs'
packages_test='g++ pkgconf libcmocka-dev clang clang-format libclang-rt-dev llvm patch python3
    qemu-system-x86 spin valgrind libbsd-dev fdisk'
packages_bench='valgrind libbsd-dev python3'

# PROGRAM:PACKAGE. An installed package is no program that is found: PATH may be wrong, or a file removed.
programs_run='make:make gcc:gcc dtc:device-tree-compiler fdtput:device-tree-compiler
    aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu aarch64-linux-gnu-ld:binutils-aarch64-linux-gnu
    qemu-system-aarch64:qemu-system-arm cpio:cpio gzip:gzip xz:xz-utils depmod:kmod mke2fs:e2fsprogs
    e2fsck:e2fsprogs debugfs:e2fsprogs apt-cache:apt dpkg-deb:dpkg flock:util-linux awk:mawk sed:sed
    find:findutils sha256sum:coreutils'
programs_test='g++:g++ pkg-config:pkgconf clang:clang clang-format:clang-format llvm-ar:llvm patch:patch
    python3:python3 qemu-system-x86_64:qemu-system-x86 spin:spin valgrind:valgrind sfdisk:fdisk'
programs_bench='valgrind:valgrind python3:python3'

missing_of() {
    for package in "$@"; do
        # shellcheck disable=SC2016  # dpkg-query's own variable
        case " $(dpkg-query -W -f '${db:Status-Status} ' "$package" 2>/dev/null)" in
        *' installed '*) ;;
        *) printf '%s\n' "$package" ;;
        esac
    done
}

# $@ PROGRAM:PACKAGE
check_programs() {
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || fail \
            "the program '${pair%%:*}' is not in PATH, although its package ${pair#*:} is installed." \
            "If PATH is complete, as root: apt-get install --reinstall ${pair#*:}"
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

PATH=$PATH:/sbin:/usr/sbin
packages=$packages_run programs=$programs_run
assume_yes=no
for argument in "$@"; do
    case $argument in
    --tests) packages="$packages $packages_test" programs="$programs $programs_test" ;;
    --bench) packages="$packages $packages_bench" programs="$programs $programs_bench" ;;
    -y) assume_yes=yes ;;
    *) fail "unknown option '$argument' (known: --tests, --bench, -y)." ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    fail "this is not a Debian machine (no apt-get)." "Dragoman's set-up needs Debian 12 or 13."
fi

# shellcheck disable=SC2086  # lists of words on purpose
missing=$(missing_of $packages)
[ -n "$missing" ] || {
    # shellcheck disable=SC2086
    check_programs $programs
    exit 0
}
missing_words=" $(echo "$missing" | tr '\n' ' ')"

# How much apt-get would download, in words; nothing while apt does not know all of the packages.
download_size() {
    # shellcheck disable=SC2086  # a list of words on purpose
    apt-get install --print-uris -qq -y --no-install-recommends $missing 2>/dev/null |
        awk '$3 ~ /^[0-9]+$/ { sum += $3 }
             END { if (sum > 0) printf " (%d MB to download)", (sum + 999999) / 1000000 }'
}

printf '%s needs these packages%s:%s\n' "Dragoman" "$(download_size)" "$missing_words" >&2
if ! may_install; then
    fail "not installed." "By hand, as root: apt-get install --no-install-recommends$missing_words"
fi

update() {
    as_root apt-get update >&2 || fail "apt-get update failed (its messages are above)."
    updated=yes
}

install() {
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >&2
}

# A machine that has never read its package lists, or not for long, needs "update" first.
updated=no
for package in $missing; do
    if ! apt-cache show "$package" >/dev/null 2>&1; then
        say "apt does not know '$package' yet: reading the package lists"
        update
        break
    fi
done
if ! install; then
    [ "$updated" = no ] || fail "apt-get could not install them (its messages are above)."
    say "trying again, with new package lists"
    update
    install || fail "apt-get could not install them (its messages are above)."
fi
# shellcheck disable=SC2086
check_programs $programs
