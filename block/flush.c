/* SPDX-License-Identifier: MIT */
/*
 * flush: a flush never gets an error response
 *
 * Linux's blkfront takes every response to a flush other than OK as "this disk has no flush" (6.x,
 * blkif_interrupt(): it clears feature_flush): it reports success to fsync and sends no further
 * flush. So after an error response each later fsync would return success without durability, and
 * no other status is better. Therefore:
 *
 *   1. A flush that the disk fails is parked, and submitted again with growing pauses, until it
 *      succeeds or DGM_BLKBACK_FLUSH_RETRY_NS have passed since the first failure. A flush that
 *      succeeds late is a success: everything that completed before it is durable.
 *   2. After that time, or immediately if the disk has failed permanently, the device gives up
 *      flushing: this flush and all later ones get no response at all, and all later writes get an
 *      error response. Reads are served as before. So fsync does not return (as with a disk that
 *      hangs), file systems notice the failing writes, and no guest relies on data that is not on
 *      the disk.
 *   3. A new connection starts with flushing enabled: the guest, or its driver, has restarted and
 *      relies on no data that it did not sync.
 *
 * The same happens if the disk lost its power, and with it writes that had completed and that no
 * flush had covered (blkdev.h). Their guest relies on a later flush for them, which must not
 * succeed.
 *
 * A flush without a response occupies its entry of the ring, which only its own guest loses, but no
 * record.
 */
#include <block/internal.h>

#include <dragoman/base/pause.h>
#include <dragoman/base/check.h>

static const struct dgm_pauses retry_pauses = {.first_ns = 10000000, .last_ns = 1000000000};

void dgm_blkback_flush_begin(struct dgm_blkback *blkback)
{
    blkback->flush_given_up = false;
    blkback->flush_pause_ns = 0;
    blkback->written = blkback->durable = 0;
    blkback->power_losses = blkback->disk->power_losses;
}

static void give_up(struct dgm_blkback *blkback, const char *cause)
{
    if (blkback->flush_given_up)
        return;
    blkback->flush_given_up = true;
    blkback->counters.flushes_given_up++;
    dgm_log_limited(blkback->xenbus.log,
                    "vbd %u/%s: %s %s: what the guest wrote may be lost. Its writes fail and "
                    "its flushes get no response from now on, until it connects again",
                    blkback->xenbus.domid, blkback->vdev, blkback->disk->name, cause);
}

/* Schedules another retry. False: none is allowed any more. */
static bool schedule_retry(struct dgm_blkback *blkback)
{
    const uint64_t now_ns = dgm_env_now_ns();

    if (blkback->flush_given_up || blkback->disk->failed)
        return false;
    if (blkback->flush_pause_ns == 0)
        blkback->flush_deadline_ns = now_ns + DGM_BLKBACK_FLUSH_RETRY_NS;
    else if (now_ns >= blkback->flush_deadline_ns)
        return false;
    if (blkback->flush_timer.armed)
        return true;
    blkback->flush_pause_ns = dgm_pause_next_ns(retry_pauses, blkback->flush_pause_ns);
    dgm_timer_arm(blkback->env.reactor, &blkback->flush_timer, now_ns + blkback->flush_pause_ns);
    return true;
}

bool dgm_blkback_flush_failed(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    if (!dgm_blkback_may_respond(blkback))
        return false;
    if (!schedule_retry(blkback)) {
        give_up(blkback, "does not flush");
        return false;
    }
    blkback->counters.flush_retries++;
    dgm_blkback_append(&blkback->parked_flushes, request);
    return true;
}

bool dgm_blkback_flush_succeeded(struct dgm_blkback *blkback,
                                 const struct dgm_blkback_request *request)
{
    if (blkback->flush_given_up)
        return false;
    blkback->flush_pause_ns = 0;
    if (request->covers - blkback->durable <= blkback->written - blkback->durable)
        blkback->durable = request->covers;
    return true;
}

void dgm_blkback_power_lost(struct dgm_blkback *blkback)
{
    blkback->power_losses = blkback->disk->power_losses;
    if (blkback->written != blkback->durable)
        give_up(blkback, "lost its power");
}

void dgm_blkback_flush_timer(struct dgm_timer *timer)
{
    struct dgm_blkback *blkback = dgm_container(timer, struct dgm_blkback, flush_timer);

    dgm_reactor_post(blkback->env.reactor, &blkback->task);
}

void dgm_blkback_flush_retry(struct dgm_blkback *blkback)
{
    if (blkback->flush_timer.armed && dgm_blkback_may_respond(blkback))
        return;
    for (struct dgm_blkback_request *r; (r = dgm_blkback_pop(&blkback->parked_flushes));) {
        r->in_issuing = true;
        r->fully_issued = false;
        dgm_blkback_append(&blkback->issuing, r);
    }
}
