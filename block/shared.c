/* SPDX-License-Identifier: MIT */
/*
 * shared: the frontend's keys: the ring's pages, the event channel, the protocol
 *
 * Frontends write these keys in several dialects. All dialects are accepted that Linux's backend
 * has accepted since 2021 and that one ring can serve:
 *
 * - ring-ref, without ring-page-order;
 * - ring-page-order and ring-ref0, ring-ref1, ... as blkif.h says; with ring-page-order = 0 also
 *   ring-ref where ring-ref0 is missing, as older frontends write it;
 * - multi-queue-num-queues = 1, and the ring's keys as above or below queue-0/.
 *
 * The pages of a ring differ: a frontend that names one twice would let one entry appear in
 * another.
 *
 * Numbers and `protocol` are read as by sscanf() (dgm_xenbus_read_number(), _word()). The reason of
 * each refusal names the key.
 */
#include <block/internal.h>

#include <dragoman/base/text.h>
#include <xen/io/protocols.h>

#define KEY_MAX 32

/* The ring's key `name`: at the top of the frontend's directory, or below its first queue's. */
static int read_ring_number(struct dgm_xenbus_device *xenbus, bool below_queue, const char *name,
                            uint64_t *number)
{
    char buffer[KEY_MAX];
    struct dgm_text key = dgm_text(buffer, sizeof buffer);

    dgm_text_add(&key, below_queue ? "queue-0/" : "");
    dgm_text_add(&key, name);
    return dgm_xenbus_read_number(xenbus, buffer, UINT32_MAX, number);
}

/* Reads a number of at most `max` that may be absent: then *present is false. As beside Linux's
 * backend, what is no number is as good as absent. */
static int read_optional(struct dgm_xenbus_device *xenbus, const char *name, uint64_t max,
                         uint64_t *number, bool *present)
{
    const int status = dgm_xenbus_read_number(xenbus, name, max, number);

    *present = status == DGM_OK;
    return status == DGM_ENOENT || status == DGM_EINVAL ? DGM_OK : status;
}

/* DGM_EINVAL: the reference of page `page` is also that of an earlier one. */
static int check_differs(struct dgm_xenbus_device *xenbus, const struct dgm_blkback_shared *shared,
                         unsigned page, const char *name)
{
    for (unsigned i = 0; i < page; i++) {
        if (shared->ring_refs[i] != shared->ring_refs[page])
            continue;
        dgm_xenbus_set_reason(xenbus, (struct dgm_xenbus_key){.key = name},
                              " is the reference of another page");
        return DGM_EINVAL;
    }
    return DGM_OK;
}

static int read_numbered_refs(struct dgm_xenbus_device *xenbus, bool below_queue,
                              struct dgm_blkback_shared *shared)
{
    int status = DGM_OK;

    for (unsigned i = 0; i < 1u << shared->ring_order && status == DGM_OK; i++) {
        char buffer[KEY_MAX];
        struct dgm_text name = dgm_text(buffer, sizeof buffer);

        dgm_text_add(&name, "ring-ref");
        dgm_text_add_number(&name, i);
        status = read_ring_number(xenbus, below_queue, buffer, &shared->ring_refs[i]);
        if (status == DGM_OK)
            status = check_differs(xenbus, shared, i, buffer);
    }
    return status;
}

static int read_ring(struct dgm_xenbus_device *xenbus, bool below_queue, bool numbered,
                     struct dgm_blkback_shared *shared)
{
    int status = DGM_ENOENT;

    if (numbered)
        status = read_numbered_refs(xenbus, below_queue, shared);
    if (status == DGM_ENOENT && shared->ring_order == 0)
        status = read_ring_number(xenbus, below_queue, "ring-ref", &shared->ring_refs[0]);
    if (status == DGM_OK)
        status = read_ring_number(xenbus, below_queue, "event-channel", &shared->port);
    return status;
}

/* All 64-bit machines have one layout of ring entries, and 32-bit Arm has the same. */
static bool is_protocol_known(const struct dgm_xenbus_device *xenbus)
{
    char protocol[64]; /* longer than any known name */
    const int length = dgm_xenbus_read_word(xenbus, "protocol", protocol, sizeof protocol);

    if (length == DGM_ENOENT)
        return true; /* the backend's own */
    return length >= 0 && (dgm_text_equal(protocol, XEN_IO_PROTO_ABI_ARM) ||
                           dgm_text_equal(protocol, XEN_IO_PROTO_ABI_X86_64));
}

int dgm_blkback_read_shared(struct dgm_blkback *blkback, struct dgm_blkback_shared *shared,
                            const char **why)
{
    struct dgm_xenbus_device *xenbus = &blkback->xenbus;
    bool queues_written = false, order_written = false, below_queue = false;
    uint64_t number, order = 0;
    int status;

    *why = "protocol: only arm-abi and x86_64-abi are served";
    if (!is_protocol_known(xenbus))
        return DGM_EINVAL;

    status = read_optional(xenbus, "multi-queue-num-queues", 1, &number, &queues_written);
    *why = "multi-queue-num-queues: one queue is offered";
    if (status == DGM_ERANGE || (queues_written && number != 1))
        return DGM_ERANGE;
    *why = xenbus->reason;
    if (status == DGM_OK)
        status = read_optional(xenbus, "ring-page-order", blkback->ring_order_max, &order,
                               &order_written);
    if (status < 0)
        return status;
    shared->ring_order = (unsigned)order;

    if (queues_written)
        below_queue = read_ring_number(xenbus, false, "event-channel", &number) == DGM_ENOENT &&
                      read_ring_number(xenbus, true, "event-channel", &number) != DGM_ENOENT;
    status = read_ring(xenbus, below_queue, order_written, shared);
    if (status < 0)
        return status;
    shared->persistent =
        dgm_xenbus_read_number(xenbus, "feature-persistent", UINT32_MAX, &number) == DGM_OK &&
        number != 0;
    return DGM_OK;
}
