/* SPDX-License-Identifier: MIT */
/*
 * p2m: a flat array over the slot window, a short sorted table of banks. See dragoman/pages/p2m.h.
 *
 * Costs: a slot of the window's first part is one subtraction, one comparison and one load; each
 * further part adds one of the first two; local RAM adds a search over the banks (1 to 3 on real
 * boards, at most 64). Ten bytes per slot, from init on.
 *
 * A reader on another reactor sees an entry whole or not at all: each is one aligned 64-bit word,
 * stored with release and loaded with acquire. That it stays valid while it is used is the hold
 * count's business, not the array's.
 */
#include <dragoman/base/check.h>
#include <dragoman/pages/identity.h>
#include <dragoman/pages/p2m.h>
#include <dragoman/base/status.h>

#include <string.h>

static const uint64_t EMPTY = UINT64_MAX;

size_t dgm_p2m_bytes(uint64_t count)
{
    const uint64_t bytes = count * (sizeof(uint64_t) + sizeof(uint16_t));

    return (size_t)((bytes + 7) & ~(uint64_t)7);
}

static bool overlap(uint64_t a, uint64_t b, uint64_t a_count, uint64_t b_count)
{
    return a < b ? b - a < a_count : a - b < b_count;
}

/* Machine frames named one by one are the caller's to get right; runs are compared. */
static bool banks_overlap(const struct dgm_ram_bank *a, const struct dgm_ram_bank *b)
{
    return overlap(a->gfn.n, b->gfn.n, a->count, b->count) ||
           (!a->mfns && !b->mfns && overlap(a->mfn.n, b->mfn.n, a->count, b->count));
}

/* Adds one bank in its place. */
static int add_bank(struct dgm_p2m *p2m, struct dgm_ram_bank bank)
{
    size_t at = p2m->bank_count;

    if (bank.count == 0)
        return DGM_OK;
    if (p2m->bank_count == DGM_P2M_BANKS_MAX || bank.count > UINT64_MAX - bank.gfn.n ||
        (!bank.mfns && bank.count > UINT64_MAX - bank.mfn.n))
        return DGM_EINVAL;
    for (size_t i = 0; i < p2m->bank_count; i++)
        if (banks_overlap(&bank, &p2m->banks[i]))
            return DGM_EINVAL;
    for (; at > 0 && p2m->banks[at - 1].gfn.n > bank.gfn.n; at--)
        p2m->banks[at] = p2m->banks[at - 1];
    p2m->banks[at] = bank;
    p2m->bank_count++;
    return DGM_OK;
}

int dgm_p2m_init(struct dgm_p2m *p2m, const struct dgm_ram_bank *banks, size_t bank_count,
                 const struct dgm_window *window, void *memory)
{
    memset(p2m, 0, sizeof *p2m);
    for (size_t i = 0; i < bank_count; i++)
        if (add_bank(p2m, banks[i]) != DGM_OK)
            return DGM_EINVAL;

    dgm_assert(((uintptr_t)memory & 7) == 0);
    p2m->window = *window;
    p2m->mfn = memory;
    p2m->in_flight = (uint16_t *)(p2m->mfn + window->count);
    for (uint64_t i = 0; i < window->count; i++) {
        p2m->mfn[i] = EMPTY;
        p2m->in_flight[i] = 0;
    }
    return DGM_OK;
}

static dgm_mfn_t lookup_ram(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    size_t low = 0, high = p2m->bank_count; /* the bank, if any, is in [low, high) */

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct dgm_ram_bank *bank = &p2m->banks[middle];

        if (gfn.n < bank->gfn.n)
            high = middle;
        else if (gfn.n - bank->gfn.n >= bank->count)
            low = middle + 1;
        else if (bank->mfns)
            return dgm_mfn(bank->mfns[gfn.n - bank->gfn.n]);
        else
            return dgm_mfn(bank->mfn.n + (gfn.n - bank->gfn.n));
    }
    return DGM_MFN_NONE;
}

