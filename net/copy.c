/* SPDX-License-Identifier: MIT */
/* copy: the grant copies of a task, which all vifs share. See internal.h. */
#include <net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

struct dgm_netback_shared *dgm_netback_shared_take(struct dgm_frames *frames)
{
    return dgm_frames_take_bytes(frames, sizeof(struct dgm_netback_shared));
}

void dgm_netback_copy_add(struct dgm_netback_shared *shared, const struct dgm_grantcopy_op *op)
{
    const size_t place = shared->copy.count;

    dgm_assert(dgm_grantcopy_room(&shared->copy) > 0);
    dgm_grantcopy_add(&shared->copy, op, &shared->status[place]);
}

int dgm_netback_copy_status(const struct dgm_netback_shared *shared, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++)
        if (shared->status[i] != DGM_OK)
            return shared->status[i];
    return DGM_OK;
}

struct dgm_netback_copied dgm_netback_copied(const struct dgm_netback_shared *shared)
{
    return (struct dgm_netback_copied){.batches = shared->copy.batches,
                                       .bytes_in = shared->copy.bytes_in,
                                       .bytes_out = shared->copy.bytes_out,
                                       .refused = shared->copy.refused};
}
