/* SPDX-License-Identifier: MIT */
/*
 * ports: if these fail, the monitor's command `ports` names a wrong port, cause or number, or
 * leaves out why packets are lost.
 */
#include "unit.h"

#include <kernel/network.h>
#include <kernel/ports.c>

static struct {
    struct config config;
    struct network network;
    struct dgm_switch nets[2];
    struct guest guests[2];
    struct dgm_netback_queue queues[3];
    struct dgm_nicdev nic;
} rig;

static void add_vif(size_t index, const char *bridge, const char *name, const char *mac)
{
    struct dgm_netback *vif = &rig.network.vif[index].back;

    strcpy(rig.config.vifs[index].bridge, bridge);
    rig.config.vif_count = index + 1;
    rig.network.vif[index].guest = &rig.guests[index];
    vif->port.name = name;
    strcpy(vif->mac, mac);
}

/* Two switches with a vif each, the second with a card. */
static int set_up(void **state)
{
    memset(&rig, 0, sizeof rig);
    strcpy(rig.guests[0].base.name, "alpha");
    strcpy(rig.guests[1].base.name, "beta");
    add_vif(0, "inner", "vif1.0", "00:16:3e:00:00:01");
    add_vif(1, "xenbr0", "vif2.0", "00:16:3e:00:00:02");
    rig.network.config = &rig.config;
    for (size_t i = 0; i < 2; i++)
        rig.network.nets[i] = &rig.nets[i];
    strcpy(rig.nic.name, "e1000e0");
    strcpy(rig.network.place, "pci 00:02.0");
    rig.network.nic = &rig.nic;
    rig.network.card_net = &rig.nets[1];
    return 0;
}

static void print_ports(void)
{
    dgm_sim_log_clear();
    ports_print(&rig.network);
}

static void expect_line(const char *line)
{
    char whole[256];

    snprintf(whole, sizeof whole, "%s\n", line);
    if (dgm_sim_logged(whole) != 1)
        fail_msg("%u times: \"%s\"", dgm_sim_logged(whole), line);
}

/* Fails: a port is missing, or belongs to another switch; or causes are named that never
 * occurred. */
static void each_port_once(void **state)
{
    static const char *const absent[] = {"dropped", "refused", "waited", "lost", "queue"};
    const uint64_t before = dgm_sim_log_lines();

    print_ports();
    assert_int_equal(dgm_sim_log_lines() - before, 2 + 3 * 2);
    expect_line("switch inner: 0 addresses learnt, 0 moved, 0 evicted, 0 packets without memory "
                "for their tag\n  vif1.0 (alpha), 00:16:3e:00:00:01: not connected");
    expect_line("switch xenbr0: 0 addresses learnt, 0 moved, 0 evicted, 0 packets without memory "
                "for their tag\n  vif2.0 (beta), 00:16:3e:00:00:02: not connected\n"
                "    from it 0 packets, 0 bytes; to it 0 packets, 0 bytes\n"
                "  e1000e0 (pci 00:02.0): link down");
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        assert_int_equal(dgm_sim_logged(absent[i]), 0);
    rig.network.vif[0].guest = NULL; /* it has ended */
    rig.network.nic = NULL;
    print_ports();
    assert_int_equal(dgm_sim_logged("vif1.0"), 0);
    assert_int_equal(dgm_sim_logged("vif2.0"), 1);
    assert_int_equal(dgm_sim_logged("e1000e0"), 0);
}

/* Fails: a switch's numbers are mixed up. */
static void a_switch(void **state)
{
    rig.nets[0].learnt = 11;
    rig.nets[0].moved = 12;
    rig.nets[0].evicted = 13;
    rig.nets[0].unconverted = 14;
    print_ports();
    expect_line(
        "switch inner: 11 addresses learnt, 12 moved, 13 evicted, 14 packets without memory "
        "for their tag");
}