/* The live entry of a frame that is mapped at its mfn, or NULL. */
static struct dgm_identity_entry *find_identity(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    struct dgm_identity_entry *entry =
        p2m->identity && p2m->identity->used ? dgm_identity_find(p2m->identity, gfn) : NULL;

    return entry && entry->state == DGM_IDENTITY_LIVE ? entry : NULL;
}

dgm_mfn_t dgm_p2m_lookup(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    const uint64_t slot = dgm_window_index(&p2m->window, gfn);

    if (slot != DGM_WINDOW_NONE)
        return dgm_mfn(__atomic_load_n(&p2m->mfn[slot], __ATOMIC_ACQUIRE));

    const dgm_mfn_t mfn = lookup_ram(p2m, gfn);

    return dgm_mfn_is_none(mfn) && find_identity(p2m, gfn) ? dgm_mfn(gfn.n) : mfn;
}

bool dgm_p2m_is_slot(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    return dgm_window_index(&p2m->window, gfn) != DGM_WINDOW_NONE;
}

bool dgm_p2m_is_foreign(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    return dgm_p2m_is_slot(p2m, gfn) || find_identity(p2m, gfn);
}

void dgm_p2m_publish(struct dgm_p2m *p2m, dgm_gfn_t gfn, dgm_mfn_t mfn)
{
    const uint64_t slot = dgm_window_index(&p2m->window, gfn);

    dgm_assert(slot != DGM_WINDOW_NONE);
    dgm_assert(!dgm_mfn_is_none(mfn));
    dgm_assert(p2m->mfn[slot] == EMPTY && p2m->in_flight[slot] == 0);
    __atomic_store_n(&p2m->mfn[slot], mfn.n, __ATOMIC_RELEASE);
    __atomic_add_fetch(&p2m->live, 1, __ATOMIC_RELAXED);
}

void dgm_p2m_unpublish(struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    const uint64_t slot = dgm_window_index(&p2m->window, gfn);

    dgm_assert(slot != DGM_WINDOW_NONE);
    dgm_assert(p2m->mfn[slot] != EMPTY);
    dgm_assert(p2m->in_flight[slot] == 0);
    __atomic_store_n(&p2m->mfn[slot], EMPTY, __ATOMIC_RELEASE);
    __atomic_sub_fetch(&p2m->live, 1, __ATOMIC_RELAXED);
}

/* Where DMAs to `gfn` are counted; NULL: it is local. */
static uint16_t *in_flight(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    const uint64_t slot = dgm_window_index(&p2m->window, gfn);
    struct dgm_identity_entry *entry;

    if (slot != DGM_WINDOW_NONE) {
        dgm_assert(p2m->mfn[slot] != EMPTY);
        return &p2m->in_flight[slot];
    }
    entry = find_identity(p2m, gfn);
    return entry ? &entry->in_flight : NULL;
}

void dgm_p2m_hold(struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    uint16_t *count = in_flight(p2m, gfn);

    if (!count)
        return;
    dgm_assert(*count < UINT16_MAX);
    ++*count;
}

void dgm_p2m_release(struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    uint16_t *count = in_flight(p2m, gfn);

    if (!count)
        return;
    dgm_assert(*count > 0);
    --*count;
}

void dgm_p2m_check(const struct dgm_p2m *p2m)
{
    uint64_t live = 0;

    for (size_t i = 1; i < p2m->bank_count; i++)
        dgm_assert(p2m->banks[i].gfn.n - p2m->banks[i - 1].gfn.n >= p2m->banks[i - 1].count &&
                   p2m->banks[i].gfn.n > p2m->banks[i - 1].gfn.n);
    for (uint64_t slot = 0; slot < p2m->window.count; slot++) {
        if (p2m->mfn[slot] == EMPTY)
            dgm_assert(p2m->in_flight[slot] == 0);
        else
            live++;
    }
    dgm_assert(live == p2m->live);
}
