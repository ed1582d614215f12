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
    qemu-system-x86 spin valgrind'
packages_bench='valgrind libbsd-dev python3'

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
