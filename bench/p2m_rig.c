/* SPDX-License-Identifier: MIT */
/* p2m_rig: see p2m_rig.h. */
#include "p2m_rig.h"

#include <stdlib.h>

struct dgm_p2m p2m;
uint64_t slot[SLOTS];

static uint64_t random_state = 1;

uint64_t random_below(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

void rig_start(void)
{
    const struct dgm_ram_bank bank = {.gfn = {RAM_FIRST}, .mfn = {RAM_FIRST}, .count = RAM_FRAMES};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){dgm_gfn(SLOT_FIRST), SLOTS});
    void *const memory = aligned_alloc(64, (dgm_p2m_bytes(SLOTS) + 63) & ~(size_t)63);

    if (!memory || dgm_p2m_init(&p2m, &bank, 1, &window, memory) != 0)
        abort();
    for (uint64_t i = 0; i < SLOTS; i++) {
        const uint64_t other = random_below(i + 1);

        slot[i] = slot[other];
        slot[other] = SLOT_FIRST + i;
    }
}
