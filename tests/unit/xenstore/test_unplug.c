/* SPDX-License-Identifier: MIT */
/* unplug: if these fail, a guest keeps a dead interface, or a device that has left comes back. */
#include "xenbus_rig.h"

#include <dragoman/base/status.h>

static void unplug(void)
{
    dgm_xenbus_unplug(&puppet.device);
    puppet_run();
    assert_string_equal(puppet_value(PUPPET_BACK "/online"), "0");
}

/* Linux goes from Connected to Closed directly. */
static void a_connected_frontend_closes(void **state)
{
    puppet_front("4");
    unplug();
    expect_back("5");
    assert_true(puppet.holding); /* I/O continues until the frontend has closed */
    assert_false(dgm_xenbus_unplugged(&puppet.device));
    puppet_front("6");
    assert_false(dgm_xenbus_unplugged(&puppet.device));
    expect_back("5");
    puppet_release();
    expect_back("6");
    assert_true(dgm_xenbus_unplugged(&puppet.device));
    assert_string_equal(puppet_value(PUPPET_FRONT "/state"), "6"); /* for destroy to remove */
}

/* As Linux's other frontends do. */
static void a_frontend_that_closes_in_two_steps(void **state)
{
    puppet_front("4");
    unplug();
    puppet_front("5");
    expect_back("5");
    assert_true(puppet.holding);
    puppet_front("6");
    puppet_release();
    expect_back("6");
    assert_true(dgm_xenbus_unplugged(&puppet.device));
}

static void a_closed_frontend_needs_no_step(void **state)
{
    puppet_front("6");
    expect_back("6");
    unplug();
    expect_back("6");
    assert_true(dgm_xenbus_unplugged(&puppet.device));
}

/* Whatever the frontend does, nothing is offered and connected once more. */
static void no_frontend_comes_back(void **state)
{
    static const char *const states[] = {"1", "3", "4", "6", "1", "4", "3", "5", "1", "6"};

    puppet_front("4");
    unplug();
    puppet_front("1");
    puppet_release();
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        puppet_front(states[i]);
        assert_false(puppet.holding);
        assert_int_equal(puppet.offers, 1);
        assert_int_equal(puppet.connects, 1);
    }
    assert_true(dgm_xenbus_unplugged(&puppet.device));
}

/* The embedder gives up, and treats it as a guest that has ended. */
static void a_frontend_that_does_not_close(void **state)
{
    puppet_front("4");
    unplug();
    puppet_run();
    assert_false(dgm_xenbus_unplugged(&puppet.device));
    dgm_xenbus_guest_gone(&puppet.device);
    assert_false(dgm_xenbus_unplugged(&puppet.device));
    puppet_release();
    assert_true(dgm_xenbus_unplugged(&puppet.device));
}

/* It is refused while it leaves. */
static void a_failure_meanwhile(void **state)
{
    puppet_front("4");
    unplug();
    dgm_xenbus_fail(&puppet.device, DGM_EPROTO, "a ring is broken");
    puppet_release();
    assert_false(dgm_xenbus_unplugged(&puppet.device));
    puppet_front("6");
    expect_back("6");
    assert_true(dgm_xenbus_unplugged(&puppet.device));
}

#define CREATED(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, puppet_start_created, puppet_stop_created)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CREATED(a_connected_frontend_closes),     CREATED(a_frontend_that_closes_in_two_steps),
        CREATED(a_closed_frontend_needs_no_step), CREATED(no_frontend_comes_back),
        CREATED(a_frontend_that_does_not_close),  CREATED(a_failure_meanwhile),
    };

    return cmocka_run_group_tests_name("unplug", tests, NULL, NULL);
}
