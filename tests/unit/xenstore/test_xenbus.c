/* SPDX-License-Identifier: MIT */
/*
 * xenbus: if these fail, a guest's frontend waits permanently, meets half a connection, or the
 * backend holds what it should have released. The backend here is a puppet: it counts the calls of
 * its ops, and releases when the test does.
 */
#include "xenbus_rig.h"

#include <dragoman/base/status.h>

static void the_nodes_a_frontend_looks_for(void **state)
{
    expect_back("2");
    assert_string_equal(puppet_value(PUPPET_FRONT "/state"), "1");
    assert_string_equal(puppet_value(PUPPET_FRONT "/backend"), PUPPET_BACK);
    assert_string_equal(puppet_value(PUPPET_FRONT "/backend-id"), "0");
    assert_string_equal(puppet_value(PUPPET_FRONT "/device-type"), "disk");
    assert_string_equal(puppet_value(PUPPET_BACK "/frontend"), PUPPET_FRONT);
    assert_string_equal(puppet_value(PUPPET_BACK "/frontend-id"), "3");
    assert_string_equal(puppet_value(PUPPET_BACK "/online"), "1");
    assert_string_equal(puppet_value(PUPPET_BACK "/feature-test"), "7");
    assert_int_equal(puppet.describes, 1);
    assert_int_equal(puppet.offers, 1);
}

/* Linux writes 3, and 4 after ours. U-Boot writes 4 immediately. */
static void connects_at_3_and_at_4(void **state)
{
    puppet_front("3");
    expect_back("4");
    assert_int_equal(puppet.connects, 1);
    puppet_front("4");
    expect_back("4");
    assert_int_equal(puppet.connects, 1);
    puppet_front("5");
    expect_back("5");
    assert_true(puppet.holding); /* I/O continues until the frontend has closed */
    puppet_front("6");
    expect_back("5");
    puppet_release();
    expect_back("6");
    puppet_front("1");
    expect_back("2");
    assert_int_equal(puppet.offers, 2);
    assert_int_equal(puppet.describes, 1);
    puppet_front("4");
    expect_back("4");
    assert_int_equal(puppet.connects, 2);
    puppet_front("6");
    puppet_release();
}

static void closing_without_a_connection(void **state)
{
    puppet_front("5");
    expect_back("5");
    puppet_front("6");
    expect_back("6");
    assert_int_equal(puppet.connects, 0);
    puppet_front("1");
    expect_back("2");
    assert_int_equal(puppet.connects, 0);
}

/* A firing for any of them means that the frontend has changed. */
static void a_state_gone_or_garbled(void **state)
{
    static const char *const garbage[] = {"",   "x", "x4", "-1",         "9",
                                          "44", "0", " ",  "4294967300", "18446744073709551620"};

    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        puppet_front("3");
        expect_back("4");
        puppet_front(garbage[i]);
        assert_true(puppet.device.releasing);
        puppet_release();
        expect_back("6");
        puppet_front("1");
        expect_back("2");
    }
    puppet_front("3");
    assert_int_equal(dgm_xs_rm(puppet.xs, PUPPET_FRONT "/state"), DGM_OK);
    puppet_run();
    puppet_release();
    expect_back("6");
    puppet_front("1");
    puppet_front("3");
    assert_int_equal(dgm_xs_rm(puppet.xs, "/local/domain/3/device"), DGM_OK); /* an ancestor */
    puppet_run();
    puppet_release();
    expect_back("6");
}

/* Another kernel, or a confused driver: it starts again without closing. */
static void restarts_without_closing(void **state)
{
    puppet_front("3");
    puppet_front("4");
    puppet_front("1");
    assert_true(puppet.device.releasing);
    expect_back("4");
    puppet_release();
    expect_back("2");
    puppet_front("3");
    expect_back("4");
    puppet_front("4");
    puppet_front("3"); /* 4 was seen: this is a new ring */
    assert_true(puppet.device.releasing);
    puppet_release();
    expect_back("4"); /* offered and connected at once: the frontend waits at 3 */
    assert_int_equal(puppet.connects, 3);
    puppet_front("6");
    puppet_release();
}

/* However often the state changes while the old connection drains, it is read once, at the end. */
static void a_storm_while_draining(void **state)
{
    static const char *const storm[] = {"1", "3", "4", "5", "6", "1", "4", "x", "3", "6", "1"};

    puppet_front("3");
    puppet_front("6");
    assert_true(puppet.device.releasing);
    for (size_t i = 0; i < sizeof storm / sizeof storm[0]; i++) {
        puppet_front(storm[i]);
        assert_true(puppet.device.releasing);
        assert_int_equal(puppet.connects, 1);
        assert_int_equal(puppet.disconnects, 1);
    }
    puppet_release();
    expect_back("2"); /* it ended at 1 */
    puppet_front("3");
    expect_back("4");
}

