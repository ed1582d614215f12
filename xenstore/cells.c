/* SPDX-License-Identifier: MIT */
/*
 * cells: see cells.h. The free list runs through the first word of each free cell; no caller may
 * rely on the order in which cells are taken.
 */
#include "cells.h"

#include <dragoman/base/check.h>

#include <string.h>

struct dgm_xs_piece {
    struct dgm_xs_piece *next;
    char bytes[DGM_XS_CELL_BYTES - sizeof(struct dgm_xs_piece *)];
};

_Static_assert(sizeof(struct dgm_xs_piece) == DGM_XS_CELL_BYTES, "a piece is a cell");

#define HEAD_BYTES  sizeof(((struct dgm_xs_string *)NULL)->head)
#define PIECE_BYTES sizeof(((struct dgm_xs_piece *)NULL)->bytes)

void dgm_xs_heap_init(struct dgm_xs_heap *heap, void *memory, uint32_t cells)
{
    *heap = (struct dgm_xs_heap){
        .memory = memory,
        .cells = cells,
        .guarantee = cells / 64,
        .guarantee_dom0 = cells / 8,
    };
    heap->unmet = heap->guarantee_dom0 + DGM_XS_DOMAINS_MAX * heap->guarantee;
    for (uint32_t i = cells; i-- > 0;) {
        void **const cell = (void **)((char *)memory + (size_t)i * DGM_XS_CELL_BYTES);

        *cell = heap->free;
        heap->free = cell;
        heap->free_cells++;
    }
}

static bool account_in_use(const struct dgm_xs_account *account)
{
    return account->served || account->cells;
}

int dgm_xs_account_open(struct dgm_xs_heap *heap, domid_t domid)
{
    if (domid == 0)
        return 0;
    for (int i = 1; i < DGM_XS_ACCOUNTS; i++)
        if (account_in_use(&heap->accounts[i]) && heap->accounts[i].domid == domid)
            return i;
    for (int i = 1; i < DGM_XS_ACCOUNTS; i++)
        if (!account_in_use(&heap->accounts[i])) {
            heap->accounts[i] = (struct dgm_xs_account){.domid = domid};
            return i;
        }
    return DGM_ENOSPC;
}

static uint32_t account_guarantee(const struct dgm_xs_heap *heap, uint8_t account)
{
    return account ? heap->guarantee : heap->guarantee_dom0;
}

static uint32_t account_unmet(const struct dgm_xs_heap *heap, uint8_t account)
{
    const uint32_t share = account_guarantee(heap, account), used = heap->accounts[account].cells;

    return used < share ? share - used : 0;
}

bool dgm_xs_heap_room(const struct dgm_xs_heap *heap, uint8_t account, size_t cells)
{
    /* Domain 0 is Dragoman itself: it may take the last cell. */
    const uint32_t guaranteed = account ? heap->unmet - account_unmet(heap, account) : 0;

    return guaranteed <= heap->free_cells && cells <= heap->free_cells - guaranteed;
}

static void account_charge(struct dgm_xs_heap *heap, uint8_t account, size_t cells)
{
    heap->unmet -= account_unmet(heap, account);
    heap->accounts[account].cells += (uint32_t)cells;
    heap->unmet += account_unmet(heap, account);
}

static void account_uncharge(struct dgm_xs_heap *heap, uint8_t account, size_t cells)
{
    dgm_assert(heap->accounts[account].cells >= cells);
    heap->unmet -= account_unmet(heap, account);
    heap->accounts[account].cells -= (uint32_t)cells;
    heap->unmet += account_unmet(heap, account);
}

void *dgm_xs_cell_take(struct dgm_xs_heap *heap, uint8_t account)
{
    void *const cell = heap->free;

    dgm_assert(cell);
    heap->free = *(void **)cell;
    heap->free_cells--;
    heap->work++;
    account_charge(heap, account, 1);
    return memset(cell, 0, DGM_XS_CELL_BYTES);
}

