/* SPDX-License-Identifier: MIT */
/*
 * shared: the frontend's keys: the ring's page, the event channel, the protocol
 *
 * Frontends write these keys in several dialects. All dialects are accepted that Linux's backend
 * has accepted since 2021 and that one ring of one page can serve:
 *
 * - ring-ref, without ring-page-order;
 * - ring-page-order = 0 and ring-ref0, as blkif.h says; or ring-ref where ring-ref0 is missing, as
 *   older frontends write it;
 * - multi-queue-num-queues = 1, and the ring's keys as above or below queue-0/.
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

/* Reads a number that must be `expected`, or absent: then *present is false. As beside Linux's
 * backend, what is no number is as good as absent. DGM_ERANGE: another number. */
static int read_expected(struct dgm_xenbus_device *xenbus, const char *name, uint64_t expected,
                         bool *present)
{
    uint64_t number;
    const int status = dgm_xenbus_read_number(xenbus, name, UINT32_MAX, &number);

    *present = status == DGM_OK;
    if (status == DGM_ENOENT || status == DGM_EINVAL)
        return DGM_OK;
    return status == DGM_OK && number != expected ? DGM_ERANGE : status;
}

static int read_ring(struct dgm_xenbus_device *xenbus, bool below_queue, bool numbered,
                     struct dgm_blkback_shared *shared)
{
    int status = DGM_ENOENT;

    if (numbered)
        status = read_ring_number(xenbus, below_queue, "ring-ref0", &shared->ring_ref);
    if (status == DGM_ENOENT)
        status = read_ring_number(xenbus, below_queue, "ring-ref", &shared->ring_ref);
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

int dgm_blkback_read_shared(struct dgm_xenbus_device *xenbus, struct dgm_blkback_shared *shared,
                            const char **why)
{
    bool queues_written, order_written, below_queue = false;
    uint64_t number;
    int status;

    *why = "protocol: only arm-abi and x86_64-abi are served";
    if (!is_protocol_known(xenbus))
        return DGM_EINVAL;

    status = read_expected(xenbus, "multi-queue-num-queues", 1, &queues_written);
    *why = status == DGM_ERANGE ? "multi-queue-num-queues: one queue is offered" : xenbus->reason;
    if (status < 0)
        return status;
    status = read_expected(xenbus, "ring-page-order", 0, &order_written);
    *why = status == DGM_ERANGE ? "ring-page-order: a ring of one page is offered, order 0"
                                : xenbus->reason;
    if (status < 0)
        return status;

    if (queues_written)
        below_queue = read_ring_number(xenbus, false, "event-channel", &number) == DGM_ENOENT &&
                      read_ring_number(xenbus, true, "event-channel", &number) != DGM_ENOENT;
    *why = xenbus->reason;
    status = read_ring(xenbus, below_queue, order_written, shared);
    if (status < 0)
        return status;
    shared->persistent =
        dgm_xenbus_read_number(xenbus, "feature-persistent", UINT32_MAX, &number) == DGM_OK &&
        number != 0;
    return DGM_OK;
}