/* Fails: an operator does not learn why a guest's packets are lost, or is told another cause. */
static void a_vif(void **state)
{
    struct dgm_netback *vif = &rig.network.vif[0].back;

    vif->connected = true;
    vif->queues = rig.queues;
    vif->queue_count = 3;
    for (unsigned i = 0; i < 3; i++) {
        rig.queues[i].packets_from = 70 + i;
        rig.queues[i].packets_to = 80 + i;
    }
    vif->port.counters = (struct dgm_switch_port_counters){
        .packets_in = 21, .bytes_in = 22, .packets_out = 23, .bytes_out = 24};
    vif->port.counters.dropped[DGM_SWITCH_SPOOF] = 31;
    vif->port.counters.dropped[DGM_SWITCH_NO_PORT] = 32;
    vif->counters = (struct dgm_netback_counters){.dropped_not_connected = 41,
                                                  .dropped_queue_full = 42,
                                                  .dropped_too_long = 43,
                                                  .dropped_bad_grant = 44,
                                                  .held_back = 51,
                                                  .rate_limited = 52};
    vif->counters.refused[DGM_NETBACK_BAD_GRANT] = 61;
    vif->counters.refused[DGM_NETBACK_NO_MEMORY] = 62;
    print_ports();
    expect_line("  vif1.0 (alpha), 00:16:3e:00:00:01: connected");
    expect_line("    from it 21 packets, 22 bytes; to it 23 packets, 24 bytes");
    expect_line("    queue 0: from it 70 packets, to it 80");
    expect_line("    queue 2: from it 72 packets, to it 82");
    expect_line("    dropped from it: another's MAC address 31, no port has the destination 32");
    expect_line(
        "    dropped to it: no netfront 41, full queue 42, several buffers not accepted 43, "
        "Xen refuses a buffer 44");
    expect_line("    refused: Xen refuses a reference 61");
    expect_line("    refused: no memory for it 62");
    expect_line("    waited for: a card 51, its rate 52");
    vif->counters.held_back = 0;
    print_ports();
    expect_line("    waited for: its rate 52");
}

/* Fails: the console cuts a line off when every cause occurred as often as can be counted. */
static void largest_numbers(void **state)
{
    struct dgm_netback *vif = &rig.network.vif[0].back;

    memset(&vif->counters, 0xff, sizeof vif->counters);
    memset(&vif->port.counters, 0xff, sizeof vif->port.counters);
    print_ports();
    for (unsigned drop = 0; drop < DGM_SWITCH_DROPS; drop++) {
        char cause[128];

        snprintf(cause, sizeof cause, "%s 18446744073709551615",
                 dgm_switch_drop_name((enum dgm_switch_drop)drop));
        assert_int_equal(dgm_sim_logged(cause), 1);
    }
    assert_in_range(dgm_sim_logged("    dropped from it: "), 2, 3); /* lines */
    assert_int_equal(dgm_sim_logged("    dropped to it: no netfront 18446744073709551615, "), 1);
    assert_int_equal(dgm_sim_logged(", Xen refuses a buffer 18446744073709551615\n"), 1);
    assert_int_equal(dgm_sim_logged("    refused: "), DGM_NETBACK_REFUSALS);
}

/* Fails: a card's losses have another cause, or its state is wrong. */
static void a_card(void **state)
{
    struct dgm_net_card *card = &rig.network.card;

    rig.nic.link = true;
    card->port.counters = (struct dgm_switch_port_counters){
        .packets_in = 121, .bytes_in = 122, .packets_out = 123, .bytes_out = 124};
    card->port.counters.dropped[DGM_SWITCH_RUNT] = 131;
    card->counters = (struct dgm_net_card_counters){.dropped_too_long = 141,
                                                    .dropped_no_link = 142,
                                                    .dropped_queue_full = 143,
                                                    .dropped_checksum = 144,
                                                    .dropped_no_memory = 153};
    rig.nic.received_bad = 151;
    rig.nic.missed = 152;
    print_ports();
    expect_line("  e1000e0 (pci 00:02.0): link up");
    expect_line("    from it 121 packets, 122 bytes; to it 123 packets, 124 bytes");
    expect_line("    dropped from it: no Ethernet header 131");
    expect_line("    dropped to it: too long 141, no link 142, full queue 143, no checksum 144");
    expect_line("    lost from it: damaged 151, no buffer 152, no memory 153");
    rig.nic.failed = true;
    print_ports();
    expect_line("  e1000e0 (pci 00:02.0): failed");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(each_port_once), TEST(a_switch), TEST(a_vif), TEST(largest_numbers), TEST(a_card),
    };

    return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}
