#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_interfaces.sh: what the declarations of the product promise: arguments of one type that can be exchanged are told
# apart (by a type or a struct of their own, or the exception has a reason), a function that asks a question changes
# nothing, a write to a register has the offset before the value, no code but base/addr.h uses the member of an address
# type, and a struct's members that are its room's own are used by no other room. If this breaks, a call compiles with
# its arguments exchanged, a condition changes what it tests, an address is converted by hand, or a room cannot change
# what should concern only itself. lib/interfaces.py and lib/members.py have the rules.

set -u

cd "$(dirname -- "$0")/../.." || exit 1
subject=interfaces
# shellcheck source=tests/tools/lib/tap.sh
. tests/tools/lib/tap.sh
work=build/test/interfaces
rm -rf $work
mkdir -p $work/port

wrong=$(python3 -B tests/tools/lib/interfaces.py . 2>&1)
report "arguments are told apart, questions change nothing" "$wrong"
make --no-print-directory -s build/xen-headers/xen
wrong=$(python3 -B tests/tools/lib/members.py . 2>&1)
report "the members that are a room's own are used by no other" "$wrong"

# --- planted, one of each ---
cp -r include base hyper pages dma reach core drivers xenstore block net kernel $work/
cp port/*.h $work/port/
echo 'int dgm_slot_move(struct dgm_slot_cache *cache, uint64_t from, uint32_t to);' >>$work/include/dragoman/pages/slot.h
echo 'static bool is_drained(struct dgm_ring *ring) { return !ring->consumed++; }' >>$work/hyper/ring.c
sed -i 's/dgm_nvme_write(nvme, NVME_AQA, /dgm_nvme_write(nvme, depth - 1, /' $work/drivers/nvme/*.c
mkdir -p $work/port/sim $work/build
cp port/sim/*.h $work/port/sim/
ln -s ../../../xen-headers $work/build/xen-headers
echo 'static uint64_t number_of(dgm_gfn_t gfn) { return gfn.n; }' >>$work/pages/slot.c
echo 'uint32_t planted(struct dgm_ring *ring);
uint32_t planted(struct dgm_ring *ring) { return ring->entry_bytes; }' >>$work/block/drain.c
found=$(python3 -B tests/tools/lib/interfaces.py $work 2>&1
    python3 -B tests/tools/lib/members.py $work block/drain.c 2>&1)
wrong=
while read -r line; do
    printf '%s\n' "$found" | grep -qF "$line" || wrong="$wrong
not found: $line"
done <<'END'
include/dragoman/pages/slot.h: dgm_slot_move: "uint64_t from" and "uint32_t to" can be exchanged
hyper/ring.c: is_drained asks a question, and its "struct dgm_ring *ring" is not const
pages/slot.c: uses the member of an address type
dgm_nvme_write: "depth - 1" is not the offset of a register
include/dragoman/hyper/ring.h: block uses dgm_ring.entry_bytes, which is hyper's own
END
report "planted ones are found" "$wrong"
