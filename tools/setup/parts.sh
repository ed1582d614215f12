#!/bin/sh
# SPDX-License-Identifier: MIT
#
# parts.sh: the arm64 parts that Dragoman runs with, unpacked into a cache that all clones share.
#
#   parts.sh [--all | --proofs | --bench] [--verify] [--write FILE]
#
# Fetches Debian's own arm64 packages (Xen, a guest's kernel, busybox, e2fsprogs, libfdt) with a
# private apt state: no root, no foreign architecture, no change of this system. apt checks the
# archive's signature; the mirror is the one that this machine uses. Only interfaces of apt that are
# made for programs are read (--format, --print-uris, control fields, exit status): apt's messages
# are translated.
#
# A *set* is one directory of the cache. It is unpacked beside its final place and then renamed, so
# a directory that exists is complete; a lock excludes a second run. SET.sha256 has the checksums of its files and
# SET.files their sizes and times. Every run compares the second, and the first where the second differs or with
# --verify; a set that is damaged is fetched again. A complete set is never updated: remove the cache to have newer
# packages.
#
# --all adds the sets that only the full tests need, among them Xen for this machine's own
# architecture (amd64), for tests/x86. --proofs fetches only the model checker of `./dragoman
# prove`, for this machine's own architecture, with its own C library: Debian 12's is too old for
# it. --bench adds what a Linux Dom0 needs, Debian's toolstack. --write FILE writes the paths as NAME=value lines that both make and sh can read, and touches
# FILE only when they change.

set -eu

program='dragoman parts'
# shellcheck source=tools/lib.sh
. "$(dirname -- "$0")/../lib.sh"
# shellcheck source=tools/setup/sets.sh
. "$(dirname -- "$0")/sets.sh"

# Raised whenever the layout of the cache changes, so that old and new clones do not meet.
cache_version=1
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The base address of the machine's own mirror of Debian's main archive.
mirror_address() {
    # shellcheck disable=SC2016  # apt's own variables, not the shell's
    address=$(apt-get indextargets \
        --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(CREATED_BY)|$(REPO_URI)' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" && $4 == "Packages" &&
                   $5 !~ /^cdrom:/ { print $5; exit }')
    if [ -z "$address" ]; then
        # Before the first "apt-get update" apt knows no origins: the archive's usual name is taken.
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

# The directory of the private apt state of a suite and an architecture. $1 suite, $2 architecture.
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
    # Without this apt takes an index that it could not fetch for a matter of warning only.
    echo 'APT::Update::Error-Mode "any";' >>"$state/apt.conf"
    say "reading the package list of Debian $1 ($2), about 10 MB"
    if ! apt-get -c "$state/apt.conf" -q update >"$state/update.log" 2>&1; then
        sed 's/^/    /' "$state/update.log" >&2
        fail "the package list of Debian $1 could not be fetched (apt's messages are above)." \
            "If they name a key or a signature, this machine's keyring is older than that release." \
            "As root: apt-get update && apt-get install --only-upgrade debian-archive-keyring" \
            "Otherwise check the network and the mirror in /etc/apt. Then run the same command" \
            "again: what is already in $cache is kept."
    fi
}

# control_field STATE PACKAGE... FIELD: the field of each package, one a line.
control_field() {
    field_state=$1
    shift
    field_packages=
    while [ $# -gt 1 ]; do field_packages="$field_packages $1" && shift; done
    # shellcheck disable=SC2086  # a list of words on purpose
    apt-cache -c "$field_state/apt.conf" show --no-all-versions $field_packages |
        sed -n "s/^$1: //p"
}

# $1 apt state, $2 package or @metapackage: the package's real name.
apt_resolve() {
    case $2 in
    @*)
        real=$(control_field "$1" "${2#@}" Depends | tr ',' '\n' |
            sed -n 's/^ *\(linux-image-[0-9][^ ]*\).*$/\1/p' | head -n 1)
        [ -n "$real" ] || fail "Debian has no package behind ${2#@} in $1/sources.list."
        printf '%s\n' "$real"
        ;;
    *) printf '%s\n' "$2" ;;
    esac
}

