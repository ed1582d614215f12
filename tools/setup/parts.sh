#!/bin/sh
# SPDX-License-Identifier: MIT
#
# parts.sh: the arm64 parts that Dragoman is run with, unpacked into a cache that all clones share.
#
#   parts.sh [--all | --proofs] [--write FILE]
#
# Fetches Debian's own arm64 packages (Xen, a guest's kernel, busybox, e2fsprogs, libfdt) with a
# private apt state: no root, no foreign architecture added, nothing of this system changed. apt
# checks the archive's signature as always; the mirror's address is the one this machine uses.
# Each *set* below is one directory of the cache. It is unpacked beside its final place and then
# renamed, so a directory that exists is complete; a lock keeps two runs apart. A set that is there
# is never fetched again: remove the cache to have newer packages.
#
# --all adds what only the full tests need, among it Xen for this machine's own architecture (amd64),
# on which tests/x86 shows pages/contig at work. --proofs fetches only the model checker of
# `./dragoman prove`, for this machine's own architecture, with its own C library: Debian 12's is too
# old for it. --write FILE writes the paths as NAME=value lines that
# both make and sh can read, and touches FILE only when they change.

set -eu

# Raised whenever the lay-out of the cache changes, so that old and new clones do not meet.
cache_version=1
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

sets_run='xen-4.20 linux-cloud guest-root libfdt'
sets_test='xen-4.17 linux-16k xen-4.20-amd64 xen-4.17-amd64'
sets_proof='cbmc'

say() { printf '%s\n' "$*" >&2; }
fail() {
    printf 'parts: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

set_suite() {
    case $1 in
    xen-4.17*) echo bookworm ;;
    *) echo trixie ;;
    esac
}

set_architecture() {
    case $1 in
    *-amd64) echo amd64 ;;
    cbmc) dpkg --print-architecture ;;
    *) echo arm64 ;;
    esac
}

# The packages of a set. "@name" stands for the versioned package that the metapackage depends on.
set_packages() {
    case $1 in
    xen-4.20) echo xen-hypervisor-4.20-arm64 ;;
    xen-4.17) echo xen-hypervisor-4.17-arm64 ;;
    xen-*-amd64) echo "xen-hypervisor-${1#xen-}" ;;
    linux-cloud) echo @linux-image-cloud-arm64 ;;
    linux-16k) echo @linux-image-arm64-16k ;;
    guest-root)
        echo busybox-static e2fsprogs \
            libblkid1 libc6 libcom-err2 libext2fs2t64 libss2 libuuid1
        ;;
    libfdt) echo libfdt-dev ;;
    cbmc) echo cbmc minisat libc6 libstdc++6 libgcc-s1 zlib1g ;;
    esac
}

