/* SPDX-License-Identifier: MIT */
/* waiting: the queues in which a device waits for something scarce, and the end of that. */
#include <block/internal.h>

void dgm_blkback_stop_draining(struct dgm_blkback *blkback)
{
    dgm_blkback_leave_records(blkback);
    dgm_blkback_share_leave(&blkback->slots);
    dgm_blkback_share_leave(&blkback->copy_buffers);
    dgm_blkback_queue_leave(blkback->env.reactor, &blkback->frames_waiter);
}

void dgm_blkback_stop_waiting(struct dgm_blkback *blkback)
{
    dgm_blkback_stop_draining(blkback);
    dgm_blkback_share_leave(&blkback->shares[DGM_BLKBACK_COMMANDS]);
    dgm_blkback_queue_leave(blkback->env.reactor, &blkback->disk_waiter);
    dgm_waiters_remove(&blkback->disk->waiters, &blkback->task);
    dgm_waiters_remove(&blkback->env.dma->bounce->waiters, &blkback->task);
    dgm_waiters_remove(&blkback->guest->waiters, &blkback->task);
    dgm_evtchn_binder_cancel(&blkback->binder);
    blkback->connect_pending = false;
    dgm_reactor_post(blkback->env.reactor, &blkback->task); /* it releases a page mapped too late */
}