static void random_storms(void **state)
{
    static const char *const states[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "x"};
    const uint64_t seed = unit_seed();

    print_message("# seed %llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < 5000; i++) {
        puppet.connect_status = unit_chance(90)   ? DGM_OK
                                : unit_chance(50) ? DGM_EINVAL
                                                  : DGM_EAGAIN;
        if (unit_chance(70))
            assert_int_equal(dgm_xs_write(puppet.xs, (struct dgm_xs_entry){PUPPET_FRONT "/state",
                                                                           states[unit_below(10)]}),
                             DGM_OK);
        if (unit_chance(60))
            puppet_run();
        if (puppet.device.releasing && unit_chance(50))
            puppet_release();
        if (puppet.holding && unit_chance(3))
            dgm_xenbus_fail(&puppet.device, DGM_EPROTO, "random");
        if (unit_chance(10))
            dgm_xenbus_update(&puppet.device);
        assert_int_equal(puppet.holding, puppet.device.connected || puppet.device.releasing);
    }
    /* After all that, an orderly frontend gets its device again. */
    puppet.connect_status = DGM_OK;
    puppet_reconnect();
}

static void a_connect_that_fails(void **state)
{
    puppet_refuse();
    assert_string_equal(puppet_value(PUPPET_ERROR "/error"), "-22 the puppet says no");
    assert_int_equal(puppet.connects, 1);
    puppet_front("4"); /* only Closed and then Initialising have an effect */
    assert_int_equal(puppet.connects, 1);
    puppet_front("6");
    expect_back("6");
    puppet.connect_status = DGM_OK;
    puppet_front("1");
    expect_back("2");
    puppet_front("3");
    expect_back("4");
}

static void a_backend_that_gives_up(void **state)
{
    puppet_front("3");
    puppet_front("4");
    dgm_xenbus_fail(&puppet.device, DGM_EPROTO, "bad ring");
    expect_back("5");
    assert_string_equal(puppet_value(PUPPET_ERROR "/error"), "-71 bad ring");
    assert_true(puppet.device.releasing);
    puppet_release();
    expect_back("5"); /* until the frontend has closed */
    puppet_front("5");
    puppet_front("6");
    expect_back("6");
    puppet_front("1");
    expect_back("2");
}

/* The frontend closes, or starts again, during the disconnect. */
static void a_backend_that_gives_up_and_a_quick_frontend(void **state)
{
    puppet_front("3");
    dgm_xenbus_fail(&puppet.device, DGM_EPROTO, "bad ring");
    puppet_front("6");
    puppet_release();
    expect_back("6");
    puppet_front("1");
    puppet_front("3");
    dgm_xenbus_fail(&puppet.device, DGM_EPROTO, "bad ring");
    puppet_front("6");
    puppet_front("1");
    puppet_release();
    expect_back("2");
}

static void something_scarce(void **state)
{
    puppet.connect_status = DGM_EAGAIN;
    puppet_front("3");
    expect_back("2");
    assert_false(puppet.device.connected);
    puppet.connect_status = DGM_OK;
    dgm_xenbus_update(&puppet.device);
    expect_back("4");
}

static void the_guest_dies(void **state)
{
    puppet_front("3");
    puppet_front("5");
    dgm_xenbus_guest_gone(&puppet.device);
    dgm_xenbus_guest_gone(&puppet.device);
    assert_int_equal(puppet.disconnects, 1);
    assert_false(dgm_xenbus_idle(&puppet.device));
    puppet_front("1"); /* no effect */
    dgm_xenbus_update(&puppet.device);
    puppet_release();
    assert_true(dgm_xenbus_idle(&puppet.device));
    dgm_xenbus_update(&puppet.device);
    assert_int_equal(puppet.offers, 1);
}

static void the_guest_dies_while_draining(void **state)
{
    puppet_front("3");
    puppet_front("6");
    dgm_xenbus_guest_gone(&puppet.device);
    assert_int_equal(puppet.disconnects, 1);
    assert_false(dgm_xenbus_idle(&puppet.device));
    puppet_release();
    assert_true(dgm_xenbus_idle(&puppet.device));
}

/* A create that fails at any step leaves no node and no watch. */
static void a_create_that_fails(void **state)
{
    puppet.describe_status = DGM_ENOSPC;
    assert_int_equal(dgm_xenbus_create(
                         &puppet.device, puppet.xs, &puppet_ops,
                         (struct dgm_xenbus_name){"vbd", PUPPET_GUEST, PUPPET_NUMBER, &puppet.log}),
                     DGM_ENOSPC);
    puppet.describe_status = 0;
    puppet.offer_status = DGM_ENOSPC;
    assert_int_equal(dgm_xenbus_create(
                         &puppet.device, puppet.xs, &puppet_ops,
                         (struct dgm_xenbus_name){"vbd", PUPPET_GUEST, PUPPET_NUMBER, &puppet.log}),
                     DGM_ENOSPC);
    assert_string_equal(puppet_value(PUPPET_FRONT), "(none)");
    assert_string_equal(puppet_value(PUPPET_BACK), "(none)");
    puppet_run();
}

#define CREATED(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, puppet_start_created, puppet_stop_created)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CREATED(the_nodes_a_frontend_looks_for),
        CREATED(connects_at_3_and_at_4),
        CREATED(closing_without_a_connection),
        CREATED(a_state_gone_or_garbled),
        CREATED(restarts_without_closing),
        CREATED(a_storm_while_draining),
        CREATED(random_storms),
        CREATED(a_connect_that_fails),
        CREATED(a_backend_that_gives_up),
        CREATED(a_backend_that_gives_up_and_a_quick_frontend),
        CREATED(something_scarce),
        CREATED(the_guest_dies),
        CREATED(the_guest_dies_while_draining),
        cmocka_unit_test_setup_teardown(a_create_that_fails, puppet_start, puppet_stop),
    };

    return cmocka_run_group_tests_name("xenbus", tests, NULL, NULL);
}