# --- fetching ---

# The apt state of a set, with a package list of today. $1 set.
set_state() {
    state=$(apt_state "$(set_suite "$1")" "$(set_architecture "$1")")
    if [ ! -e "$state/updated-by-$$" ]; then
        apt_prepare "$(set_suite "$1")" "$(set_architecture "$1")"
        : >"$state/updated-by-$$"
    fi
}

# The real names of a set's packages, in $names. $1 set; its state is in $state.
set_names() {
    names=
    for package in $(set_packages "$1"); do
        real=$(apt_resolve "$state" "$package") || exit 1
        names="$names $real"
    done
}

# Shows how much the sets are, and checks that there is room for them. $@ sets.
announce() {
    download_bytes=0 unpacked_kib=0
    for set in "$@"; do
        require_space "$cache" 100 "reading the package lists"
        set_state "$set"
        set_names "$set"
        # shellcheck disable=SC2086  # lists of words on purpose
        {
            bytes=$(apt-get -c "$state/apt.conf" --print-uris download $names |
                awk '$3 ~ /^[0-9]+$/ { sum += $3 } END { printf "%.0f", sum }')
            kib=$(control_field "$state" $names Installed-Size |
                awk '{ sum += $1 } END { printf "%.0f", sum }')
        }
        download_bytes=$((download_bytes + bytes)) unpacked_kib=$((unpacked_kib + kib))
    done
    download_mb=$((download_bytes / 1000000 + 1)) unpacked_mb=$((unpacked_kib * 1024 / 1000000 + 1))
    say "to fetch: $# of the sets in $cache," \
        "$download_mb MB to download, $unpacked_mb MB when unpacked"
    require_space "$cache" $((download_mb + unpacked_mb + 20)) "fetching the parts" \
        "Make room there, or set XDG_CACHE_HOME to a directory on another file system."
}

# Download and unpack one set. $1 set, $2 its number and the number of all.
fetch_set() {
    set_state "$1"
    set_names "$1"
    download=$cache/download/$1
    mkdir -p "$download"
    say "fetching set $2, $1:$names"
    # apt keeps complete downloads, so an interrupted run continues. shellcheck disable=SC2086 # a list of words on
    # purpose
    if ! (cd "$download" && apt-get -c "$state/apt.conf" $apt_quiet download $names) >&2; then
        fail "apt could not download$names (its messages are above)." \
            "Check the network; then run the same command again: it continues where it stopped."
    fi

    new=$cache/new-$1.$$
    rm -rf "$new"
    mkdir -p "$new"
    for deb in "$download"/*.deb; do
        dpkg-deb -x "$deb" "$new" ||
            fail "$deb cannot be unpacked (the cause is above)." \
                "If the file system is full, make room. Otherwise remove the file. Then run the" \
                "same command again."
    done
    (cd "$download" && ls -- *.deb) >"$new/packages.txt"
    set_name_files "$1" "$new"
    rm -rf "${cache:?}/$1"
    mv -T "$new" "$cache/$1"
    record_set "$1"
    rm -rf "$download"
}

# --- whether a set is unchanged since it was unpacked ---

list_files() {
    (cd "$cache/$1" && find . \( -type f -o -type l \) -printf '%y %s %T@ %p %l\n' | sort)
}

# $1 set.
record_set() {
    (cd "$cache/$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$cache/$1.sha256.new$$"
    mv "$cache/$1.sha256.new$$" "$cache/$1.sha256"
    list_files "$1" >"$cache/$1.files.new$$"
    mv "$cache/$1.files.new$$" "$cache/$1.files"
}

# True when the set is there and is what was unpacked. $1 set.
set_is_whole() {
    [ -d "$cache/$1" ] || return 1
    if [ ! -e "$cache/$1.sha256" ]; then
        [ -s "$cache/$1/$(set_main_file "$1")" ] || set_is_damaged "$1" "$(set_main_file "$1")" || return 1
        [ ! -w "$cache" ] || record_set "$1"
        return 0
    fi
    if [ $verify = no ] && [ -e "$cache/$1.files" ] &&
        list_files "$1" | cmp -s - "$cache/$1.files"; then
        return 0
    fi
    bad=$(cd "$cache/$1" && sha256sum --quiet -c "$cache/$1.sha256" 2>/dev/null | sed -n '1s/: .*//p')
    [ -z "$bad" ] || set_is_damaged "$1" "$bad" || return 1
    links_before=$(sed -n 's/^l [0-9]* [0-9.]* //p' "$cache/$1.files" 2>/dev/null)
    [ "$links_before" = "$(list_files "$1" | sed -n 's/^l [0-9]* [0-9.]* //p')" ] ||
        set_is_damaged "$1" "a symbolic link" || return 1
    [ ! -w "$cache" ] || record_set "$1"
}

