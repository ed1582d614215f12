/* SPDX-License-Identifier: MIT */
/* front: see front.h */
#include "vbd_rig.h"
#include <block/internal.h>

void front_guest_start(domid_t domid)
{
    char path[64];

    dgm_hv_domain_add(domid, FRONT_FRAMES);
    snprintf(path, sizeof path, "/local/domain/%u", domid);
    assert_int_equal(dgm_xs_write(vbd.xs, (struct dgm_xs_entry){path, ""}), DGM_OK);
    assert_int_equal(dgm_xs_set_access(vbd.xs, path, (struct dgm_xs_access){.owner = domid}),
                     DGM_OK);
}

void front_path(const struct front *front, bool backend, const char *key, char *path)
{
    if (backend)
        snprintf(path, 128, "/local/domain/0/backend/vbd/%u/%u/%s", front->domid, front->number,
                 key);
    else
        snprintf(path, 128, "/local/domain/%u/device/vbd/%u/%s", front->domid, front->number, key);
}

void front_write(const struct front *front, const char *key, const char *value)
{
    char path[128];

    front_path(front, false, key, path);
    assert_int_equal(dgm_xs_write(vbd.xs, (struct dgm_xs_entry){path, value}), DGM_OK);
}

void front_write_number(const struct front *front, const char *key, uint64_t number)
{
    char value[24];

    snprintf(value, sizeof value, "%llu", (unsigned long long)number);
    front_write(front, key, value);
}

long long front_key_number(const struct front *front, bool backend, const char *key)
{
    char path[128], value[64];

    front_path(front, backend, key, path);
    if (dgm_xs_read(vbd.xs, path, value, sizeof value) < 0)
        return -1;
    return strtoll(value, NULL, 10);
}

void front_init(struct front *front, domid_t domid, const char *vdev)
{
    memset(front, 0, sizeof *front);
    front->domid = domid;
    assert_int_equal(dgm_blkback_vdev_number(vdev, &front->number), DGM_OK);
}

static uint64_t ring_gfn(const struct front *front)
{
    return FRONT_RING_GFN + ((front->number >> 4) & 15) * DGM_RING_PAGES_MAX; /* a ring per disk */
}

static void share_pages(const struct front *front)
{
    front_write_number(front, "ring-page-order", front->ring_order);
    for (unsigned i = 0; i < 1u << front->ring_order; i++) {
        char key[24];

        snprintf(key, sizeof key, "ring-ref%u", i);
        front_write_number(front, key, front->ring_refs[i]);
    }
}

void front_share(struct front *front)
{
    blkif_sring_t *shared = dgm_hv_page(front->domid, ring_gfn(front));
    const unsigned pages = 1u << front->ring_order;

    memset(shared, 0, pages * DGM_FRAME_BYTES);
    SHARED_RING_INIT(shared);
    FRONT_RING_INIT(&front->ring, shared, pages * DGM_FRAME_BYTES);
    for (unsigned i = 0; i < pages; i++)
        front->ring_refs[i] = dgm_hv_grant_any(front->domid, ring_gfn(front) + i, false);
    front->port = dgm_hv_guest_port(front->domid);
    front->outstanding = front->responses = front->next = 0;
    memset(front->sent, 0, sizeof front->sent);
    if (front->ring_order)
        share_pages(front);
    else
        front_write_number(front, "ring-ref", front->ring_refs[0]);
    front_write_number(front, "event-channel", front->port);
    front_write(front, "protocol", XEN_IO_PROTO_ABI_ARM);
    front_write_number(front, "feature-persistent", front->persistent);
}

void front_unshare(struct front *front)
{
    for (unsigned i = 0; i < 1u << front->ring_order; i++)
        assert_true(dgm_hv_grant_end(front->domid, front->ring_refs[i]));
    dgm_hv_guest_close(front->domid, front->port);
    for (unsigned i = 0; i < FRONT_SENT_MAX; i++) {
        for (unsigned j = 0; front->sent[i].used && j < front->sent[i].ref_count; j++)
            assert_true(dgm_hv_grant_end(front->domid, front->sent[i].refs[j]));
    }
    memset(front->sent, 0, sizeof front->sent);
    for (unsigned i = 0; i < FRONT_FRAMES; i++) {
        if (front->grants[i])
            assert_true(dgm_hv_grant_end(front->domid, front->grants[i]));
        front->grants[i] = 0;
    }
}

void front_connect(struct front *front)
{
    vbd_run();
    assert_int_equal(back_state(front), XenbusStateInitWait);
    front_share(front);
    front_write_number(front, "state", XenbusStateInitialised);
    vbd_run();
    assert_int_equal(back_state(front), XenbusStateConnected);
    assert_true(front_key_number(front, true, "sectors") > 0);
    front_write_number(front, "state", XenbusStateConnected);
    vbd_run();
    assert_int_equal(dgm_hv_guest_events(front->domid, front->port),
                     1); /* the event after connecting */
}

void front_close(struct front *front)
{
    front_write_number(front, "state", XenbusStateClosing);
    vbd_run();
    assert_int_equal(back_state(front), XenbusStateClosing);
    front_write_number(front, "state", XenbusStateClosed);
    vbd_run();
    assert_int_equal(back_state(front), XenbusStateClosed);
    front_unshare(front);
}

struct front_request *front_prepare(struct front *front, uint8_t operation, uint64_t *id)
{
    unsigned index = front->next++ % FRONT_SENT_MAX;
    struct front_request *sent;

