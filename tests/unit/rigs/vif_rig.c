/* SPDX-License-Identifier: MIT */
/* vif_rig: see vif_rig.h */
#include "vif_rig.h"

#include <xen/io/xenbus.h>

#define RING_GFN   100u /* by queue: transmit, then receive */
#define SEND_GFN   200u /* by frame_of() of the id */
#define POSTED_GFN 600u /* by frame_of() of the ring index */

struct vif_rig vif;

/* A queue has all 256 frames if it is alone; each of four has its own 64. */
static unsigned frame_of(const struct vif_front *front, unsigned index)
{
    return (index + 64 * front->queue) % 256;
}

struct vif_front *vif_front_queue(domid_t domid, unsigned queue)
{
    return queue ? &vif.others[domid][queue] : &vif.front[domid];
}

static void vif_path(domid_t domid, bool backend, const char *key, char *path)
{
    if (backend)
        snprintf(path, 128, "/local/domain/0/backend/vif/%u/0/%s", domid, key);
    else
        snprintf(path, 128, "/local/domain/%u/device/vif/0/%s", domid, key);
}

void vif_write(domid_t domid, const char *key, uint64_t number)
{
    char path[128];

    vif_path(domid, false, key, path);
    assert_int_equal(dgm_xs_write_number(vbd.xs, path, number), DGM_OK);
}

long long vif_back_key(domid_t domid, const char *key)
{
    char path[128], value[64];

    vif_path(domid, true, key, path);
    return dgm_xs_read(vbd.xs, path, value, sizeof value) < 0 ? -1 : strtoll(value, NULL, 10);
}

void vif_start(void)
{
    vif_start_with(&(struct dgm_netback_options){.bridge = "xenbr0"});
}

void vif_start_with(const struct dgm_netback_options *common)
{
    vbd_start((struct vbd_options){0});
    memset(&vif, 0, sizeof vif);
    vif.frames = vbd.frames;
    vif.frames.locked = false;
    dgm_switch_init(&vif.net);
    assert_int_equal(dgm_packets_init(&vif.packets, &vif.frames,
                                      DGM_NETBACK_BATCH_FRAMES + DGM_PACKET_FRAMES_MAX +
                                          VIF_GUESTS * VIF_QUEUE_FRAMES),
                     DGM_OK);
    vif.env = (struct dgm_netback_env){.reactor = &vbd.reactor,
                                       .xs = vbd.xs,
                                       .evtchn = &vbd.evtchn,
                                       .reach = &vbd.core.reach,
                                       .packets = &vif.packets,
                                       .shared = dgm_netback_shared_take(&vif.frames),
                                       .queue_frames = VIF_QUEUE_FRAMES,
                                       .card_frames = VIF_CARD_FRAMES};
    assert_non_null(vif.env.shared);
    for (domid_t domid = 1; domid <= VIF_GUESTS; domid++) {
        struct dgm_netback_options options = *common;

        options.mac = VIF_MAC + domid - 1;
        options.queues = vif.queues[domid];
        options.queue_max = VIF_QUEUES;
        front_guest_start(domid);
        for (unsigned i = 0; i < VIF_QUEUES; i++) {
            vif_front_queue(domid, i)->domid = domid;
            vif_front_queue(domid, i)->queue = i;
        }
        assert_int_equal(
            dgm_netback_create(&vif.back[domid], &vif.env, &vbd.guests[domid], &vif.net, &options),
            DGM_OK);
    }
    vbd_run();
}

void vif_stop(void)
{
    for (domid_t domid = 1; domid <= VIF_GUESTS; domid++) {
        dgm_netback_guest_gone(&vif.back[domid]);
        vbd_run();
        assert_true(dgm_netback_idle(&vif.back[domid]));
        dgm_netback_destroy(&vif.back[domid]);
    }
    dgm_packets_check(&vif.packets);
    assert_int_equal(vif.packets.free_frame_count, vif.packets.total);
    assert_int_equal(vif.packets.shortages, 0); /* shares keep the pool from ever being empty */
    vbd_stop();
}

int vif_setup(void **state)
{
    unit_seed();
    vif_start();
    return 0;
}

int vif_teardown(void **state)
{
    dgm_hv_set_faults(NULL);
    vif_stop();
    return 0;
}

void vif_share(struct vif_front *front)
{
    const domid_t domid = front->domid;
    const unsigned first = RING_GFN + 2 * front->queue;
    netif_tx_sring_t *transmit = dgm_hv_page(domid, first);
    netif_rx_sring_t *receive = dgm_hv_page(domid, first + 1);

    memset(transmit, 0, DGM_FRAME_BYTES);
    memset(receive, 0, DGM_FRAME_BYTES);
    SHARED_RING_INIT(transmit);
    SHARED_RING_INIT(receive);
    FRONT_RING_INIT(&front->transmit, transmit, DGM_FRAME_BYTES);
    FRONT_RING_INIT(&front->receive, receive, DGM_FRAME_BYTES);
    front->next_id = 0;
    for (unsigned i = 0; i < 2; i++) {
        front->ring_refs[i] = dgm_hv_grant_any(domid, first + i, false);
        front->ports[i] = i && front->common ? front->ports[0] : dgm_hv_guest_port(domid);
    }
    front->shared = true;
}

