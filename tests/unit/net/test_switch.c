/* SPDX-License-Identifier: MIT */
/* switch: if these fail, a guest gets another's packets, can take its address, or gets none. */
#include "unit.h"

#include <dragoman/base/status.h>
#include <net/packet.h>
#include <net/switch.h>
#include <sim/hypervisor/hypervisor.h>

#define RAM   0x40000u
#define PORTS 5u /* 0 to 3: guests'; 4: a card's */
#define CARD  4u
#define MAC   0x00163e000010ull /* of port 0 */

static struct dgm_frames frames;
static struct dgm_packets pool;
static struct dgm_switch net;
static struct dgm_switch_port ports[PORTS];
static unsigned got[PORTS];
static bool refuses;

static bool count_delivered(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    assert_true(packet->users > 0);
    got[port - ports]++;
    return !refuses;
}

static int start(void **state)
{
    (void)state;
    dgm_hv_start(dgm_gfn(RAM), 64, dgm_mfn(RAM));
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){dgm_gfn(RAM), 64});
    assert_int_equal(dgm_packets_init(&pool, &frames, 8), DGM_OK);
    dgm_switch_init(&net);
    memset(ports, 0, sizeof ports);
    dgm_sim_set_now_ns(1000);
    refuses = false;
    for (unsigned i = 0; i < PORTS; i++) {
        ports[i].mac = i == CARD ? 0 : MAC + i;
        ports[i].deliver = count_delivered;
        assert_int_equal(dgm_switch_add(&net, &ports[i]), DGM_OK);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PORTS; i++)
        if (ports[i].owner)
            dgm_switch_remove(&ports[i]);
    dgm_packets_check(&pool);
    assert_int_equal(pool.free_frame_count, 8);
    dgm_hv_stop();
    return 0;
}

static void put_mac(uint8_t *at, uint64_t mac)
{
    for (unsigned i = 0; i < 6; i++)
        at[i] = (uint8_t)(mac >> 8 * (5 - i));
}

/* Sends from a port; `expected` has a bit for each port that must get it. */
static void send_from(unsigned port, uint64_t source, uint64_t destination, unsigned expected)
{
    struct dgm_packet *packet = dgm_packet_take(&pool, 60);

    memset(dgm_packet_at(packet, 0), 0, 60);
    put_mac(dgm_packet_at(packet, 0), destination);
    put_mac(dgm_packet_at(packet, 6), source);
    memset(got, 0, sizeof got);
    (void)dgm_switch_input(&ports[port], packet);
    for (unsigned i = 0; i < PORTS; i++)
        assert_int_equal(got[i], expected >> i & 1);
}

/* Fails: a packet between two guests is seen by a third. */
static void goes_to_its_port_only(void **state)
{
    for (unsigned from = 0; from < CARD; from++)
        for (unsigned to = 0; to < CARD; to++)
            send_from(from, MAC + from, MAC + to, from == to ? 0 : 1u << to);
    send_from(CARD, 0xaa, MAC + 2, 1u << 2);
    assert_int_equal(ports[0].counters.dropped[DGM_SWITCH_NO_PORT], 1);
    assert_int_equal(ports[2].counters.packets_out, CARD);
    assert_int_equal(ports[2].counters.bytes_out, CARD * 60);
}

/* Fails: broadcasts are lost, or come back to their sender. */
static void floods_groups(void **state)
{
    send_from(0, MAC, DGM_MAC_BROADCAST, 0x1e);
    send_from(CARD, 0xaa, DGM_MAC_BROADCAST, 0x0f);
    send_from(1, MAC + 1, 0x01005e000001ull, 0x1d);
}

/* Fails: a packet to the outside is delivered to guests. */
static void unknown_goes_outside(void **state)
{
    send_from(0, MAC, 0x525400000001ull, 1u << CARD);
    send_from(CARD, 0x525400000001ull, 0x525400000002ull, 0);
    assert_int_equal(ports[CARD].counters.dropped[DGM_SWITCH_NO_PORT], 1);
}

