/* SPDX-License-Identifier: MIT */
/*
 * rates: what a vif with a limit has sent
 *
 * The rule of net/rate.h, as its guest sees it: in a time of any length, at most the amount of each
 * period that it touches passes, and one packet more. A time of n periods touches up to n + 2. So a
 * bucket that leaks the amount in a period never holds more than two amounts and a packet.
 */
#include <sim/guests/netfront.h>
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <string.h>

static struct bucket {
    uint32_t bytes, us; /* of a period; 0: no limit */
    uint64_t level, since_ns;
} buckets[SIM_GUESTS_MAX + 1]; /* by domid */

void rates_start(unsigned number, uint32_t bytes, uint32_t us)
{
    buckets[number] = (struct bucket){.bytes = bytes, .us = us};
}

static void pour(struct bucket *bucket, const struct netfront *front, uint32_t bytes)
{
    const uint64_t period_ns = bucket->us * 1000ull;
    const uint64_t passed_ns = sim_now() - bucket->since_ns;
    /* After a second every bucket is empty. */
    const uint64_t leaked = passed_ns >= SECOND
                                ? bucket->level
                                : (passed_ns * bucket->bytes + period_ns - 1) / period_ns;

    bucket->level = bucket->level > leaked ? bucket->level - leaked : 0;
    bucket->since_ns = sim_now();
    SIM_CHECK(bucket->level <= 2ull * bucket->bytes,
              "guest %u: its vif lets through more than %u bytes in %u us", front->guest->domid,
              bucket->bytes, bucket->us);
    bucket->level += bytes;
}

/* Judges the responses that are new in a queue's ring, whether the guest has taken them or not. */
static void judge_queue(struct bucket *bucket, struct netfront_queue *queue)
{
    for (; queue->judged != queue->transmit.sring->rsp_prod; queue->judged++) {
        netif_tx_response_t response;

        memcpy(&response, RING_GET_RESPONSE(&queue->transmit, queue->judged), sizeof response);
        if (response.status == NETIF_RSP_OKAY && queue->entry[response.id].head)
            pour(bucket, queue->front,
                 queue->front->peer.sent[queue->entry[response.id].number].length);
    }
}

void rates_check(void)
{
    for (unsigned i = 1; i <= sim.guest_count; i++) {
        struct netfront *front = network_front(i);

        for (unsigned q = 0; buckets[i].bytes && !front->guest->hostile && front->connected &&
                             q < front->queue_count;
             q++)
            judge_queue(&buckets[i], &front->queue[q]);
    }
}
