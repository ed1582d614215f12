#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_rooms.sh: a room uses only the rooms before it (`make rooms`, lowest first), by its includes and by
# its calls. If this breaks, the rooms depend on each other, and none of them can be read, tested or embedded alone.
#
# Includes are read from the sources and from the public headers of each room. Calls are read from the
# symbols of the arm64 object files: a name that a room leaves undefined and a later room defines is a
# call upwards, whatever header declared it. The names of port/*.h are no room's: each embedder defines
# them. Two violations are planted, and both must be found.

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

make --no-print-directory -s -j"$(nproc)" domain >/dev/null 2>$work/make.err || report "the domain builds" "$(cat $work/make.err)"

report "no include goes upwards, or into another room's own header" "$(wrong_includes .)"
report "no call goes upwards" "$(wrong_calls . build/arm64)"

# --- the rooms of the page are those of the Makefile, in this order ---
paged=$(sed -n '/^## The house/,/^## /s/^| \(`[^|]*\)|.*/\1/p' docs/design.md | grep -o '`[a-z0-9/]*`' | tr -d '`' |
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
