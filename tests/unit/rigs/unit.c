/* SPDX-License-Identifier: MIT */
/* unit: see unit.h */
#include "unit.h"

jmp_buf unit_panic_return;

uint64_t unit_random_state;

uint64_t unit_seed(void)
{
    const char *text = getenv("DRAGOMAN_SEED");

    unit_random_state = text ? strtoull(text, NULL, 0) : 1;
    return unit_random_state;
}

uint64_t unit_random(void)
{
    uint64_t z = unit_random_state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t unit_below(uint64_t below)
{
    return unit_random() % below;
}

bool unit_chance(unsigned percent)
{
    return unit_below(100) < percent;
}

void unit_panicked(const char *what)
{
    (void)what;
    dgm_sim_on_panic(NULL);
    longjmp(unit_panic_return, 1);
}
