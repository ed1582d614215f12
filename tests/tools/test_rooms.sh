#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_rooms.sh: a room uses only the rooms before it (`make rooms`, lowest first), by its includes and by
# its calls. If this breaks, the rooms depend on each other, and none of them can be read, tested or embedded alone.
#
# Includes are read from the sources and from the public headers of each room. Calls are read from the
# symbols of the arm64 object files: a name that a room leaves undefined and a later room defines is a
# call upwards, whatever header declared it. The names of port/*.h are no room's: each embedder defines
# them. A public header (include/dragoman/) declares only what other rooms call, and what is listed below for embedders:
# the rest belongs into a header beside its source. Violations of each kind are planted, and must be found.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
CROSS=${CROSS:-aarch64-linux-gnu-}
work=build/test/rooms
rm -rf $work
mkdir -p $work

subject='rooms'
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh

# Inner headers that one later room shares: what both keep in the first one's structure.
shared='pages/identity_table.h:reach'

# Public functions that no room calls: an embedder may need them. Besides, each part has a dgm_NAME_check() for tests.
embedders='
dgm_balloon_out         gives RAM up at start, without a balloon that changes
dgm_blkback_pool_idle   for tests of an embedding
dgm_contig_init dgm_contig_make dgm_contig_remap dgm_contig_undo    x86 PV guests, port/x86-pv
dgm_dma_sync_for_cpu dgm_dma_sync_for_device    a driver with a map that lives long
dgm_pci_msi_set dgm_pci_reset_start dgm_pci_reset_finish    devices without MSI-X, or handed to another driver
dgm_xs_introduce dgm_xs_release                 guests that are not made by dom0less
dgm_xs_read dgm_xs_write dgm_xs_write_number dgm_xs_set_access dgm_xs_watch dgm_xs_unwatch    its own nodes
'