static void vif_write_key(const struct vif_front *front, unsigned count, const char *key,
                          uint64_t number)
{
    char path[64];

    snprintf(path, sizeof path, "queue-%u/%s", front->queue, key);
    vif_write(front->domid, count > 1 ? path : key, number);
}

static void vif_remove_key(const struct vif_front *front, unsigned count, const char *key)
{
    char path[128], name[64];

    snprintf(name, sizeof name, "queue-%u/%s", front->queue, key);
    vif_path(front->domid, false, count > 1 ? name : key, path);
    (void)dgm_xs_rm(vbd.xs, path);
}

void vif_write_queue(const struct vif_front *front, unsigned count)
{
    if (front->common) { /* of an earlier connection */
        vif_remove_key(front, count, "event-channel-tx");
        vif_remove_key(front, count, "event-channel-rx");
    }
    vif_write_key(front, count, "tx-ring-ref", front->ring_refs[0]);
    vif_write_key(front, count, "rx-ring-ref", front->ring_refs[1]);
    vif_write_key(front, count, front->common ? "event-channel" : "event-channel-tx",
                  front->ports[0]);
    if (!front->common)
        vif_write_key(front, count, "event-channel-rx", front->ports[1]);
}

void vif_connect_queues(domid_t domid, unsigned count, unsigned buffers)
{
    for (unsigned i = 0; i < count; i++) {
        vif_share(vif_front_queue(domid, i));
        vif_write_queue(vif_front_queue(domid, i), count);
        vif_post_at(vif_front_queue(domid, i), buffers);
    }
    vif_write(domid, "request-rx-copy", 1);
    vif_write(domid, "state", XenbusStateConnected);
    vbd_run();
}

void vif_connect(domid_t domid, unsigned buffers)
{
    vif_connect_queues(domid, 1, buffers);
}

static void vif_take_back(struct vif_front *front, grant_ref_t *ref)
{
    if (*ref)
        assert_true(dgm_hv_grant_end(front->domid, *ref));
    *ref = 0;
}

static void vif_unshare(struct vif_front *front)
{
    for (unsigned i = 0; i < 256; i++) {
        vif_take_back(front, &front->refs[i]);
        vif_take_back(front, &front->posted[i]);
    }
    for (unsigned i = 0; i < 2; i++)
        vif_take_back(front, &front->ring_refs[i]);
    front->post_count = 0;
    front->shared = false;
}

void vif_close(domid_t domid)
{
    vif_write(domid, "state", XenbusStateClosed);
    vbd_run();
    assert_int_equal(vif_back_key(domid, "state"), XenbusStateClosed);
    for (unsigned i = 0; i < VIF_QUEUES; i++)
        vif_unshare(vif_front_queue(domid, i));
}

void vif_post(domid_t domid, unsigned buffers)
{
    vif_post_at(&vif.front[domid], buffers);
}

void vif_post_at(struct vif_front *front, unsigned buffers)
{
    const domid_t domid = front->domid;
    int notify;

    for (unsigned i = 0; i < buffers; i++) {
        const unsigned index = front->receive.req_prod_pvt % 256;
        netif_rx_request_t *request =
            RING_GET_REQUEST(&front->receive, front->receive.req_prod_pvt);

        assert_int_equal(front->posted[index], 0);
        front->posted[index] = dgm_hv_grant_any(domid, POSTED_GFN + frame_of(front, index), false);
        *request = (netif_rx_request_t){.id = (uint16_t)index, .gref = front->posted[index]};
        front->receive.req_prod_pvt++;
        front->post_count++;
    }
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front->receive, notify);
    if (notify && vif.back[domid].connected)
        dgm_hv_guest_send(domid, front->ports[1]);
}

static void vif_put_at(struct vif_front *front, const void *entry)
{
    memcpy(RING_GET_REQUEST(&front->transmit, front->transmit.req_prod_pvt), entry, 12);
    front->transmit.req_prod_pvt++;
}

void vif_put(domid_t domid, const void *entry)
{
    vif_put_at(&vif.front[domid], entry);
}

uint16_t vif_send(domid_t domid, const uint8_t *bytes, unsigned length, unsigned pieces,
                  uint16_t flags)
{
    return vif_send_at(&vif.front[domid], bytes, length, pieces, flags);
}

