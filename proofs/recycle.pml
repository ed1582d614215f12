/* SPDX-License-Identifier: MIT */
/*
 * Proves: no lookup returns a frame whose grant is not held, and no device accesses one, while
 * slots are mapped, published, used, unpublished, unmapped and reused (the order of
 * dragoman/pages/p2m.h and pages/grant.c).
 * Over: two slots, three frames, an owner, a device with one DMA at a time per slot, and a reader
 * on another reactor that looks up any slot at any moment. The owner's stores to the p2m become
 * visible to the reader late; a hypercall waits for them, because Xen changes page tables and
 * flushes: the only assumption about Xen.
 *
 * planted: -DUNMAP_FIRST
 * planted: -DPUBLISH_EARLY
 * planted: -DNO_HOLD
 * planted: -DRECYCLE_EARLY
 * planted: -DHYPERCALL_ORDERS_NOTHING
 */
#define SLOTS  2
#define FRAMES 3
#define NONE   0

byte behind[SLOTS]; /* Xen: the frame behind a slot, 1 to FRAMES */
byte table[SLOTS];  /* the p2m as others see it */
byte late[SLOTS];   /* as the owner has written it */
byte dma[SLOTS];    /* the frame that the device was given, NONE: no DMA */
byte in_flight[SLOTS];

#ifdef HYPERCALL_ORDERS_NOTHING
#define ordered true
#else
#define ordered (table[0] == late[0] && table[1] == late[1])
#endif

active proctype stores()
{
end:
    do
    :: atomic { table[0] != late[0] -> table[0] = late[0] }
    :: atomic { table[1] != late[1] -> table[1] = late[1] }
    od
}

inline map(s, f)
{
    atomic { ordered -> assert(behind[s] == NONE); behind[s] = f }
}

inline unmap(s)
{
    atomic { ordered -> behind[s] = NONE }
}

active [SLOTS] proctype owner()
{
    byte s = _pid - 1; /* after stores() */
    byte f;

end:
    do
    :: true ->
        select(f : 1 .. FRAMES);
#ifdef PUBLISH_EARLY
        late[s] = f;
        map(s, f);
#else
        map(s, f);
        late[s] = f;
#endif
        /* A DMA, or none. The owner translates, so it reads its own stores. */
        if
        :: atomic { in_flight[s]++; dma[s] = late[s] }
        :: skip
        fi;
#ifndef NO_HOLD
        in_flight[s] == 0;
#endif
#ifdef UNMAP_FIRST
        unmap(s);
        late[s] = NONE;
#else
        late[s] = NONE;
#ifdef RECYCLE_EARLY
        map(s, f); /* the slot was returned before the unmap */
#endif
        unmap(s);
#endif
#ifdef NO_HOLD
        in_flight[s] == 0;
#endif
    od
}

/* Accesses its frame any number of times, then completes. */
active proctype device()
{
    byte s;

end:
    do
    :: atomic { dma[0] != NONE -> s = 0; assert(behind[0] == dma[0]) }
    :: atomic { dma[1] != NONE -> s = 1; assert(behind[1] == dma[1]) }
    :: atomic { dma[0] != NONE -> dma[0] = NONE; in_flight[0]-- }
    :: atomic { dma[1] != NONE -> dma[1] = NONE; in_flight[1]-- }
    od
}

active proctype reader()
{
end:
    do
    :: atomic { table[0] != NONE -> assert(behind[0] == table[0]) }
    :: atomic { table[1] != NONE -> assert(behind[1] == table[1]) }
    od
}