/* Fails: a guest sends as another guest, or as a machine outside. */
static void drops_forged_sources(void **state)
{
    send_from(0, MAC + 1, MAC + 2, 0);
    send_from(0, 0x525400000001ull, MAC + 2, 0);
    send_from(0, DGM_MAC_BROADCAST, MAC + 2, 0);
    send_from(0, 0, MAC + 2, 0);
    send_from(CARD, MAC + 1, MAC + 2, 0); /* as a guest, from outside */
    assert_int_equal(ports[0].counters.dropped[DGM_SWITCH_SPOOF], 4);
    send_from(CARD, 0, MAC + 2, 0);
    assert_int_equal(ports[CARD].counters.dropped[DGM_SWITCH_SPOOF], 2);
    ports[0].spoofing_allowed = true;
    send_from(0, 0x525400000001ull, MAC + 2, 1u << 2);
    send_from(1, MAC + 1, 0x525400000001ull, 1u << 0); /* learnt */
    send_from(0, MAC + 1, MAC + 2, 0);                 /* another guest's is never allowed */
}

/* Fails: a learnt address is forgotten too soon, or never. */
static void addresses_age(void **state)
{
    send_from(CARD, 0xaa, DGM_MAC_BROADCAST, 0x0f);
    assert_ptr_equal(dgm_switch_learnt(&net, 0xaa, 0), &ports[CARD]);
    dgm_sim_set_now_ns(1000 + DGM_SWITCH_AGE_NS - 1);
    assert_ptr_equal(dgm_switch_learnt(&net, 0xaa, 0), &ports[CARD]);
    dgm_sim_set_now_ns(1000 + DGM_SWITCH_AGE_NS);
    assert_null(dgm_switch_learnt(&net, 0xaa, 0));
}

/* Fails: a flood of addresses overruns the table, or moves a guest's address. */
static void the_table_is_bounded(void **state)
{
    for (uint64_t i = 0; i < 5000; i++)
        send_from(CARD, 0x020000000000ull + i, MAC, 1);
    assert_true(net.learnt == 5000 && net.evicted >= 5000 - DGM_SWITCH_SETS * DGM_SWITCH_WAYS);
    assert_ptr_equal(dgm_switch_learnt(&net, 0x020000000000ull + 4999, 0), &ports[CARD]);
    send_from(1, MAC + 1, MAC, 1);
    dgm_switch_remove(&ports[CARD]);
    assert_null(dgm_switch_learnt(&net, 0x020000000000ull + 4999, 0));
    send_from(1, MAC + 1, 0x020000000000ull + 4999, 0);
}

/* Fails: runts reach a port, or refusals are not counted. */
static void drops_are_counted(void **state)
{
    struct dgm_packet *packet = dgm_packet_take(&pool, 14);

    packet->length = 13;
    (void)dgm_switch_input(&ports[0], packet);
    assert_int_equal(ports[0].counters.dropped[DGM_SWITCH_RUNT], 1);
    refuses = true;
    send_from(0, MAC, MAC + 1, 2);
    assert_int_equal(ports[1].counters.refused_out, 1);
    assert_int_equal(ports[1].counters.packets_out, 0);
    assert_int_equal(ports[0].counters.packets_in, 2);
}

/* Fails: two guests get one address. */
static void refuses_ports(void **state)
{
    struct dgm_switch_port same = {.mac = MAC + 3, .deliver = count_delivered};
    struct dgm_switch_port group = {.mac = 0x01005e000001ull, .deliver = count_delivered};
    static struct dgm_switch_port more[DGM_SWITCH_PORTS_MAX];

    assert_int_equal(dgm_switch_add(&net, &same), DGM_EEXIST);
    assert_int_equal(dgm_switch_add(&net, &group), DGM_EINVAL);
    for (unsigned i = 0; i < DGM_SWITCH_PORTS_MAX; i++) {
        more[i] = (struct dgm_switch_port){.mac = 0x100 + i, .deliver = count_delivered};
        assert_int_equal(dgm_switch_add(&net, &more[i]),
                         i < DGM_SWITCH_PORTS_MAX - PORTS ? DGM_OK : DGM_ENOSPC);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(goes_to_its_port_only, start, stop),
        cmocka_unit_test_setup_teardown(floods_groups, start, stop),
        cmocka_unit_test_setup_teardown(unknown_goes_outside, start, stop),
        cmocka_unit_test_setup_teardown(drops_forged_sources, start, stop),
        cmocka_unit_test_setup_teardown(addresses_age, start, stop),
        cmocka_unit_test_setup_teardown(the_table_is_bounded, start, stop),
        cmocka_unit_test_setup_teardown(drops_are_counted, start, stop),
        cmocka_unit_test_setup_teardown(refuses_ports, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