# Give the set's files the stable names that the rest of the project uses. $1 set, $2 its directory.
set_name_files() {
    case $1 in
    xen-*-amd64)
        # QEMU's -kernel takes the multiboot image only unpacked.
        gunzip "$2"/boot/"$1".gz
        name_one "$2" xen "$2"/boot/"$1"
        ;;
    xen-*)
        name_one "$2" xen "$2"/boot/xen-"${1#xen-}"-arm64
        ;;
    linux-*)
        name_one "$2" Image "$2"/boot/vmlinuz-*
        # Debian 13 has modules below usr/lib, Debian 12 below lib: depmod -b wants lib.
        if [ ! -e "$2/lib" ]; then ln -s usr/lib "$2/lib"; fi
        ;;
    libfdt)
        name_one "$2" libfdt.a "$2"/usr/lib/aarch64-linux-gnu/libfdt.a
        if [ ! -e "$2/include" ]; then ln -s usr/include "$2/include"; fi
        ;;
    cbmc)
        name_one "$2" loader "$2"/usr/lib/*-linux-gnu/ld-linux-*.so.*
        name_one "$2" cbmc "$2"/usr/bin/cbmc
        ln -s usr/lib/"$(basename "$2"/usr/lib/*-linux-gnu)" "$2"/libraries
        ;;
    esac
}

# $1 directory, $2 stable name, then the files that matched: exactly one must be there.
name_one() {
    if [ $# -ne 3 ] || [ ! -f "$3" ]; then
        fail "Debian's package does not hold the file expected as '$2' (looked for: $3)." \
            "Its lay-out has changed: set_name_files in tools/setup/parts.sh must follow it."
    fi
    ln -s "${3#"$1"/}" "$1/$2"
}

# The base address of the machine's own mirror of Debian's main archive.
mirror_address() {
    # shellcheck disable=SC2016  # apt's own variables, not the shell's
    address=$(apt-get indextargets \
        --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(CREATED_BY)|$(REPO_URI)' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" && $4 == "Packages" &&
                   $5 !~ /^cdrom:/ { print $5; exit }')
    if [ -z "$address" ]; then
        # Before the first "apt-get update" apt knows no origins: the archive's usual name must do.
        # shellcheck disable=SC2016
        address=$(apt-get indextargets --format '$(COMPONENT)|$(CREATED_BY)|$(REPO_URI)' \
            2>/dev/null |
            awk -F'|' '$1 == "main" && $2 == "Packages" && $3 ~ /\/debian\/?$/ &&
                       $3 !~ /^cdrom:/ { print $3; exit }')
    fi
    if [ -z "$address" ]; then
        fail "no mirror of Debian's main archive among this machine's apt sources." \
            "Dragoman takes Xen and Linux for arm64 from it. Add one to /etc/apt/sources.list.d" \
            "and run 'apt-get update' as root."
    fi
    printf '%s\n' "$address"
}

# Where the private apt state of a suite and an architecture lies. $1 suite, $2 architecture.
apt_state() {
    case $2 in
    arm64) printf '%s\n' "$cache/apt/$1" ;;
    *) printf '%s\n' "$cache/apt/$1-$2" ;;
    esac
}

# A private apt state for one suite. $1 suite, $2 architecture.
apt_prepare() {
    state=$(apt_state "$1" "$2")
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/none"
    : >"$state/status"
    printf 'deb [arch=%s signed-by=%s] %s %s main\n' "$2" "$keyring" "$(mirror_address)" "$1" \
        >"$state/sources.list"
    # Given with -c, so it is read after the system's configuration and its hooks can be cleared.
    cat >"$state/apt.conf" <<END
#clear APT::Architectures;
#clear APT::Update;
#clear APT::NeverAutoRemove;
APT::Architecture "$2";
APT::Architectures { "$2"; };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Dir::State "$state";
Dir::State::lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "$state/none";
Dir::Etc::preferences "$state/none/none";
Dir::Etc::preferencesparts "$state/none";
END
    say "parts: reading the package list of Debian $1 ($2)"
    if ! apt-get -c "$state/apt.conf" -q update >"$state/update.log" 2>&1 ||
        grep -q '^[EW]: .*\(NO_PUBKEY\|not signed\|Failed to fetch\)' "$state/update.log"; then
        apt_update_failed "$1" "$state/update.log"
    fi
}

apt_update_failed() {
    sed 's/^/       /' "$2" >&2
    if grep -q 'NO_PUBKEY\|not signed\|EXPKEYSIG' "$2"; then
        fail "the signature of Debian $1 could not be verified with $keyring." \
            "The keyring is probably older than that release. As root:" \
            "apt-get update && apt-get install --only-upgrade debian-archive-keyring"
    fi
    fail "the package list of Debian $1 could not be fetched (apt's words are above)." \
        "Check the network and the mirror in /etc/apt; then run the same command again:" \
        "what is already in $cache is kept."
}

# $1 apt state, $2 package or @metapackage: the package's real name.
apt_resolve() {
    case $2 in
    @*)
        real=$(apt-cache -c "$1/apt.conf" depends "${2#@}" |
            sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
        [ -n "$real" ] || fail "Debian has no package behind ${2#@} in $1/sources.list."
        printf '%s\n' "$real"
        ;;
    *) printf '%s\n' "$2" ;;
    esac
}

# Download and unpack one set. $1 set.
fetch_set() {
    suite=$(set_suite "$1")
    architecture=$(set_architecture "$1")
    index=$(apt_state "$suite" "$architecture")
    if [ ! -e "$index/updated-by-$$" ]; then
        apt_prepare "$suite" "$architecture"
        : >"$index/updated-by-$$"
    fi
    names=
    for package in $(set_packages "$1"); do
        real=$(apt_resolve "$index" "$package") || exit 1
        names="$names $real"
    done

    download=$cache/download/$1
    mkdir -p "$download"
    say "parts: fetching$names"
    # apt keeps what has arrived and is whole, so a run that was cut off goes on where it stopped.
    # shellcheck disable=SC2086  # a list of words on purpose
    if ! (cd "$download" && apt-get -c "$index/apt.conf" $apt_quiet download $names) >&2
    then
        fail "apt could not download$names (its words are above)." \
            "Check the network; then run the same command again: it goes on where it stopped."
    fi

    new=$cache/new-$1.$$
    rm -rf "$new"
    mkdir -p "$new"
    for deb in "$download"/*.deb; do
        dpkg-deb -x "$deb" "$new" ||
            fail "$deb cannot be unpacked (disk full?)." "Remove it and run the same command again."
    done
    (cd "$download" && ls -- *.deb) >"$new/packages.txt"
    set_name_files "$1" "$new"
    mv -T "$new" "$cache/$1"
    rm -rf "$download"
}

# The lock is held by file descriptor 9 until this script ends.
take_lock() {
    exec 9>"$cache/lock"
    if ! flock -n 9; then
        say "parts: another run is filling $cache; waiting for it"
        flock 9
    fi
}

write_paths() {
    paths=$(
        cat <<END
# Written by tools/setup/parts.sh; read by make and by sh.
PARTS_DIR=$cache
XEN_4_20=$cache/xen-4.20/xen
XEN_4_17=$cache/xen-4.17/xen
XEN_4_20_AMD64=$cache/xen-4.20-amd64/xen
XEN_4_17_AMD64=$cache/xen-4.17-amd64/xen
LINUX_CLOUD_DIR=$cache/linux-cloud
LINUX_16K_DIR=$cache/linux-16k
GUEST_ROOT_DIR=$cache/guest-root
LIBFDT_ARM64_A=$cache/libfdt/libfdt.a
LIBFDT_ARM64_INCLUDE=$cache/libfdt/include
CBMC_DIR=$cache/cbmc
END
    )
    if [ ! -f "$1" ] || [ "$(cat "$1")" != "$paths" ]; then
        mkdir -p "$(dirname "$1")"
        printf '%s\n' "$paths" >"$1.$$"
        mv "$1.$$" "$1"
    fi
}

sets=$sets_run
output=
while [ $# -gt 0 ]; do
    case $1 in
    --all) sets="$sets_run $sets_test $sets_proof" ;;
    --proofs) sets=$sets_proof ;;
    --write)
        [ $# -ge 2 ] || fail "--write wants a file name."
        output=$2
        shift
        ;;
    *) fail "unknown option '$1' (known: --all, --proofs, --write FILE)." ;;
    esac
    shift
done

cache=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/dragoman/parts-$cache_version
case $cache in
*[[:space:]]*)
    fail "the cache's path '$cache' holds a blank, which make cannot handle." \
        "Set XDG_CACHE_HOME to a directory without one."
    ;;
/*) ;;
*) fail "the cache's path '$cache' is not absolute: set XDG_CACHE_HOME to an absolute path." ;;
esac
apt_quiet=-q
[ ! -t 2 ] || apt_quiet=

missing=
for set in $sets; do [ -d "$cache/$set" ] || missing="$missing $set"; done
if [ -n "$missing" ]; then
    [ -r "$keyring" ] || fail "$keyring is missing." \
        "As root: apt-get install debian-archive-keyring"
    mkdir -p "$cache" || fail "cannot make the cache $cache." \
        "Set XDG_CACHE_HOME to a directory that you can write to."
    take_lock
    rm -rf "$cache"/new-*
    trap 'rm -f "$cache"/apt/*/updated-by-$$' EXIT
    for set in $missing; do
        # Another run may have fetched it while this one waited for the lock.
        [ -d "$cache/$set" ] || fetch_set "$set"
    done
    say "parts: complete, in $cache"
fi
[ -z "$output" ] || write_paths "$output"
