/* SPDX-License-Identifier: MIT */
/*
 * e1000e/queue: registers, and buffers lent to the card, and collected
 *
 * The card writes an entry's status last. An entry counts as done only if it is the oldest one
 * before the doorbell, so whatever the card writes, no buffer is returned twice or before it was
 * lent.
 */
#include <drivers/e1000e/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <port/arch.h>

#include <string.h>

_Static_assert(sizeof(struct dgm_e1000e_descriptor) == 16, "descriptor");
_Static_assert(DGM_E1000E_ENTRIES * 16 == DGM_FRAME_BYTES, "a queue fills a frame");
_Static_assert(DGM_E1000E_SUPPLY < DGM_E1000E_ENTRIES, "a full queue looks empty");

uint32_t dgm_e1000e_read(const struct dgm_e1000e *card, uint32_t offset)
{
    return dgm_arch_mmio_read32((const volatile char *)card->env->mmio + offset);
}

void dgm_e1000e_write(struct dgm_e1000e *card, uint32_t offset, uint32_t value)
{
    dgm_arch_mmio_write32((volatile char *)card->env->mmio + offset, value);
}

int dgm_e1000e_lend(struct dgm_e1000e *card, struct dgm_e1000e_queue *queue,
                    struct dgm_nic_frame *frame)
{
    volatile struct dgm_e1000e_descriptor *entry = &queue->entries[queue->next];
    const bool transmit = queue == &card->transmit;
    const uint32_t room = transmit ? DGM_E1000E_ENTRIES - 1 : DGM_E1000E_SUPPLY;
    dgm_bus_t bus;

    if (dgm_e1000e_queue_used(queue) >= room)
        return DGM_EAGAIN;
    if (dgm_dma_local(card->env->p2m, &card->env->tag, frame->gfn, &bus) != DGM_OK)
        return DGM_ERANGE;
    entry->address = dgm_bus_address(bus);
    entry->bytes = transmit ? frame->bytes : 0;
    entry->checksum_offset = 0;
    entry->command = transmit ? COMMAND_EOP | COMMAND_IFCS | COMMAND_RS : 0;
    entry->status = 0;
    entry->errors = 0;
    entry->special = 0;
    queue->frames[queue->next] = frame;
    queue->next = (queue->next + 1) % DGM_E1000E_ENTRIES;
    queue->doorbell_due = true;
    return DGM_OK;
}

void dgm_e1000e_ring_doorbell(struct dgm_e1000e *card, struct dgm_e1000e_queue *queue)
{
    if (!queue->doorbell_due || card->state != DGM_E1000E_LIVE)
        return;
    queue->doorbell_due = false;
    dgm_arch_dma_wmb();
    dgm_e1000e_write(card, (queue == &card->transmit ? REG_TDBAL : REG_RDBAL) + QUEUE_TAIL,
                     queue->next);
}

/* Collects the oldest buffer, if the card has finished it. */
static struct dgm_nic_frame *take_done(struct dgm_e1000e_queue *queue)
{
    struct dgm_nic_frame *frame;

    if (queue->first == queue->next || !(queue->entries[queue->first].status & STATUS_DD))
        return NULL;
    dgm_arch_dma_rmb(); /* the status is written last */
    frame = queue->frames[queue->first];
    queue->frames[queue->first] = NULL;
    queue->first = (queue->first + 1) % DGM_E1000E_ENTRIES;
    return frame;
}

bool dgm_e1000e_collect_sent(struct dgm_e1000e *card)
{
    struct dgm_nicdev *nic = &card->nic;
    struct dgm_nic_frame *frame;
    bool any = false;

    while ((frame = take_done(&card->transmit)) != NULL) {
        nic->sent++;
        nic->sent_bytes += frame->bytes;
        any = true;
        nic->client->sent(nic->client, frame);
    }
    if (any || card->transmit.first == card->transmit.next)
        card->progress_ns = dgm_env_now_ns();
    return any;
}

static bool is_possible_length(uint32_t bytes)
{
    return bytes >= 14 && bytes <= DGM_NIC_FRAME_BYTES_MAX;
}

bool dgm_e1000e_collect_received(struct dgm_e1000e *card)
{
    struct dgm_nicdev *nic = &card->nic;
    struct dgm_e1000e_queue *queue = &card->receive;
    bool any = false;

    /* The client lends buffers from received(), so the number of entries at the start is the
     * bound. */
    for (uint32_t left = dgm_e1000e_queue_used(queue); left > 0; left--) {
        if (dgm_reactor_spent(card->env->reactor, 0)) {
            dgm_reactor_post(card->env->reactor, &card->task);
            break;
        }
        const volatile struct dgm_e1000e_descriptor *entry = &queue->entries[queue->first];
        struct dgm_nic_frame *frame = take_done(queue);

        if (!frame)
            break;
        const uint32_t bytes = entry->bytes;
        const bool last = entry->status & STATUS_EOP;
        const bool whole = last && !card->skipping && !entry->errors;
        const bool sound = whole && is_possible_length(bytes);

        any = true;
        card->skipping = !last;
        nic->bogus += whole && !sound;
        frame->bytes = sound ? (uint16_t)bytes : 0;
        nic->received += sound;
        nic->received_bytes += frame->bytes;
        nic->received_bad += !sound;
        nic->client->received(nic->client, frame, sound ? DGM_OK : DGM_EIO);
    }
    return any;
}

void dgm_e1000e_abandon(struct dgm_e1000e *card, bool keep_receive)
{
    struct dgm_nicdev *nic = &card->nic;
    struct dgm_nic_frame *kept[DGM_E1000E_ENTRIES];
    struct dgm_e1000e_queue *transmit = &card->transmit, *receive = &card->receive;
    uint32_t count = 0;

    for (uint32_t i = receive->first; i != receive->next; i = (i + 1) % DGM_E1000E_ENTRIES) {
        kept[count++] = receive->frames[i];
        receive->frames[i] = NULL;
    }
    receive->first = receive->next = 0;
    card->skipping = false;
    for (uint32_t i = 0; i < count; i++) {
        if (keep_receive)
            dgm_assert(dgm_e1000e_lend(card, receive, kept[i]) == DGM_OK);
        else
            nic->client->received(nic->client, kept[i], DGM_EIO);
    }
    while (transmit->first != transmit->next) {
        struct dgm_nic_frame *frame = transmit->frames[transmit->first];

        transmit->frames[transmit->first] = NULL;
        transmit->first = (transmit->first + 1) % DGM_E1000E_ENTRIES;
        nic->client->sent(nic->client, frame);
    }
    transmit->first = transmit->next = 0;
    transmit->doorbell_due = false;
    memset((void *)transmit->entries, 0, DGM_FRAME_BYTES); /* no address of a returned buffer */
}

void dgm_e1000e_check(const struct dgm_e1000e *card)
{
    const struct dgm_e1000e_queue *queues[] = {&card->transmit, &card->receive};

    for (unsigned q = 0; q < 2; q++) {
        const uint32_t used = dgm_e1000e_queue_used(queues[q]);

        for (uint32_t i = 0; i < DGM_E1000E_ENTRIES; i++) {
            const uint32_t at = (queues[q]->first + i) % DGM_E1000E_ENTRIES;

            dgm_assert((queues[q]->frames[at] != NULL) == (i < used));
        }
    }
}
