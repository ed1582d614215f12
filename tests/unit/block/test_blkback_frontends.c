/* SPDX-License-Identifier: MIT */
/*
 * blkback and frontends that are wild: keys that change, nodes that vanish, indices that leap, a
 * start without closing. If these fail, such a frontend loses its disk for good, gets an answer in
 * a page that it has taken back, or takes a neighbour's turn.
 */
#include "one_disk_rig.h"

static void write_one(uint8_t value)
{
    const struct part part = {FRONT_DATA_GFN, 0, 7};
    unsigned index;

    memset(dgm_hv_page(1, FRONT_DATA_GFN), value, DGM_FRAME_BYTES);
    index = front_rw(&front, true, 8, &part, 1);
    front_exchange(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    assert_int_equal(disk.bytes[8 * 512 + 100], value);
}

static void set_state(unsigned state)
{
    front_write_number(&front, "state", state);
}

/* Fails: keys that change after Initialised replace the ring or the channel in use. */
static void keys_change_while_connected(void **state)
{
    static const char *const keys[] = {"ring-ref", "event-channel", "protocol",
                                       "feature-persistent", "ring-page-order"};
    static const char *const values[] = {"0", "4000", "x", ""};

    for (unsigned i = 0; i < 20; i++) {
        front_write(&front, keys[i % 5], values[i / 5]);
        set_state(i % 2 ? XenbusStateInitialised : XenbusStateConnected);
        if (i % 2 == 0)
            vbd_run();
        set_state(XenbusStateConnected);
        vbd_run();
        write_one((uint8_t)(i + 1));
    }
    assert_int_equal(back.xenbus.connects, 1);
}

/* Fails: the channel that is replaced between 3 and 4 costs the connection. */
static void a_port_replaced_before_connected(void **state)
{
    front_close(&front);
    set_state(XenbusStateInitialising);
    vbd_run();
    front_share(&front);
    set_state(XenbusStateInitialised);
    vbd_run();
    const evtchn_port_t port = dgm_hv_guest_port(1);

    front_write_number(&front, "event-channel", port);
    set_state(XenbusStateConnected);
    vbd_run();
    write_one(3);
    dgm_hv_guest_close(1, port);
    assert_int_equal(back_state(&front), XenbusStateConnected);
}

/* Fails: all states of a quick restart in one run leave the device with no connection. */
static void states_without_waiting(void **state)
{
    static const unsigned states[] = {5, 6, 1, 3, 5, 6, 1, 3, 4, 6};

    for (unsigned i = 0; i < 10; i++)
        set_state(states[i]);
    vbd_run();
    front_unshare(&front);
    set_state(XenbusStateInitialising);
    front_connect(&front);
    write_one(1);
}

/* Fails: a directory that is removed and made again while connected, requests in flight or not,
 * leaves the guest without its disk. */
static void directory_comes_and_goes(void **state)
{
    const struct part part = {FRONT_DATA_GFN, 0, 7};
    char path[128];

    front_path(&front, false, "state", path);
    *strrchr(path, '/') = '\0';
    for (unsigned round = 0; round < 4; round++) {
        disk.stalled = round & 1;
        (void)front_rw(&front, true, 8, &part, 1);
        front_push(&front);
        vbd_run();
        assert_int_equal(dgm_xs_rm(vbd.xs, path), DGM_OK);
        if (round & 2)
            vbd_run();
        set_state(XenbusStateInitialising);
        vbd_run();
        model_resume(&disk);
        vbd_run();
        assert_int_equal(vbd.core.grant->live, 0);
        front_unshare(&front);
        front_connect(&front);
        write_one((uint8_t)(round + 1));
    }
}

/* Fails: a start with other features, while the disk has requests, mixes the connections. */
static void features_change_with_requests_in_flight(void **state)
{
    const struct part part = {FRONT_DATA_GFN, 0, 7};

    for (unsigned round = 0; round < 6; round++) {
        disk.stalled = true;
        for (unsigned i = 0; i < 8; i++)
            (void)front_rw(&front, i & 1, 8 * i, &part, 1);
        front_push(&front);
        vbd_run();
        set_state(XenbusStateInitialising); /* another kernel */
        vbd_run();
        model_resume(&disk);
        vbd_run();
        front_unshare(&front);
        front.persistent = !front.persistent;
        front_connect(&front);
        write_one((uint8_t)(round + 1));
    }
}

/* Fails: indices for events at any value lose a request or a response for good. */
static void event_indices_leap(void **state)
{
    static const RING_IDX leaps[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff};
    const struct part part = {FRONT_DATA_GFN, 0, 7};

    for (unsigned i = 0; i < 25; i++) {
        const unsigned index = front_rw(&front, false, 8, &part, 1);

        front.ring.sring->req_event = leaps[i % 5];
        front.ring.sring->rsp_event += leaps[i / 5];
        front.ring.sring->rsp_prod = leaps[(i + 2) % 5];
        RING_PUSH_REQUESTS(&front.ring);
        assert_true(dgm_hv_guest_send(1, front.port));
        vbd_run();
        front_collect(&front);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    }
}

/* Fails: a second device with the port of the first takes its events, or no line says why not. */
static void one_port_for_two_devices(void **state)
{
    static struct dgm_blkback second;
    static struct front other;

    vbd.guest_disks = 2;
    front_init(&other, 1, "xvdb");
    assert_int_equal(vbd_share_plain(&second, 1, "xvdb", &disk.dev, false), DGM_OK);
    vbd_run();
    front_share(&other);
    front_write_number(&other, "event-channel", front.port);
    front_write_number(&other, "state", XenbusStateInitialised);
    vbd_run();
    assert_int_equal(back_state(&other), XenbusStateClosing);
    assert_non_null(strstr(dgm_sim_last_log(), "event-channel: Xen refuses"));
    write_one(1);
    front_write_number(&other, "state", XenbusStateClosed);
    vbd_run();
    front_unshare(&other);
    vbd_end(&second);
    write_one(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE_DISK_TEST(keys_change_while_connected),
        ONE_DISK_TEST(a_port_replaced_before_connected),
        ONE_DISK_TEST(states_without_waiting),
        ONE_DISK_TEST(directory_comes_and_goes),
        ONE_DISK_TEST(features_change_with_requests_in_flight),
        ONE_DISK_TEST(event_indices_leap),
        ONE_DISK_TEST(one_port_for_two_devices),
    };

    return cmocka_run_group_tests_name("blkback frontends", tests, NULL, NULL);
}
