/* SPDX-License-Identifier: MIT */
/* bounce_rig: see bounce_rig.h. */
#include "bounce_rig.h"

#include <dragoman/base/status.h>

struct bounce_rig bounce_rig;

static uint64_t records[BOUNCE_RIG_BUFFERS_MAX * 8];

int bounce_rig_start(void **state)
{
    dgm_sim_memory(dgm_gfn(BOUNCE_RIG_FIRST), BOUNCE_RIG_BUFFERS_MAX);
    dgm_frames_init(&bounce_rig.frames);
    dgm_frames_add(&bounce_rig.frames,
                   (struct dgm_gfn_range){{BOUNCE_RIG_FIRST}, BOUNCE_RIG_BUFFERS_MAX});
    dgm_reactor_init(&bounce_rig.reactor);
    return 0;
}

int bounce_rig_stop(void **state)
{
    dgm_sim_memory(dgm_gfn(0), 0);
    return 0;
}

int bounce_rig_pool(uint16_t count)
{
    assert_true(dgm_bounce_bytes(count) <= sizeof records);
    dgm_bounce_init(&bounce_rig.bounce, &bounce_rig.reactor, count, records);
    return dgm_bounce_add(&bounce_rig.bounce, &bounce_rig.frames, count);
}

void bounce_rig_two_areas(uint16_t low, uint16_t high)
{
    struct dgm_frames more;

    dgm_frames_init(&bounce_rig.frames);
    dgm_frames_add(&bounce_rig.frames, (struct dgm_gfn_range){{BOUNCE_RIG_FIRST}, low});
    dgm_frames_init(&more);
    dgm_frames_add(&more, (struct dgm_gfn_range){{BOUNCE_RIG_FIRST + 200}, high});
    dgm_bounce_init(&bounce_rig.bounce, &bounce_rig.reactor, (uint16_t)(low + high), records);
    assert_int_equal(dgm_bounce_add(&bounce_rig.bounce, &bounce_rig.frames, low), DGM_OK);
    assert_int_equal(dgm_bounce_add(&bounce_rig.bounce, &more, high), DGM_OK);
    assert_int_equal(bounce_rig.bounce.area_count, 2);
    dgm_bounce_check(&bounce_rig.bounce);
}
