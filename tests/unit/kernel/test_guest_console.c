/* SPDX-License-Identifier: MIT */
/*
 * guest_console: if these fail, what a guest prints is lost or forged, or a guest that prints
 * without end costs the others their disks.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/evtchn.h>
#include <dragoman/pages/foreign.h>
#include <kernel/console.h>
#include <kernel/guest_console.h>
#include <port/env.h>

#include <xen/io/console.h>

static struct {
    struct dgm_reactor reactor;
    struct guest_console console;
    struct xencons_interface ring;
    unsigned sent, lines, mapped, bound;
    uint64_t printed, now_ns;
    char last[256];
    int map_result, bind_result;
} rig;

static int fake_map(dgm_gfn_t *page)
{
    *page = dgm_gfn(1);
    rig.mapped += rig.map_result == DGM_OK;
    return rig.map_result;
}

static int fake_bind(void)
{
    rig.bound += rig.bind_result > 0;
    return rig.bind_result;
}

static void fake_print(unsigned domid, int length, const char *line)
{
    snprintf(rig.last, sizeof rig.last, "DOM%u: %.*s", domid, length, line);
    rig.lines++;
    rig.printed += (uint64_t)length;
}

#define console_line(format, domid, length, line)       fake_print(domid, length, line)
#define dgm_env_va(gfn)                                 ((void)(gfn), &rig.ring)
#define dgm_foreign_map(slots, domid, remote, local)    fake_map(local)
#define dgm_foreign_unmap(slots, local)                 ((void)(rig.mapped--))
#define dgm_evtchn_bind_interdomain(evtchn, from, task) ((void)(from), fake_bind())
#define dgm_evtchn_close(evtchn, port)                  ((void)(rig.bound--))
#define dgm_evtchn_send(evtchn, port)                   ((void)(rig.sent++))
#include <kernel/guest_console.c>

static void run_for(uint64_t ns)
{
    rig.now_ns += ns;
    dgm_sim_set_now_ns(rig.now_ns);
    while (dgm_reactor_turn(&rig.reactor))
        ;
}

static void write_text(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        rig.ring.out[MASK_XENCONS_IDX(rig.ring.out_prod++, rig.ring.out)] = text[i];
    dgm_reactor_post(&rig.reactor, &rig.console.task);
}

static int start(void **state)
{
    memset(&rig, 0, sizeof rig);
    dgm_sim_set_now_ns(0);
    dgm_reactor_init(&rig.reactor);
    rig.bind_result = 5;
    guest_console_open(&rig.console, &(struct guest_console_env){.reactor = &rig.reactor},
                       (struct dgm_evtchn_remote){3, 7});
    assert_int_equal(rig.mapped + rig.bound, 2);
    return 0;
}

/* Fails: lines are cut or mixed, the last one is lost, or a byte moves the terminal's cursor. */
static void lines_are_whole(void **state)
{
    write_text("one\r\ntw", 7);
    run_for(0);
    assert_string_equal(rig.last, "DOM3: one");
    assert_int_equal(rig.lines, 1);
    assert_int_equal(rig.sent, 1);
    write_text("o\x1b[2J\x07\n", 8);
    run_for(0);
    assert_string_equal(rig.last, "DOM3: two[2J");
    write_text("end", 3);
    guest_console_close(&rig.console);
    assert_string_equal(rig.last, "DOM3: end");
    assert_int_equal(rig.mapped + rig.bound, 0);
    guest_console_close(&rig.console); /* again: nothing */
    assert_int_equal(rig.mapped + rig.bound, 0);
}

/* Fails: a long line is lost, or overruns its buffer. */
static void a_long_line_is_printed_in_pieces(void **state)
{
    static char text[1000];

    memset(text, 'x', sizeof text);
    write_text(text, sizeof text);
    run_for(0);
    guest_console_close(&rig.console);
    assert_int_equal(rig.printed, sizeof text);
}

/* Fails: a guest that prints without end holds a run for long, or takes all of the console. */
static void a_flood_has_a_share(void **state)
{
    static char text[2048];
    const uint64_t seconds = 10;

    memset(text, 'x', sizeof text);
    for (unsigned i = 0; i < 100 * seconds; i++) {
        rig.ring.out_prod = rig.ring.out_cons;
        write_text(text, sizeof text);
        run_for(10000000);
        assert_true(rig.reactor.run_work_max <= DGM_RUN_WORK);
    }
    assert_true(rig.printed <= BURST_BYTES + seconds * 1000 * BYTES_PER_MS);
    assert_true(rig.printed >= seconds * 1000 * BYTES_PER_MS / 2);
}

/* Fails: indices that the guest forged make Dragoman read beyond the ring, or print for ever. */
static void forged_indices(void **state)
{
    static const uint32_t values[] = {0, 1, 2047, 2048, 2049, 0x7fffffff, 0x80000000, 0xffffffff};

    for (unsigned p = 0; p < 8; p++)
        for (unsigned c = 0; c < 8; c++) {
            start(NULL);
            rig.ring.out_prod = values[p];
            rig.ring.out_cons = values[c];
            dgm_reactor_post(&rig.reactor, &rig.console.task);
            run_for(0);
            assert_int_equal(rig.ring.out_cons, rig.ring.out_prod);
            guest_console_close(&rig.console);
        }
}

/* Fails: a console that cannot be opened leaves its page mapped, or ends the guest. */
static void one_that_cannot_be_opened(void **state)
{
    for (unsigned step = 0; step < 2; step++) {
        memset(&rig, 0, sizeof rig);
        dgm_reactor_init(&rig.reactor);
        rig.map_result = step == 0 ? DGM_EINVAL : DGM_OK;
        rig.bind_result = DGM_ENOSPC;
        guest_console_open(&rig.console, &(struct guest_console_env){.reactor = &rig.reactor},
                           (struct dgm_evtchn_remote){3, 7});
        assert_int_equal(rig.console.port, 0);
        assert_int_equal(rig.mapped + rig.bound, 0);
        guest_console_close(&rig.console);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lines_are_whole, start),
        cmocka_unit_test_setup(a_long_line_is_printed_in_pieces, start),
        cmocka_unit_test_setup(a_flood_has_a_share, start),
        cmocka_unit_test_setup(forged_indices, start),
        cmocka_unit_test(one_that_cannot_be_opened),
    };

    return cmocka_run_group_tests_name("guest_console", tests, NULL, NULL);
}
