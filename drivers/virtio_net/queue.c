/* SPDX-License-Identifier: MIT */
/*
 * virtio_net/queue: split virtqueues (2.7): buffers lent to the card, and collected
 *
 * A packet is a chain of descriptors: its header of 12 bytes, in the driver's memory, and the
 * client's buffer, or the frames of a large packet, so no byte is moved to make room for the header
 * (2.7.4.2: the card must accept any framing). Which descriptors are free, and which belong to a
 * chain, is recorded in private memory, because the card can write the table.
 *
 * The card returns a chain by the number of its first descriptor. It is believed only if that
 * begins a lent chain, and only as often as there are published ones, so whatever it writes, no
 * buffer is returned twice or before it was lent.
 *
 * Interrupts (2.7.10): for received packets the next one; for sent ones when half of those in
 * flight are done, so a burst costs a few, and the last packet always has one.
 */
#include <drivers/virtio_net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <port/arch.h>

#include <string.h>

enum { AVAILABLE_INDEX = 1, AVAILABLE_ENTRIES = 2, PACKET_DESCRIPTORS = 2 };

_Static_assert(sizeof(struct dgm_virtio_descriptor) == 16, "descriptor");
_Static_assert(DGM_VIRTIO_ENTRIES * 16 == DGM_FRAME_BYTES, "descriptors fill a frame");
_Static_assert(DGM_VIRTIO_ENTRIES *HEADER_STRIDE == DGM_FRAME_BYTES, "headers fill a frame");
_Static_assert(6 + DGM_VIRTIO_ENTRIES * 2 <= USED_OFFSET, "available ring");
_Static_assert(USED_OFFSET + 6 + DGM_VIRTIO_ENTRIES * 8 <= DGM_FRAME_BYTES, "used ring");

void dgm_virtio_queue_clear(struct dgm_virtio_queue *queue, uint16_t size)
{
    memset((void *)queue->available, 0, DGM_FRAME_BYTES); /* with the used ring */
    queue->size = size;
    queue->available_event = (volatile void *)((volatile char *)queue->used + 4 + size * 8);
    queue->available_index = queue->published_index = queue->used_index = 0;
    queue->free_first = 0;
    queue->free_count = size;
    for (uint16_t i = 0; i < size; i++) {
        queue->next[i] = (uint16_t)(i + 1);
        queue->chain[i] = 0;
        queue->lent[i] = NULL;
    }
}

/* Takes a descriptor from the list of free ones, which has one. */
static uint16_t take_descriptor(struct dgm_virtio_queue *queue)
{
    const uint16_t taken = queue->free_first;

    dgm_assert(queue->free_count > 0 && taken < queue->size);
    queue->free_first = queue->next[taken];
    queue->free_count--;
    return taken;
}

/* Returns the descriptors of the chain that begins at `first` to the list. */
static void free_chain(struct dgm_virtio_queue *queue, uint16_t first)
{
    uint16_t last = first;

    for (uint16_t i = 1; i < queue->chain[first]; i++)
        last = queue->next[last];
    queue->next[last] = queue->free_first;
    queue->free_first = first;
    queue->free_count = (uint16_t)(queue->free_count + queue->chain[first]);
    queue->chain[first] = 0;
    queue->lent[first] = NULL;
}

static void fill_descriptor(struct dgm_virtio_queue *queue, uint16_t at,
                            struct dgm_virtio_descriptor value)
{
    volatile struct dgm_virtio_descriptor *to = &queue->descriptors[at];

    to->address = value.address;
    to->bytes = value.bytes;
    to->flags = value.flags;
    to->next = value.next;
}

/* Writes the header of the chain that begins at `first`; `frame`: to send, or NULL. */
static void write_header(struct dgm_virtio_queue *queue, uint16_t first,
                         const struct dgm_nic_frame *frame)
{
    struct dgm_virtio_header header = {0};

    _Static_assert(sizeof header == NET_HEADER_BYTES, "5.1.6");
    if (frame && frame->checksum_at) {
        header.flags = HEADER_NEEDS_CHECKSUM;
        header.checksum_start = frame->checksum_start;
        header.checksum_offset = (uint16_t)(frame->checksum_at - frame->checksum_start);
    }
    if (frame && frame->mss) {
        header.large_kind = frame->ip == 4 ? HEADER_LARGE_TCP4 : HEADER_LARGE_TCP6;
        header.header_bytes = frame->header_bytes;
        header.large_bytes = frame->mss;
    }
    memcpy(queue->headers + first * HEADER_STRIDE, &header, sizeof header);
}

/* Frames that are lent with this one. */
static uint16_t frames_of(const struct dgm_nic_frame *frame, bool transmit)
{
    return transmit && frame->mss ? frame->count : 1;
}

