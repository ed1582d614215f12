/* SPDX-License-Identifier: MIT */
/* treemap: see treemap.h. Allocating and freeing are done outside of the lock, as Linux does. */
#include "treemap.h"

#include <assert.h>
#include <bsd/sys/tree.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

struct entry {
    RB_ENTRY(entry) node;
    uint64_t gfn, mfn;
};

static int compare_gfns(const struct entry *a, const struct entry *b)
{
    return a->gfn < b->gfn ? -1 : a->gfn > b->gfn;
}

static RB_HEAD(tree, entry) tree = RB_INITIALIZER(&tree);
/* Some of the generated functions are not used. */
RB_GENERATE_INTERNAL(tree, entry, node, compare_gfns, __attribute__((unused)) static)

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

/* Linux's lock spins, so this one does; it sleeps only if the holder was preempted. */
#define SPINS 1000

static void lock_shared(void)
{
    for (int i = 0; i < SPINS; i++)
        if (pthread_rwlock_tryrdlock(&lock) == 0)
            return;
    pthread_rwlock_rdlock(&lock);
}

static void lock_exclusive(void)
{
    for (int i = 0; i < SPINS; i++)
        if (pthread_rwlock_trywrlock(&lock) == 0)
            return;
    pthread_rwlock_wrlock(&lock);
}

void treemap_publish(uint64_t gfn, uint64_t mfn)
{
    struct entry *entry = malloc(sizeof *entry);
    struct entry *there;

    assert(entry);
    entry->gfn = gfn;
    entry->mfn = mfn;
    lock_exclusive();
    there = RB_INSERT(tree, &tree, entry);
    pthread_rwlock_unlock(&lock);
    assert(!there);
}

void treemap_unpublish(uint64_t gfn)
{
    struct entry *entry;

    lock_exclusive();
    entry = RB_FIND(tree, &tree, &(struct entry){.gfn = gfn});
    assert(entry);
    RB_REMOVE(tree, &tree, entry);
    pthread_rwlock_unlock(&lock);
    free(entry);
}

uint64_t treemap_lookup(uint64_t gfn)
{
    const struct entry *entry;
    uint64_t mfn = gfn;

    lock_shared();
    entry = RB_FIND(tree, &tree, &(struct entry){.gfn = gfn});
    if (entry)
        mfn = entry->mfn;
    pthread_rwlock_unlock(&lock);
    return mfn;
}
