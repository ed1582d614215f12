/* SPDX-License-Identifier: MIT */
/*
 * p2m, with threads: if this fails, a reader on another reactor sees a part of an entry, or a frame
 * before the data that was written for it. Runs under ThreadSanitizer.
 */
#include "unit.h"

#include <dragoman/pages/p2m.h>
#include <dragoman/base/status.h>
#include <pages/internal.h>

#include <pthread.h>
#include <sched.h>

#define FIRST  0x40000000u
#define SLOTS  130u
#define FRAMES 200000u /* published, one after another */

/* The n-th frame; a torn read gives a number that is none of them. */
#define MFN(n) ((uint64_t)(n) << 32 | (uint32_t) ~(n))

static uint64_t memory[512];
static struct dgm_p2m p2m;
static uint64_t about[FRAMES]; /* written before the frame is published; plain */
static unsigned looking;       /* readers that saw a frame; atomic */
static bool done;              /* atomic */

static void *read_all(void *argument)
{
    uint64_t seen = 0;

    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        for (uint64_t i = 0; i < SLOTS; i++) {
            const uint64_t mfn = dgm_mfn_number(dgm_p2m_lookup(&p2m, dgm_gfn(FIRST + i)));
            const uint32_t n = (uint32_t)(mfn >> 32);

            if (mfn == UINT64_MAX)
                continue;
            if (n >= FRAMES || mfn != MFN(n) || about[n] != n + 1)
                return NULL;
            if (seen++ == 0)
                __atomic_add_fetch(&looking, 1, __ATOMIC_RELAXED);
        }
        if (dgm_mfn_number(dgm_p2m_lookup(&p2m, dgm_gfn(0x1005))) != 0x1005)
            return NULL;
    }
    return seen ? argument : NULL;
}

static void *write_all(void *argument)
{
    for (uint32_t n = 0; n < FRAMES; n++) {
        const dgm_gfn_t gfn = dgm_gfn(FIRST + n % SLOTS);

        while (n == SLOTS && __atomic_load_n(&looking, __ATOMIC_RELAXED) < 2)
            sched_yield();
        if (n >= SLOTS)
            dgm_p2m_unpublish(&p2m, gfn);
        about[n] = n + 1;
        dgm_p2m_publish(&p2m, gfn, dgm_mfn(MFN(n)));
        dgm_p2m_hold(&p2m, gfn);
        dgm_p2m_release(&p2m, gfn);
    }
    return argument;
}

static void two_readers_and_a_writer(void **state)
{
    const struct dgm_ram_bank bank = {{0x1000}, {0x1000}, 16, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{FIRST}, SLOTS});
    pthread_t readers[2], write;
    void *result;

    assert_true(dgm_p2m_bytes(SLOTS) <= sizeof memory);
    assert_int_equal(dgm_p2m_init(&p2m, &bank, 1, &window, memory), DGM_OK);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_all, &p2m), 0);
    assert_int_equal(pthread_create(&write, NULL, write_all, &p2m), 0);
    assert_int_equal(pthread_join(write, &result), 0);
    assert_non_null(result);
    __atomic_store_n(&done, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(readers[i], &result), 0);
        assert_non_null(result);
    }
    assert_int_equal(p2m.live, SLOTS);
    dgm_p2m_check(&p2m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_readers_and_a_writer),
    };

    return cmocka_run_group_tests_name("p2m, threads", tests, NULL, NULL);
}
