/* SPDX-License-Identifier: MIT */
/*
 * cells: the store's memory: cells of one size, and one account per domain that uses them
 *
 * All data of the store after init (nodes, watches, events, transactions, long texts) is a cell or
 * a chain of cells. So there is no fragmentation: a free cell can be used for any of them, and
 * taking or returning one is O(1).
 *
 * Each cell is charged to an account: 0 is domain 0, the others belong to guests. A request of a
 * guest is refused when it would take cells that are guaranteed to others and not yet used by them.
 * So one guest may use most of the memory while the others need little, but all guests together
 * cannot take another's share (a 64th of the cells each, an eighth for domain 0).
 *
 * The pattern of use: dgm_xs_heap_room() once for all cells of a request, then the takes, which
 * cannot fail. So a request is carried out completely or not at all. No other code takes cells in
 * between: watches fire after the last take.
 *
 * The heap also meters work: each step of the store counts one unit (dragoman/xenstore/xenstore.h).
 *
 *   a node with a name and a value of up to 30 bytes each is one cell; a Linux guest with two disks
 *   needs about 150 of them; 1 MiB holds about 5,000.
 */
#ifndef XENSTORE_CELLS_H
#define XENSTORE_CELLS_H

#include <dragoman/xenstore/xenstore.h>

#define DGM_XS_CELL_BYTES 176
#define DGM_XS_ACCOUNTS   (1 + DGM_XS_DOMAINS_MAX)

struct dgm_xs_account {
    domid_t domid;
    bool served;    /* introduced: the account stays open even if no cell is charged to it */
    uint32_t cells; /* charged */
    uint32_t nodes; /* that are charged to the quota, those of open transactions included */
    uint32_t watches, transactions;
};

struct dgm_xs_heap {
    const char *memory; /* the first cell */
    void *free;         /* list of free cells */
    uint32_t cells, free_cells;
    uint32_t unmet; /* cells guaranteed and not in use, over all accounts */
    uint64_t work;  /* units, since the start */
    uint32_t guarantee, guarantee_dom0;
    struct dgm_xs_account accounts[DGM_XS_ACCOUNTS];
};

void dgm_xs_heap_init(struct dgm_xs_heap *heap, void *memory, uint32_t cells);

/* The account of `domid`, opened if there is none: an index, or DGM_ENOSPC. It closes when the
 * domain is not served and no cell is charged to it. */
int dgm_xs_account_open(struct dgm_xs_heap *heap, domid_t domid);

/* True if `account` may take `cells` more. */
bool dgm_xs_heap_room(const struct dgm_xs_heap *heap, uint8_t account, size_t cells);

/* Counts `units` of work. */
static inline void dgm_xs_work(struct dgm_xs_heap *heap, size_t units)
{
    heap->work += units;
}

/* The distance of a cell from the first one, in bytes: its name in a hash, which is the same in
 * every layout of memory. */
static inline uint64_t dgm_xs_cell_offset(const struct dgm_xs_heap *heap, const void *cell)
{
    return (uint64_t)((const char *)cell - heap->memory);
}

/* A zeroed cell. Asserts that one is free. */
void *dgm_xs_cell_take(struct dgm_xs_heap *heap, uint8_t account);
void dgm_xs_cell_give(struct dgm_xs_heap *heap, uint8_t account, void *cell);
/* Charges cells in use to another account. The caller has checked the right to do so. */
struct dgm_xs_transfer {
    uint8_t from, to; /* accounts */
    size_t cells;
};
void dgm_xs_cells_transfer(struct dgm_xs_heap *heap, struct dgm_xs_transfer transfer);

/* A string of bytes: the first ones in place, the rest in a chain of cells. */
struct dgm_xs_string {
    struct dgm_xs_piece *more;
    uint16_t bytes;
    char head[30];
};

/* The number of cells that a string of `bytes` needs in addition. Reading or comparing it costs one
 * unit more. */
size_t dgm_xs_string_cells(size_t bytes);
/* Replaces what the string held; a zeroed string is empty. Asserts that cells are free. */
void dgm_xs_string_set(struct dgm_xs_heap *heap, uint8_t account, struct dgm_xs_string *string,
                       const char *bytes, size_t count);
void dgm_xs_string_clear(struct dgm_xs_heap *heap, uint8_t account, struct dgm_xs_string *string);
/* Copies all of it to `bytes`; returns the length. */
size_t dgm_xs_string_get(const struct dgm_xs_string *string, char *bytes);
bool dgm_xs_string_equal(const struct dgm_xs_string *string, const char *bytes, size_t count);

/* Asserts that the free list, the charges and the guarantees agree; O(cells). */
void dgm_xs_heap_check(const struct dgm_xs_heap *heap);

#endif
