/* SPDX-License-Identifier: MIT */
/* xenbus_rig: see xenbus_rig.h. */
#include "xenbus_rig.h"

#include <dragoman/base/status.h>
#include <sim/hypervisor/hypervisor.h>

struct puppet puppet;

static int puppet_describe(struct dgm_xenbus_device *of)
{
    const struct dgm_xenbus_key key = {"device-type", "disk", 0};

    puppet.describes++;
    return puppet.describe_status ? puppet.describe_status
                                  : dgm_xenbus_write(of, DGM_XENBUS_FRONTEND, &key, 1);
}

static int puppet_offer(struct dgm_xenbus_device *of)
{
    const struct dgm_xenbus_key key = {"feature-test", NULL, 7};

    puppet.offers++;
    return puppet.offer_status ? puppet.offer_status
                               : dgm_xenbus_write(of, DGM_XENBUS_BACKEND, &key, 1);
}

static int puppet_connect(struct dgm_xenbus_device *of, const char **why)
{
    assert_false(puppet.holding); /* never twice, never before the last was released */
    assert_false(of->releasing);
    puppet.connects++;
    *why = "the puppet says no";
    if (puppet.connect_status == DGM_OK)
        puppet.holding = true;
    return puppet.connect_status;
}

static void puppet_disconnect(struct dgm_xenbus_device *of)
{
    assert_true(puppet.holding);
    puppet.disconnects++;
}

const struct dgm_xenbus_ops puppet_ops = {puppet_describe, puppet_offer, puppet_connect,
                                          puppet_disconnect};

void puppet_release(void)
{
    assert_true(puppet.device.releasing);
    puppet.holding = false;
    dgm_xenbus_released(&puppet.device);
}

void puppet_run(void)
{
    unsigned turns = 0;

    while (dgm_reactor_turn(&puppet.reactor))
        assert_true(++turns < 1000);
}

const char *puppet_value(const char *path)
{
    static char value[256];

    return dgm_xs_read(puppet.xs, path, value, sizeof value) < 0 ? "(none)" : value;
}

void puppet_front(const char *state)
{
    assert_int_equal(dgm_xs_write(puppet.xs, (struct dgm_xs_entry){PUPPET_FRONT "/state", state}),
                     DGM_OK);
    puppet_run();
}

void puppet_refuse(void)
{
    puppet.connect_status = DGM_EINVAL;
    puppet_front("3");
    expect_back("5");
}

void puppet_reconnect(void)
{
    puppet_front("5");
    puppet_front("6");
    if (puppet.device.releasing)
        puppet_release();
    expect_back("6");
    puppet_front("1");
    expect_back("2");
    puppet_front("3");
    expect_back("4");
}

int puppet_start(void **state)
{
    memset(&puppet, 0, sizeof puppet);
    dgm_hv_start(dgm_gfn(0x40000), 64, dgm_mfn(0x40000));
    dgm_reactor_init(&puppet.reactor);
    dgm_evtchn_init(&puppet.evtchn, &puppet.reactor, dgm_hv_shared_info(),
                    &dgm_hv_shared_info()->vcpu_info[0]);
    puppet.xs_memory = aligned_alloc(8, 1 << 20);
    puppet.xs = dgm_xenstore_init(puppet.xs_memory, 1 << 20, &puppet.reactor, &puppet.evtchn,
                                  &dgm_xs_limits_default);
    assert_non_null(puppet.xs);
    assert_int_equal(dgm_xs_write(puppet.xs, (struct dgm_xs_entry){"/local/domain/3", ""}), DGM_OK);
    assert_int_equal(dgm_xs_set_access(puppet.xs, "/local/domain/3",
                                       (struct dgm_xs_access){.owner = PUPPET_GUEST}),
                     DGM_OK);
    return 0;
}

int puppet_start_created(void **state)
{
    puppet_start(state);
    assert_int_equal(dgm_xenbus_create(
                         &puppet.device, puppet.xs, &puppet_ops,
                         (struct dgm_xenbus_name){"vbd", PUPPET_GUEST, PUPPET_NUMBER, &puppet.log}),
                     DGM_OK);
    puppet_run();
    return 0;
}

int puppet_stop(void **state)
{
    dgm_xs_check(puppet.xs);
    free(puppet.xs_memory);
    dgm_hv_stop();
    return 0;
}

int puppet_stop_created(void **state)
{
    dgm_xenbus_guest_gone(&puppet.device);
    if (puppet.device.releasing)
        puppet_release();
    assert_true(dgm_xenbus_idle(&puppet.device));
    assert_false(puppet.holding);
    dgm_xenbus_destroy(&puppet.device);
    assert_string_equal(puppet_value(PUPPET_FRONT), "(none)");
    assert_string_equal(puppet_value(PUPPET_BACK), "(none)");
    assert_string_equal(puppet_value(PUPPET_ERROR "/error"), "(none)");
    puppet_run();
    return puppet_stop(state);
}
