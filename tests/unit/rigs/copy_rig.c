/* SPDX-License-Identifier: MIT */
/* copy_rig: see copy_rig.h. */
#include "copy_rig.h"

int copy_rig_start(void **state)
{
    dgm_hv_start(dgm_gfn(COPY_LOCAL), COPY_FRAMES, dgm_mfn(COPY_LOCAL));
    dgm_hv_domain_add(COPY_GUEST, 64);
    return 0;
}

int copy_rig_stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

char *copy_rig_page(uint64_t i)
{
    return dgm_env_va(dgm_gfn(COPY_LOCAL + i));
}