/* The bus addresses of `count` frames. DGM_ERANGE. */
static int find_frames(const struct dgm_virtio_net *card, const struct dgm_nic_frame *frame,
                       uint16_t count, dgm_bus_t *bus)
{
    dgm_assert(count >= 1 && count <= DGM_NIC_FRAMES_MAX);
    for (uint16_t i = 0; i < count; i++) {
        const dgm_gfn_t gfn =
            count > 1 ? dgm_gfn(dgm_gfn_number(frame->base) + frame->frames[i]) : frame->gfn;

        if (dgm_dma_local(card->env->p2m, &card->env->tag, gfn, &bus[i]) != DGM_OK)
            return DGM_ERANGE;
    }
    return DGM_OK;
}

/* Takes the descriptors of a chain, one for each of `count` frames and its header. Returns the
 * first one. */
static uint16_t take_chain(struct dgm_virtio_queue *queue, uint16_t count)
{
    const uint16_t first = take_descriptor(queue);

    for (uint16_t i = 0, at = first; i < count; i++, at = queue->next[at])
        queue->next[at] = take_descriptor(queue);
    queue->chain[first] = (uint16_t)(1 + count);
    return first;
}

int dgm_virtio_lend(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue,
                    struct dgm_nic_frame *frame)
{
    const bool transmit = queue == &card->transmit;
    const uint16_t write = transmit ? 0 : DESCRIPTOR_WRITE;
    const uint16_t count = frames_of(frame, transmit);
    uint32_t left = transmit ? frame->bytes : DGM_NIC_BUFFER_BYTES;
    dgm_bus_t bus[DGM_NIC_FRAMES_MAX];
    uint16_t first, at;

    if (queue->free_count < 1 + count)
        return DGM_EAGAIN;
    if (find_frames(card, frame, count, bus) != DGM_OK)
        return DGM_ERANGE;
    first = at = take_chain(queue, count);
    queue->lent[first] = frame;
    write_header(queue, first, transmit ? frame : NULL);
    fill_descriptor(queue, first,
                    (struct dgm_virtio_descriptor){
                        dgm_bus_address(queue->headers_bus) + first * HEADER_STRIDE,
                        NET_HEADER_BYTES, DESCRIPTOR_NEXT | write, queue->next[first]});
    for (uint16_t i = 0; i < count; i++) {
        const uint32_t bytes = left < DGM_FRAME_BYTES ? left : DGM_FRAME_BYTES;
        const bool more = i + 1u < count;

        at = queue->next[at];
        left -= bytes;
        fill_descriptor(
            queue, at,
            (struct dgm_virtio_descriptor){dgm_bus_address(bus[i]), bytes,
                                           (uint16_t)(write | (more ? DESCRIPTOR_NEXT : 0)),
                                           more ? queue->next[at] : 0});
    }
    queue->available[AVAILABLE_ENTRIES + queue->available_index % queue->size] = first;
    queue->available_index++;
    return DGM_OK;
}

/* True if an event that is wanted after index `event` lies among those from `old` to `new`
 * (2.7.7.2). */
static bool passes_event(uint16_t event, uint16_t old, uint16_t new)
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

void dgm_virtio_ring_doorbell(const struct dgm_virtio_queue *queue)
{
    dgm_arch_mmio_write16(queue->doorbell, queue->number);
}

void dgm_virtio_publish(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue)
{
    const uint16_t old = queue->published_index;
    bool wanted;

    if (old == queue->available_index || card->state != DGM_VIRTIO_NET_LIVE)
        return;
    dgm_arch_dma_wmb();
    queue->available[AVAILABLE_INDEX] = queue->available_index;
    queue->published_index = queue->available_index;
    dgm_arch_dma_mb(); /* the card reads the index after it has written what it wants */
    if (card->features & FEATURE_EVENT_INDEX)
        wanted = passes_event(*queue->available_event, old, queue->published_index);
    else
        wanted = !(queue->used->flags & 1);
    if (wanted)
        dgm_virtio_ring_doorbell(queue);
}

/* Collects the next buffer that the card returns, and how many bytes it wrote. NULL: there is none,
 * or the card is broken. `first` is its descriptor, still in its chain. */
static struct dgm_nic_frame *next_used(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue,
                                       uint16_t *first, uint32_t *bytes)
{
    const uint16_t returned = (uint16_t)(queue->used->index - queue->used_index);
    const uint16_t at = queue->size ? queue->used_index % queue->size : 0;
    uint32_t id;

    if (returned == 0 || queue->size == 0)
        return NULL;
    dgm_arch_dma_rmb(); /* the index is written last */
    id = queue->used->entries[at].id;
    *bytes = queue->used->entries[at].bytes;
    if (returned > dgm_virtio_in_flight(queue) || id >= queue->size || !queue->lent[id]) {
        card->nic.bogus++;
        card->broken = true;
        return NULL;
    }
    queue->used_index++;
    *first = (uint16_t)id;
    return queue->lent[id];
}