uint16_t vif_send_at(struct vif_front *front, const uint8_t *bytes, unsigned length,
                     unsigned pieces, uint16_t flags)
{
    const domid_t domid = front->domid;
    const uint16_t first = front->next_id;
    unsigned at = 0;

    for (unsigned i = 0; i < pieces; i++) {
        const uint16_t id = front->next_id++ % 256;
        const unsigned rest = length - at, part = i + 1 == pieces ? rest : rest / (pieces - i);
        const unsigned bytes_here = i == 0 && front->first_bytes ? front->first_bytes : part;
        const unsigned offset = (unsigned)unit_below(DGM_FRAME_BYTES - bytes_here + 1);

        assert_int_equal(front->refs[id], 0);
        assert_true(bytes_here > 0 && bytes_here <= DGM_FRAME_BYTES);
        front->refs[id] = dgm_hv_grant_any(domid, SEND_GFN + frame_of(front, id), true);
        memcpy((char *)dgm_hv_page(domid, SEND_GFN + frame_of(front, id)) + offset, bytes + at,
               bytes_here);
        front->status[id] = 99;
        vif_put_at(
            front,
            &(netif_tx_request_t){
                .gref = front->refs[id],
                .offset = (uint16_t)offset,
                .flags = (uint16_t)((i ? 0 : flags | (front->extra ? NETTXF_extra_info : 0)) |
                                    (i + 1 < pieces ? NETTXF_more_data : 0)),
                .id = id,
                .size = (uint16_t)(i ? bytes_here : length)});
        if (i == 0 && front->extra) {
            char entry[12] = {0};

            memcpy(entry, front->extra, sizeof *front->extra);
            vif_put_at(front, entry);
        }
        at += bytes_here;
    }
    return first % 256;
}

static void vif_collect_sent(struct vif_front *front)
{
    const RING_IDX end = front->transmit.sring->rsp_prod;

    for (; front->transmit.rsp_cons != end; front->transmit.rsp_cons++) {
        const netif_tx_response_t response =
            *RING_GET_RESPONSE(&front->transmit, front->transmit.rsp_cons);

        if (response.status == NETIF_RSP_NULL) {
            front->nulls++;
            continue;
        }
        assert_in_range(response.id, 0, 255);
        vif_take_back(front, &front->refs[response.id]);
        front->status[response.id] = response.status;
    }
}

static void vif_have_packet(struct vif_front *front, bool bad)
{
    *(bad ? &front->errors : &front->packets) += 1;
    if (!bad && front->on_packet)
        front->on_packet(front);
}

static void vif_collect_received(struct vif_front *front)
{
    const RING_IDX end = front->receive.sring->rsp_prod;
    bool more = false, bad = false, extra = false;

    for (; front->receive.rsp_cons != end; front->receive.rsp_cons++) {
        const unsigned index = front->receive.rsp_cons % 256;
        const netif_rx_response_t response =
            *RING_GET_RESPONSE(&front->receive, front->receive.rsp_cons);

        vif_take_back(front, &front->posted[index]);
        if (extra) {
            memcpy(&front->received_extra, &response, sizeof front->received_extra);
            extra = front->received_extra.flags & XEN_NETIF_EXTRA_FLAG_MORE;
            assert_int_equal(front->received_extra.type, XEN_NETIF_EXTRA_TYPE_GSO);
            if (!extra && !more)
                vif_have_packet(front, bad);
            continue;
        }
        if (!more) {
            front->length = 0;
            front->flags = response.flags;
            front->received_extra = (netif_extra_info_t){0};
            extra = response.flags & NETRXF_extra_info;
            bad = false;
        }
        if (response.status < 0) {
            bad = true;
        } else {
            assert_true(response.offset + response.status <= (int)DGM_FRAME_BYTES);
            assert_true(front->length + (unsigned)response.status <= sizeof front->packet);
            memcpy(front->packet + front->length,
                   (char *)dgm_hv_page(front->domid, POSTED_GFN + frame_of(front, index)) +
                       response.offset,
                   (size_t)response.status);
            front->length += (unsigned)response.status;
        }
        more = response.flags & NETRXF_more_data;
        if (!more && !extra)
            vif_have_packet(front, bad);
    }
    assert_false(more || extra); /* a packet becomes visible as a whole */
}

void vif_push(domid_t domid)
{
    for (unsigned i = 0; i < VIF_QUEUES; i++) {
        struct vif_front *front = vif_front_queue(domid, i);
        int notify;

        if (!front->shared)
            continue;
        RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front->transmit, notify);
        if (notify)
            dgm_hv_guest_send(domid, front->ports[0]);
    }
    vbd_run();
    for (domid_t other = 1; other <= VIF_GUESTS; other++)
        for (unsigned i = 0; i < VIF_QUEUES; i++) {
            struct vif_front *front = vif_front_queue(other, i);

            if (!vif.back[other].connected || !front->shared)
                continue;
            vif_collect_sent(front);
            vif_collect_received(front);
        }
}

void vif_make(uint8_t *bytes, unsigned length, domid_t from, domid_t to)
{
    for (unsigned i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8) * 3 + length);
    for (unsigned i = 0; i < 6; i++) {
        bytes[i] = to ? (uint8_t)((VIF_MAC + to - 1) >> 8 * (5 - i)) : 0xff;
        bytes[6 + i] = (uint8_t)((VIF_MAC + from - 1) >> 8 * (5 - i));
    }
    bytes[12] = 0x08; /* neither IPv4 nor IPv6 */
    bytes[13] = 0x06;
}
