/* SPDX-License-Identifier: MIT */
/*
 * Proves: no wake-up is lost between a frontend and a backend that suppress notifications by
 * req_event and rsp_event (hyper/ring.c, xen/io/ring.h): for any order of steps every request gets
 * a response and every response is seen; and the value read from an entry is the one written.
 * Over: four requests on a ring of two entries. Memory is weak: each side's stores become visible
 * in any order that its own barriers allow (a wmb orders them, an mb waits for them); loads are
 * done in order but for the entry before its index in the variant NO_RMB. A lost wake-up is a state
 * in which neither side can continue although work is left.
 *
 * planted: -DNO_RECHECK
 * planted: -DNO_MB_SLEEP
 * planted: -DNO_MB_PUBLISH
 * planted: -DNO_WMB
 * planted: -DNO_RMB
 */
#define REQUESTS 4
#define ENTRIES  2

/* Where: 0 req_prod, 1 req_event, 2 rsp_prod, 3 rsp_event, 4 and 5 the entries. */
byte memory[6] = {0, 1, 0, 1, 0, 0};

/* A side's stores that the other side does not see yet, oldest first; a wmb raises `age`. */
typedef side {
    byte where[4];
    byte what[4];
    byte age[4];
    byte count;
    byte now;
    bool event; /* pending for this side */
};
side sides[2]; /* 0 the frontend, 1 the backend */

inline store(me, at, value)
{
    atomic {
        sides[me].count < 4; /* a full store buffer waits */
        sides[me].where[sides[me].count] = at;
        sides[me].what[sides[me].count] = value;
        sides[me].age[sides[me].count] = sides[me].now;
        sides[me].count++;
    }
}

inline wmb(me)
{
#ifdef NO_WMB
    skip
#else
    d_step { if :: sides[me].count > 0 -> sides[me].now++ :: else fi }
#endif
}

/* All stores are visible. */
#define mb(me) (sides[me].count == 0)

/* Makes store `k` of `me` visible and closes the gap. */
inline drain(me, k)
{
    memory[sides[me].where[k]] = sides[me].what[k];
    i = k;
    do
    :: i + 1 < sides[me].count ->
        sides[me].where[i] = sides[me].where[i + 1];
        sides[me].what[i] = sides[me].what[i + 1];
        sides[me].age[i] = sides[me].age[i + 1];
        i++
    :: else -> break
    od;
    sides[me].count--;
    sides[me].where[sides[me].count] = 0;
    sides[me].what[sides[me].count] = 0;
    sides[me].age[sides[me].count] = 0;
    if :: sides[me].count == 0 -> sides[me].now = 0 :: else fi;
    i = 0
}

#define may_drain(me, k)                                                                           \
    (k < sides[me].count && sides[me].age[k] == sides[me].age[0] &&                                \
     sides[me].where[k] != sides[me].where[0])

active [2] proctype cache()
{
    byte i;
end:
    do
    :: atomic { sides[_pid].count > 0 -> drain(_pid, 0) }
    :: atomic { may_drain(_pid, 1) -> drain(_pid, 1) }
    od
}

byte answered, seen;

active proctype frontend()
{
    byte produced, consumed, other;

    do
    :: seen == REQUESTS -> break
    :: seen < REQUESTS ->
        /* As many requests as there is room for, published one by one. */
        do
        :: produced < REQUESTS && produced - consumed < ENTRIES ->
            store(0, 4 + produced % ENTRIES, 10 + produced);
            wmb(0);
            store(0, 0, produced + 1);
            produced++;
#ifndef NO_MB_PUBLISH
            mb(0);
#endif
            other = memory[1];
            if
            :: other == produced -> sides[1].event = true
            :: else
            fi
        :: else -> break
        od;
        /* Takes responses, then sleeps, unless another one arrived meanwhile. */
        other = memory[2];
        do
        :: consumed < other ->
            assert(memory[4 + consumed % ENTRIES] == 20 + consumed);
            consumed++;
            seen++
        :: else -> break
        od;
        if
        :: seen == REQUESTS || (produced < REQUESTS && produced - consumed < ENTRIES)
        :: else ->
            store(0, 3, consumed + 1);
#ifndef NO_MB_SLEEP
            mb(0);
#endif
#ifdef NO_RECHECK
            other = consumed;
#else
            other = memory[2];
#endif
            if
            :: other != consumed
            :: else -> atomic { sides[0].event -> sides[0].event = false }
            fi
        fi
    od
}

active proctype backend()
{
    byte consumed, published, other, early;
    bool guessed;

    do
    :: answered == REQUESTS -> break
    :: answered < REQUESTS ->
        guessed = false;
#ifdef NO_RMB
        if
        :: early = memory[4 + consumed % ENTRIES]; guessed = true
        :: skip
        fi;
#endif
        other = memory[0];
        if
        :: consumed < other ->
            assert(other - published <= ENTRIES);
            if :: !guessed -> early = memory[4 + consumed % ENTRIES] :: else fi;
            assert(early == 10 + consumed);
            store(1, 4 + consumed % ENTRIES, 20 + consumed);
            consumed++;
            wmb(1);
            store(1, 2, consumed);
            published = consumed;
            answered++;
#ifndef NO_MB_PUBLISH
            mb(1);
#endif
            other = memory[3];
            if
            :: other == published -> sides[0].event = true
            :: else
            fi
        :: else ->
            store(1, 1, consumed + 1);
#ifndef NO_MB_SLEEP
            mb(1);
#endif
#ifdef NO_RECHECK
            other = consumed;
#else
            other = memory[0];
#endif
            if
            :: other != consumed
            :: else -> atomic { sides[1].event -> sides[1].event = false }
            fi
        fi
    od
}