set_is_damaged() {
    say "the set $1 in $cache is damaged ($2): it is fetched again"
    return 1
}

# The lock is held by file descriptor 9 until this script ends.
lock_cache() {
    exec 9>"$cache/lock"
    if ! flock -n 9; then
        say "another run is filling $cache; waiting until it ends"
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
DOM0_ROOT_DIR=$cache/dom0-root
END
    )
    if [ ! -f "$1" ] || [ "$(cat "$1")" != "$paths" ]; then
        require_writable "$(dirname "$1")"
        printf '%s\n' "$paths" >"$1.$$"
        mv "$1.$$" "$1"
    fi
}

sets=$sets_run
output=
verify=no
while [ $# -gt 0 ]; do
    case $1 in
    --all) sets="$sets_run $sets_test $sets_proof" ;;
    --proofs) sets=$sets_proof ;;
    --bench) sets="$sets_run $sets_bench" ;;
    --verify) verify=yes ;;
    --write)
        [ $# -ge 2 ] || fail "--write needs a file name."
        output=$2
        shift
        ;;
    *) fail "unknown option '$1' (known: --all, --proofs, --bench, --verify, --write FILE)." ;;
    esac
    shift
done

[ -n "${XDG_CACHE_HOME:-${HOME:-}}" ] ||
    fail "neither HOME nor XDG_CACHE_HOME is set." "Set XDG_CACHE_HOME to a directory for the cache."
cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}/dragoman/parts-$cache_version
case $cache in
*[[:space:]]*)
    fail "the cache's path '$cache' holds a blank, which make cannot handle." \
        "Set XDG_CACHE_HOME to a directory without one."
    ;;
*["'"\"\`\\\$\#\&\;\<\>\(\)\|\*\?\[%]*)
    fail "the cache's path '$cache' holds a character that has a meaning in make or sh." \
        "Set XDG_CACHE_HOME to a directory whose path has only letters, digits and . _ / + , @ : = -"
    ;;
/*) ;;
*) fail "the cache's path '$cache' is not absolute: set XDG_CACHE_HOME to an absolute path." ;;
esac
apt_quiet=-q
[ ! -t 2 ] || apt_quiet=

missing_sets() {
    missing=
    for set in $sets; do set_is_whole "$set" || missing="$missing $set"; done
}

missing_sets
if [ -n "$missing" ]; then
    [ -r "$keyring" ] || fail "$keyring is missing." \
        "As root: apt-get install debian-archive-keyring"
    require_writable "$cache" "Set XDG_CACHE_HOME to a directory that you can write to."
    trap 'rm -rf "$cache"/new-*."$$" "$cache"/apt/*/updated-by-$$' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    lock_cache
    rm -rf "$cache"/new-*
    # Another run may have fetched them while this one waited for the lock.
    missing_sets
    # shellcheck disable=SC2086  # a list of words on purpose
    set -- $missing
    total=$#
    [ $total = 0 ] || announce "$@"
    number=0
    for set in "$@"; do
        number=$((number + 1))
        fetch_set "$set" "$number of $total"
    done
    say "complete, in $cache"
fi
[ -z "$output" ] || write_paths "$output"
