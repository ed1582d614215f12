/* SPDX-License-Identifier: MIT */
/* grant_rig: see grant_rig.h */
#include "grant_rig.h"

#include <dragoman/base/status.h>
#include <port/env.h>

struct grant_rig grant_rig;

int grant_rig_start(void **state)
{
    const struct dgm_ram_bank bank = {{0x40000}, {0x40000}, 64, NULL};
    const struct dgm_window window =
        dgm_window((struct dgm_gfn_range){{GRANT_RIG_WINDOW}, GRANT_RIG_SLOTS});

    dgm_hv_start(bank.gfn, bank.count, bank.mfn);
    dgm_hv_domain_add(GRANT_RIG_GUEST, 64);
    assert_true(dgm_p2m_bytes(GRANT_RIG_SLOTS) <= sizeof grant_rig.p2m_memory);
    assert_true(dgm_slots_bytes(GRANT_RIG_SLOTS) <= sizeof grant_rig.store_memory);
    assert_true(dgm_slot_cache_bytes(GRANT_RIG_SLOTS) <= sizeof grant_rig.slot_memory);
    assert_int_equal(dgm_p2m_init(&grant_rig.p2m, &bank, 1, &window, grant_rig.p2m_memory), DGM_OK);
    dgm_slots_init(&grant_rig.store, &window, true, grant_rig.store_memory);
    dgm_slot_cache_init(&grant_rig.slots, &grant_rig.store, grant_rig.slot_memory);
    dgm_grant_init(&grant_rig.grant, &grant_rig.p2m, &grant_rig.slots);
    return 0;
}

int grant_rig_stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

void grant_rig_check(void)
{
    const struct dgm_grant *grant = &grant_rig.grant;

    dgm_grant_check(grant);
    dgm_p2m_check(&grant_rig.p2m);
    dgm_slot_cache_check(&grant_rig.slots);
    assert_int_equal(grant->live, dgm_hv_stats()->live);
    assert_int_equal(grant_rig.p2m.live, grant->live - grant->unmap_refused);
    assert_int_equal(grant_rig.slots.taken, grant_rig.p2m.live);
    assert_int_equal(dgm_hv_stats()->stale, 0);
    assert_int_equal(dgm_hv_stats()->over, 0);
}

void grant_rig_retry(void)
{
    dgm_sim_set_now_ns(dgm_env_now_ns() + GRANT_RIG_PAUSE_MS * 1000000ull);
    dgm_grant_map_retry(&grant_rig.grant);
}

void grant_rig_add(struct dgm_foreign *foreign, domid_t domid, grant_ref_t ref, bool readonly)
{
    assert_int_equal(dgm_slot_reserve(&grant_rig.slots, NULL, 1), DGM_OK);
    dgm_grant_map_add(&grant_rig.grant, foreign, NULL,
                      (struct dgm_guest_grant){.ref = ref, .domid = domid, .readonly = readonly});
}

void grant_rig_map(struct dgm_foreign *foreign, grant_ref_t ref, bool readonly)
{
    grant_rig_add(foreign, GRANT_RIG_GUEST, ref, readonly);
    dgm_grant_map_commit(&grant_rig.grant);
}

void grant_rig_unmap(struct dgm_foreign *foreign)
{
    dgm_grant_unmap_add(&grant_rig.grant, foreign);
    dgm_grant_unmap_commit(&grant_rig.grant);
}

void grant_rig_unmap_all(struct dgm_foreign *foreign, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (foreign[i].status == DGM_OK)
            dgm_grant_unmap_add(&grant_rig.grant, &foreign[i]);
    dgm_grant_unmap_commit(&grant_rig.grant);
}