    while (front->sent[index].used) /* an older request has no response yet */
        index = (index + 1) % FRONT_SENT_MAX;
    sent = &front->sent[index];
    memset(sent, 0, sizeof *sent);
    sent->used = true;
    sent->id = *id = 0xabcd000000000000 | (uint64_t)front->next << 8 | index;
    sent->operation = operation;
    return sent;
}

void front_put(struct front *front, const void *entry, size_t bytes)
{
    struct blkif_request *slot = RING_GET_REQUEST(&front->ring, front->ring.req_prod_pvt);

    memset((void *)slot, 0x5a, 112);
    memcpy((void *)slot, entry, bytes);
    front->ring.req_prod_pvt++;
    front->outstanding++;
}

void front_push(struct front *front)
{
    int notify;

    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front->ring, notify);
    if (notify)
        assert_true(dgm_hv_guest_send(front->domid, front->port));
}

/* A reference for one request, or the persistent one of this frame. */
static grant_ref_t grant_frame(struct front *front, struct front_request *sent, uint64_t gfn,
                               bool readonly)
{
    if (front->persistent) {
        if (!front->grants[gfn])
            front->grants[gfn] = dgm_hv_grant_any(front->domid, gfn, false);
        return front->grants[gfn];
    }
    return sent->refs[sent->ref_count++] = dgm_hv_grant_any(front->domid, gfn, readonly);
}

/* A frame that the disk reads is granted read-only, which suffices. */
static void grant_parts(struct front *front, struct front_request *sent, const struct part *parts,
                        unsigned count, struct blkif_request_segment *segments)
{
    for (unsigned i = 0; i < count; i++) {
        segments[i].gref =
            parts[i].gfn == FRONT_GFN_BAD
                ? DGM_HV_REFS - 1
                : grant_frame(front, sent, parts[i].gfn, sent->operation == BLKIF_OP_WRITE);
        segments[i].first_sect = parts[i].first;
        segments[i].last_sect = parts[i].last;
    }
}

unsigned front_rw(struct front *front, bool write, uint64_t sector, const struct part *parts,
                  unsigned count)
{
    struct blkif_request request;
    const uint8_t operation = write ? BLKIF_OP_WRITE : BLKIF_OP_READ;

    memset(&request, 0, sizeof request);
    struct front_request *sent = front_prepare(front, operation, &request.id);

    request.operation = operation;
    request.nr_segments = (uint8_t)count;
    request.sector_number = sector;
    grant_parts(front, sent, parts, count, request.seg);
    front_put(front, &request, sizeof request);
    return (unsigned)(sent - front->sent);
}

unsigned front_rw_indirect(struct front *front, bool write, uint64_t sector,
                           const struct part *parts, unsigned count, uint64_t page_gfn)
{
    struct blkif_request_indirect request;
    const uint8_t operation = write ? BLKIF_OP_WRITE : BLKIF_OP_READ;

    memset(&request, 0, sizeof request);
    struct front_request *sent = front_prepare(front, operation, &request.id);

    request.operation = BLKIF_OP_INDIRECT;
    request.indirect_op = operation;
    request.nr_segments = (uint16_t)count;
    request.sector_number = sector;
    grant_parts(front, sent, parts, count, dgm_hv_page(front->domid, page_gfn));
    request.indirect_grefs[0] = grant_frame(front, sent, page_gfn, true);
    front_put(front, &request, sizeof request);
    return (unsigned)(sent - front->sent);
}

unsigned front_flush(struct front *front)
{
    struct blkif_request request;

    memset(&request, 0, sizeof request);
    struct front_request *sent = front_prepare(front, BLKIF_OP_FLUSH_DISKCACHE, &request.id);

    request.operation = BLKIF_OP_FLUSH_DISKCACHE;
    front_put(front, &request, sizeof request);
    return (unsigned)(sent - front->sent);
}

void front_collect(struct front *front)
{
    int more;

    do {
        const RING_IDX end = front->ring.sring->rsp_prod;

        xen_rmb();
        for (RING_IDX i = front->ring.rsp_cons; i != end; i++) {
            const struct blkif_response *response = RING_GET_RESPONSE(&front->ring, i);
            struct front_request *sent = &front->sent[response->id % FRONT_SENT_MAX];

            assert_true(sent->used && !sent->responded);
            assert_int_equal(response->id, sent->id);
            assert_int_equal(response->operation, sent->operation);
            for (size_t pad = 9; pad < 16; pad++) {
                if (pad != 10 && pad != 11)
                    assert_int_equal(((const uint8_t *)response)[pad], 0);
            }
            sent->responded = true;
            sent->status = response->status;
            for (unsigned j = 0; j < sent->ref_count; j++)
                assert_true(dgm_hv_grant_end(front->domid, sent->refs[j]));
            sent->ref_count = 0;
            front->outstanding--;
            front->responses++;
        }
        front->ring.rsp_cons = end;
        RING_FINAL_CHECK_FOR_RESPONSES(&front->ring, more);
    } while (more);
    front->events += dgm_hv_guest_events(front->domid, front->port);
}

int16_t front_status(struct front *front, unsigned index)
{
    assert_true(front->sent[index].used);
    assert_true(front->sent[index].responded);
    front->sent[index].used = false;
    return front->sent[index].status;
}

void front_exchange(struct front *front)
{
    front_push(front);
    vbd_run();
    front_collect(front);
}
