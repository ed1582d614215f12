/* SPDX-License-Identifier: MIT */
/*
 * p2m: a flat array over the slot window, and a short sorted table of banks. See
 * dragoman/pages/p2m.h.
 *
 * Costs: the lookup of a slot in the window's first part is one subtraction, one comparison and one
 * load; each further part adds a subtraction and a comparison; local RAM adds a binary search over
 * the banks (1 to 3 on real boards, at most 64). Ten bytes of memory per slot.
 *
 * A reader on another reactor sees an entry either complete or empty: each entry is one aligned
 * 64-bit word, stored with release and loaded with acquire. The array does not keep an entry valid
 * while a reader uses it; the hold count does.
 */
#include <dragoman/base/check.h>
#include <pages/identity_table.h>
#include <pages/internal.h>
#include <dragoman/base/status.h>

#include <string.h>

static const uint64_t EMPTY = UINT64_MAX;

size_t dgm_p2m_bytes(uint64_t count)
{
    const uint64_t bytes = count * (sizeof(uint64_t) + sizeof(uint16_t));

    return (size_t)((bytes + 7) & ~(uint64_t)7);
}

/*
 * Two runs share a frame if one starts within the other; a difference wraps to a large number if a
 * run starts below the other. Machine frames are compared only if both banks are one run of them;
 * the caller is responsible for lists of mfns.
 */
static bool banks_overlap(const struct dgm_ram_bank *a, const struct dgm_ram_bank *b)
{
    return dgm_gfn_diff(a->gfn, b->gfn) < b->count || dgm_gfn_diff(b->gfn, a->gfn) < a->count ||
           (!a->mfns && !b->mfns &&
            (dgm_mfn_diff(a->mfn, b->mfn) < b->count || dgm_mfn_diff(b->mfn, a->mfn) < a->count));
}

/* Inserts one bank into the sorted table. */
static int add_bank(struct dgm_p2m *p2m, struct dgm_ram_bank bank)
{
    size_t at = p2m->bank_count;

    if (bank.count == 0)
        return DGM_OK;
    if (p2m->bank_count == DGM_P2M_BANKS_MAX || bank.count > dgm_gfn_diff(DGM_GFN_NONE, bank.gfn) ||
        (!bank.mfns && bank.count > dgm_mfn_diff(DGM_MFN_NONE, bank.mfn)))
        return DGM_EINVAL;
    for (size_t i = 0; i < p2m->bank_count; i++)
        if (banks_overlap(&bank, &p2m->banks[i]))
            return DGM_EINVAL;
    for (; at > 0 && dgm_gfn_below(bank.gfn, p2m->banks[at - 1].gfn); at--)
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
        const uint64_t offset = dgm_gfn_diff(gfn, bank->gfn);

        if (dgm_gfn_below(gfn, bank->gfn))
            high = middle;
        else if (offset >= bank->count)
            low = middle + 1;
        else
            return bank->mfns ? dgm_mfn(bank->mfns[offset]) : dgm_mfn_add(bank->mfn, offset);
    }
    return DGM_MFN_NONE;
}

/* The live entry of the identity mapping at `gfn`, or NULL. */
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

    return dgm_mfn_is_none(mfn) && find_identity(p2m, gfn) ? dgm_identity_mfn(gfn) : mfn;
}

dgm_mfn_t dgm_p2m_lookup_local(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    return dgm_window_index(&p2m->window, gfn) == DGM_WINDOW_NONE ? lookup_ram(p2m, gfn)
                                                                  : DGM_MFN_NONE;
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
    __atomic_store_n(&p2m->mfn[slot], dgm_mfn_number(mfn), __ATOMIC_RELEASE);
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

/* The count of DMAs in flight to `gfn`; NULL: it is local. */
static uint16_t *dma_count_of(const struct dgm_p2m *p2m, dgm_gfn_t gfn)
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
    uint16_t *count = dma_count_of(p2m, gfn);

    if (!count)
        return;
    dgm_assert(*count < UINT16_MAX);
    ++*count;
}

void dgm_p2m_release(struct dgm_p2m *p2m, dgm_gfn_t gfn)
{
    uint16_t *count = dma_count_of(p2m, gfn);

    if (!count)
        return;
    dgm_assert(*count > 0);
    --*count;
}

bool dgm_p2m_in_flight(const struct dgm_p2m *p2m)
{
    if (p2m->held_by_callers)
        return true;
    for (uint64_t slot = 0; slot < p2m->window.count; slot++)
        if (p2m->in_flight[slot])
            return true;
    return p2m->identity && dgm_identity_in_flight(p2m->identity);
}

dgm_mfn_t dgm_p2m_lookup_held_elsewhere(struct dgm_p2m *p2m, dgm_gfn_t gfn, uint32_t bytes,
                                        uint64_t *bytes_local)
{
    const dgm_mfn_t mfn = lookup_ram(p2m, gfn);
    struct dgm_identity_entry *entry;

    if (!dgm_mfn_is_none(mfn)) {
        *bytes_local += bytes;
        return mfn;
    }
    entry = find_identity(p2m, gfn);
    if (!entry)
        return DGM_MFN_NONE;
    dgm_assert(entry->in_flight < UINT16_MAX);
    entry->in_flight++;
    return dgm_identity_mfn(gfn);
}

void dgm_p2m_check(const struct dgm_p2m *p2m)
{
    uint64_t live = 0;

    for (size_t i = 1; i < p2m->bank_count; i++)
        dgm_assert(dgm_gfn_below(p2m->banks[i - 1].gfn, p2m->banks[i].gfn) &&
                   dgm_gfn_diff(p2m->banks[i].gfn, p2m->banks[i - 1].gfn) >=
                       p2m->banks[i - 1].count);
    for (uint64_t slot = 0; slot < p2m->window.count; slot++) {
        if (p2m->mfn[slot] == EMPTY)
            dgm_assert(p2m->in_flight[slot] == 0);
        else
            live++;
    }
    dgm_assert(live == p2m->live);
}