bool dgm_virtio_collect_sent(struct dgm_virtio_net *card)
{
    struct dgm_nicdev *nic = &card->nic;
    struct dgm_virtio_queue *queue = &card->transmit;
    struct dgm_nic_frame *frame;
    uint32_t bytes;
    uint16_t first;
    bool any = false;

    while ((frame = next_used(card, queue, &first, &bytes)) != NULL) {
        free_chain(queue, first);
        nic->sent++;
        nic->sent_bytes += frame->bytes;
        any = true;
        nic->client->sent(nic->client, frame);
    }
    if (any || dgm_virtio_in_flight(queue) == 0)
        card->progress_ns = dgm_env_now_ns();
    return any;
}

bool dgm_virtio_collect_received(struct dgm_virtio_net *card)
{
    struct dgm_nicdev *nic = &card->nic;
    struct dgm_virtio_queue *queue = &card->receive;
    struct dgm_nic_frame *frame;
    uint32_t bytes;
    uint16_t first;
    bool any = false;

    /* The client lends buffers from received(), so the number of entries at the start is the
     * bound. */
    for (uint32_t left = dgm_virtio_in_flight(queue);
         left > 0 && !dgm_reactor_spent(card->env->reactor, 0); left--) {
        frame = next_used(card, queue, &first, &bytes);
        if (!frame)
            break;
        const bool sound =
            bytes >= NET_HEADER_BYTES + 14 && bytes <= NET_HEADER_BYTES + DGM_NIC_FRAME_BYTES_MAX;

        free_chain(queue, first);
        any = true;
        frame->bytes = sound ? (uint16_t)(bytes - NET_HEADER_BYTES) : 0;
        nic->received += sound;
        nic->received_bytes += frame->bytes;
        nic->received_bad += !sound;
        nic->bogus += !sound;
        nic->client->received(nic->client, frame, sound ? DGM_OK : DGM_EIO);
    }
    return any;
}

bool dgm_virtio_arm(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue)
{
    const uint16_t in_flight = dgm_virtio_in_flight(queue);
    uint16_t passed = 0;

    if (queue == &card->transmit && in_flight)
        passed = (uint16_t)((in_flight - 1) / 2);
    if (card->features & FEATURE_EVENT_INDEX)
        queue->available[AVAILABLE_ENTRIES + queue->size] = (uint16_t)(queue->used_index + passed);
    else
        passed = 0;
    dgm_arch_dma_mb(); /* the card reads it after it has written the index */
    return (uint16_t)(queue->used->index - queue->used_index) > passed;
}

void dgm_virtio_abandon(struct dgm_virtio_net *card, bool keep_receive)
{
    struct dgm_nicdev *nic = &card->nic;
    struct dgm_nic_frame *kept[DGM_VIRTIO_ENTRIES / PACKET_DESCRIPTORS];
    struct dgm_virtio_queue *transmit = &card->transmit, *receive = &card->receive;
    uint32_t count = 0;

    for (uint16_t i = 0; i < receive->size; i++)
        if (receive->lent[i])
            kept[count++] = receive->lent[i];
    dgm_virtio_queue_clear(receive, receive->size);
    for (uint32_t i = 0; i < count; i++) {
        if (keep_receive)
            dgm_assert(dgm_virtio_lend(card, receive, kept[i]) == DGM_OK);
        else
            nic->client->received(nic->client, kept[i], DGM_EIO);
    }
    for (uint16_t i = 0; i < transmit->size; i++) {
        struct dgm_nic_frame *frame = transmit->lent[i];

        transmit->lent[i] = NULL;
        if (frame)
            nic->client->sent(nic->client, frame);
    }
    dgm_virtio_queue_clear(transmit, transmit->size);
    /* no address of a returned buffer */
    memset((void *)transmit->descriptors, 0, DGM_FRAME_BYTES);
}

void dgm_virtio_net_check(const struct dgm_virtio_net *card)
{
    const struct dgm_virtio_queue *queues[] = {&card->transmit, &card->receive};

    for (unsigned q = 0; q < 2; q++) {
        const struct dgm_virtio_queue *queue = queues[q];
        uint32_t chains = 0, descriptors = queue->free_count;
        uint16_t at = queue->free_first;

        for (uint16_t i = 0; i < queue->size; i++) {
            dgm_assert((queue->lent[i] != NULL) == (queue->chain[i] != 0));
            chains += queue->lent[i] != NULL;
            descriptors += queue->chain[i];
        }
        dgm_assert(descriptors == queue->size);
        dgm_assert(chains == (uint16_t)(queue->available_index - queue->used_index));
        for (uint16_t i = 0; i < queue->free_count; i++, at = queue->next[at])
            dgm_assert(at < queue->size && !queue->lent[at]);
    }
}