void dgm_xs_cell_give(struct dgm_xs_heap *heap, uint8_t account, void *cell)
{
    *(void **)cell = heap->free;
    heap->free = cell;
    heap->free_cells++;
    heap->work++;
    account_uncharge(heap, account, 1);
}

void dgm_xs_cells_transfer(struct dgm_xs_heap *heap, struct dgm_xs_transfer transfer)
{
    account_uncharge(heap, transfer.from, transfer.cells);
    account_charge(heap, transfer.to, transfer.cells);
}

size_t dgm_xs_string_cells(size_t bytes)
{
    return bytes <= HEAD_BYTES ? 0 : (bytes - HEAD_BYTES + PIECE_BYTES - 1) / PIECE_BYTES;
}

void dgm_xs_string_clear(struct dgm_xs_heap *heap, uint8_t account, struct dgm_xs_string *string)
{
    for (struct dgm_xs_piece *piece = string->more, *next; piece; piece = next) {
        next = piece->next;
        dgm_xs_cell_give(heap, account, piece);
    }
    string->more = NULL;
    string->bytes = 0;
}

void dgm_xs_string_set(struct dgm_xs_heap *heap, uint8_t account, struct dgm_xs_string *string,
                       const char *bytes, size_t count)
{
    struct dgm_xs_piece **link = &string->more;
    size_t part = count < HEAD_BYTES ? count : HEAD_BYTES;

    dgm_assert(count <= UINT16_MAX);
    dgm_xs_string_clear(heap, account, string);
    string->bytes = (uint16_t)count;
    if (part)
        memcpy(string->head, bytes, part);
    for (size_t done = part; done < count; done += part) {
        struct dgm_xs_piece *const piece = dgm_xs_cell_take(heap, account);

        part = count - done < PIECE_BYTES ? count - done : PIECE_BYTES;
        memcpy(piece->bytes, bytes + done, part);
        *link = piece;
        link = &piece->next;
    }
}

/* Returns the next run of the string's bytes, from `*done` on. NULL at the end. */
static const char *string_next_part(const struct dgm_xs_string *string,
                                    const struct dgm_xs_piece **piece, size_t *done, size_t *part)
{
    const size_t left = string->bytes - *done;
    const char *bytes = string->head;
    size_t room = HEAD_BYTES;

    if (!left)
        return NULL;
    if (*done) {
        *piece = *piece ? (*piece)->next : string->more;
        bytes = (*piece)->bytes;
        room = PIECE_BYTES;
    }
    *part = left < room ? left : room;
    *done += *part;
    return bytes;
}

size_t dgm_xs_string_get(const struct dgm_xs_string *string, char *bytes)
{
    const struct dgm_xs_piece *piece = NULL;
    const char *from;
    size_t done = 0, part = 0;

    while ((from = string_next_part(string, &piece, &done, &part)))
        memcpy(bytes + done - part, from, part);
    return string->bytes;
}

bool dgm_xs_string_equal(const struct dgm_xs_string *string, const char *bytes, size_t count)
{
    const struct dgm_xs_piece *piece = NULL;
    const char *from;
    size_t done = 0, part = 0;

    if (string->bytes != count)
        return false;
    while ((from = string_next_part(string, &piece, &done, &part)))
        if (memcmp(bytes + done - part, from, part) != 0)
            return false;
    return true;
}

void dgm_xs_heap_check(const struct dgm_xs_heap *heap)
{
    uint32_t listed = 0, used = 0, promised = 0;

    for (void *cell = heap->free; cell; cell = *(void **)cell)
        listed++;
    for (uint8_t i = 0; i < DGM_XS_ACCOUNTS; i++) {
        used += heap->accounts[i].cells;
        promised += account_unmet(heap, i);
    }
    dgm_assert(listed == heap->free_cells);
    dgm_assert(used == heap->cells - heap->free_cells);
    dgm_assert(promised == heap->unmet);
}