rooms=$(make --no-print-directory -s rooms)
# shellcheck disable=SC2086
folders=$(printf '%s\n' $rooms | cut -d / -f 1 | sort -u)
# shellcheck disable=SC2016  # awk's own
room_of='
    function room_of(file,    parts, path) {
        if (sub(/^include\/dragoman\//, "", file)) {
            path = file
            sub(/\.h$/, "", path)
            if (path in rank) return path # drivers/pci.h
        }
        for (path = file; sub(/\/[^\/]*$/, "", path);)
            if (path in rank) return path
        split(file, parts, "/")
        return parts[1] == "drivers" ? first_driver : ""
    }
    BEGIN {
        count = split(rooms, order, " ")
        for (i = 1; i <= count; i++) {
            rank[order[i]] = i
            if (!first_driver && order[i] ~ /^drivers\//) first_driver = order[i]
        }
    }'

# $1 the tree. Prints one line for each include that goes upwards, or into the inner header of another room.
wrong_includes() {
    # shellcheck disable=SC2086  # a list of words on purpose
    (cd "$1" && find $folders include port/*.h -name '*.[chS]' \
        -exec grep -Hn '^ *# *include' {} +) |
        sed -n 's/^\([^:]*\):\([0-9]*\): *# *include *\([<"]\)\([^>"]*\)[>"].*/\1 \2 \3 \4/p' |
        awk -v rooms="$rooms" -v shared=" $shared " "$room_of"'
        {
            from = $1
            to = $4
            if ($3 == "\"") { to = from; sub(/[^\/]*$/, $4, to) }
            inner = to !~ /^(dragoman|port)\//
            sub(/^dragoman\//, "include/dragoman/", to)
            mine = from ~ /^port\// ? "base" : room_of(from)
            other = room_of(to)
            if (other == "") next
            if (rank[other] > rank[mine])
                print from ":" $2 ": " mine " includes " to ", of " other
            else if (inner && other != mine && !(mine == "kernel" && other ~ /^kernel\//) &&
                     !index(shared, " " to ":" mine " "))
                print from ":" $2 ": " mine " includes " to ", which is for " other " alone"
        }'
}

# $1 the tree, $2 the folder of its object files. Prints one line for each name that a room takes from a
# later one. Object files whose source is gone are old ones.
wrong_calls() {
    # shellcheck disable=SC2086
    (cd "$1" && find $folders -name '*.[cS]' | sed 's/..$/.o/') >$work/objects
    while read -r object; do [ -e "$2/$object" ] || echo "$object is not built"; done <$work/objects
    (cd "$2" && xargs "${CROSS}nm" -A -g) <$work/objects |
        sed 's/:\([0-9a-f]*\) */ \1 /' |
        awk -v rooms="$rooms" -v seam="$(cat port/*.h)" "$room_of"'
        { kind = $(NF - 1); name = $NF; room = room_of($1) }
        kind ~ /^[TtDdBbRrCVW]$/ { home[name] = room; next }
        kind ~ /^[Uwv]$/ { users[name] = users[name] " " $1 }
        END {
            for (name in users) {
                # The first instruction of the kernel is called by the entry code below it.
                if (name == "kernel_main" || index(seam, name "(") || !(name in home)) continue
                many = split(users[name], user, " ")
                for (i = 1; i <= many; i++)
                    if (rank[home[name]] > rank[room_of(user[i])])
                        print user[i] ": calls " name ", of " home[name]
            }
        }'
}

# $1 the tree, $2 the folder of its object files. Prints each function of a public header that no other room calls, and
# each of the list above that is called, or does not exist.
uncalled() {
    # shellcheck disable=SC2086
    (cd "$1" && find $folders -name '*.[cS]' | sed 's/..$/.o/') >$work/objects
    cat "$1"/include/dragoman/*/*.h | grep -v '^static\|^#\|^ \|^/' | grep -o '\bdgm_[a-z0-9_]*(' | tr -d '(' |
        sort -u >$work/public
    (cd "$2" && xargs "${CROSS}nm" -A -g) <$work/objects |
        sed 's/:\([0-9a-f]*\) */ \1 /' |
        awk -v rooms="$rooms" -v public="$(cat $work/public)" -v listed="$(printf '%s' "$embedders" | grep -o 'dgm_[a-z0-9_]*')" "$room_of"'
        { kind = $(NF - 1); name = $NF; room = room_of($1) }
        kind ~ /^[Tt]$/ { home[name] = room; next }
        kind == "U" { users[name] = users[name] " " $1 }
        END {
            many = split(listed, names, "\n")
            for (i = 1; i <= many; i++) embedder[names[i]] = 1
            many = split(public, names, "\n")
            for (i = 1; i <= many; i++) {
                name = names[i]
                is_public[name] = 1
                called = 0
                count = split(users[name], user, " ")
                for (k = 1; k <= count; k++) called = called || room_of(user[k]) != home[name]
                if (!called && !(name in embedder) && name !~ /_check$/)
                    print name ": public, and only " home[name] " calls it"
                if (called && name in embedder) print name ": listed for embedders, and another room calls it"
            }
            for (name in embedder)
                if (!(name in is_public)) print name ": listed for embedders, and not public"
        }'
}

make --no-print-directory -s -j"$(nproc)" domain >/dev/null 2>$work/make.err || report "the domain builds" "$(cat $work/make.err)"

report "no include goes upwards, or into another room's own header" "$(wrong_includes .)"
report "no call goes upwards" "$(wrong_calls . build/arm64)"
report "no public header declares what only its own room calls" "$(uncalled . build/arm64)"

# --- the rooms of the page are those of the Makefile, in this order ---
paged=$(sed -n '/^## The house/,/^## /s/^| \(`[^|]*\)|.*/\1/p' docs/design.md | grep -o '`[a-z0-9_/]*`' | tr -d '`' |
    sed 's,/$,,' | grep -v '^port$' | tr '\n' ' ')
[ "$paged" = "$rooms " ] && wrong= || wrong="docs/design.md has: $paged
make rooms says: $rooms"
report "docs/design.md has the rooms in their order" "$wrong"

# --- planted ---
mkdir -p $work/tree
# shellcheck disable=SC2086
cp -r $folders include port $work/tree/
sed -i '1a #include <dragoman/block/blkback.h>' $work/tree/dma/plan.c
sed -i '1a #include <dma/internal.h>' $work/tree/reach/reach.c
wrong=
for line in 'dma/plan.c:2: dma includes include/dragoman/block/blkback.h, of block' \
    'reach/reach.c:2: reach includes dma/internal.h, which is for dma alone'; do
    wrong_includes $work/tree | grep -qxF "$line" || wrong="$wrong
not found: $line"
done
report "a planted include is found" "$wrong"

cat >$work/tree/dma/planted.c <<'END'
extern int dgm_blkback_idle(void);
int dgm_planted(void);
int dgm_planted(void)
{
    return dgm_blkback_idle();
}
END
mkdir -p $work/arm64
# shellcheck disable=SC2086
(cd build/arm64 && cp -r $folders ../../$work/arm64/)
"${CROSS}gcc" -c $work/tree/dma/planted.c -o $work/arm64/dma/planted.o
line='dma/planted.o: calls dgm_blkback_idle, of block'
wrong_calls $work/tree $work/arm64 | grep -qxF "$line" && wrong= || wrong="not found: $line"
report "a planted call, declared by hand, is found" "$wrong"

echo 'void dgm_p2m_publish(struct dgm_p2m *p2m, dgm_gfn_t gfn, dgm_mfn_t mfn);' >>$work/tree/include/dragoman/pages/p2m.h
line='dgm_p2m_publish: public, and only pages calls it'
uncalled $work/tree $work/arm64 | grep -qxF "$line" && wrong= || wrong="not found: $line"
report "a planted declaration in a public header is found" "$wrong"
