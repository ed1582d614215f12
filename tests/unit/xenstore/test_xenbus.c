/* SPDX-License-Identifier: MIT */
/*
 * xenbus: if these fail, a guest's frontend waits permanently, meets half a connection, or the
 * backend holds what it should have released. The backend here is a puppet: it counts the calls of
 * its ops, and releases when the test does.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/xenstore/xenbus.h>
#include <sim/hypervisor/hypervisor.h>

#define GUEST  3
#define NUMBER 51712
#define FRONT  "/local/domain/3/device/vbd/51712"
#define BACK   "/local/domain/0/backend/vbd/3/51712"
#define ERROR  "/local/domain/0/error/backend/vbd/3/51712"

static struct dgm_reactor reactor;
static struct dgm_evtchn evtchn;
static struct dgm_xenstore *xs;
static void *xs_memory;

/* The puppet. */
static struct dgm_xenbus_device device;
static unsigned describes, offers, connects, disconnects;
static int describe_status, offer_status, connect_status;
static bool holding;

static int puppet_describe(struct dgm_xenbus_device *of)
{
    const struct dgm_xenbus_key key = {"device-type", "disk", 0};

    describes++;
    return describe_status ? describe_status : dgm_xenbus_write(of, DGM_XENBUS_FRONTEND, &key, 1);
}

static int puppet_offer(struct dgm_xenbus_device *of)
{
    const struct dgm_xenbus_key key = {"feature-test", NULL, 7};

    offers++;
    return offer_status ? offer_status : dgm_xenbus_write(of, DGM_XENBUS_BACKEND, &key, 1);
}

static int puppet_connect(struct dgm_xenbus_device *of, const char **why)
{
    assert_false(holding); /* never twice, never before the last was released */
    assert_false(of->releasing);
    connects++;
    *why = "the puppet says no";
    if (connect_status == DGM_OK)
        holding = true;
    return connect_status;
}

static void puppet_disconnect(struct dgm_xenbus_device *of)
{
    assert_true(holding);
    disconnects++;
}

static const struct dgm_xenbus_ops puppet = {puppet_describe, puppet_offer, puppet_connect,
                                             puppet_disconnect};

static void release(void)
{
    assert_true(device.releasing);
    holding = false;
    dgm_xenbus_released(&device);
}

static void run(void)
{
    unsigned turns = 0;

    while (dgm_reactor_turn(&reactor))
        assert_true(++turns < 1000);
}

static const char *value_of(const char *path)
{
    static char value[256];

    return dgm_xs_read(xs, path, value, sizeof value) < 0 ? "(none)" : value;
}

static void front(const char *state)
{
    assert_int_equal(dgm_xs_write(xs, FRONT "/state", state), DGM_OK);
    run();
}

#define expect_back(state) assert_string_equal(value_of(BACK "/state"), state)

static int start(void **state)
{
    dgm_hv_start(dgm_gfn(0x40000), 64, dgm_mfn(0x40000));
    dgm_reactor_init(&reactor);
    dgm_evtchn_init(&evtchn, &reactor, dgm_hv_shared_info(), &dgm_hv_shared_info()->vcpu_info[0]);
    xs_memory = aligned_alloc(8, 1 << 20);
    xs = dgm_xenstore_init(xs_memory, 1 << 20, &reactor, &evtchn, &dgm_xs_limits_default);
    assert_non_null(xs);
    assert_int_equal(dgm_xs_write(xs, "/local/domain/3", ""), DGM_OK);
    assert_int_equal(
        dgm_xs_set_access(xs, "/local/domain/3", (struct dgm_xs_access){.owner = GUEST}), DGM_OK);
    describes = offers = connects = disconnects = 0;
    describe_status = offer_status = connect_status = 0;
    holding = false;
    return 0;
}

static int start_created(void **state)
{
    start(state);
    assert_int_equal(dgm_xenbus_create(&device, xs, &puppet, "vbd", GUEST, NUMBER), DGM_OK);
    run();
    return 0;
}

static int stop(void **state)
{
    dgm_xs_check(xs);
    free(xs_memory);
    dgm_hv_stop();
    return 0;
}

static int stop_created(void **state)
{
    dgm_xenbus_guest_gone(&device);
    if (device.releasing)
        release();
    assert_true(dgm_xenbus_idle(&device));
    assert_false(holding);
    dgm_xenbus_destroy(&device);
    assert_string_equal(value_of(FRONT), "(none)");
    assert_string_equal(value_of(BACK), "(none)");
    assert_string_equal(value_of(ERROR "/error"), "(none)");
    run();
    return stop(state);
}

/* --- the tests --- */

static void the_nodes_a_frontend_looks_for(void **state)
{
    expect_back("2");
    assert_string_equal(value_of(FRONT "/state"), "1");
    assert_string_equal(value_of(FRONT "/backend"), BACK);
    assert_string_equal(value_of(FRONT "/backend-id"), "0");
    assert_string_equal(value_of(FRONT "/device-type"), "disk");
    assert_string_equal(value_of(BACK "/frontend"), FRONT);
    assert_string_equal(value_of(BACK "/frontend-id"), "3");
    assert_string_equal(value_of(BACK "/online"), "1");
    assert_string_equal(value_of(BACK "/feature-test"), "7");
    assert_int_equal(describes, 1);
    assert_int_equal(offers, 1);
}

/* Linux: 3, and 4 after us. U-Boot: 4 at once. */
static void connects_at_3_and_at_4(void **state)
{
    front("3");
    expect_back("4");
    assert_int_equal(connects, 1);
    front("4");
    expect_back("4");
    assert_int_equal(connects, 1);
    front("5");
    expect_back("5");
    assert_true(holding); /* I/O continues until the frontend has closed */
    front("6");
    expect_back("5");
    release();
    expect_back("6");
    front("1");
    expect_back("2");
    assert_int_equal(offers, 2);
    assert_int_equal(describes, 1);
    front("4");
    expect_back("4");
    assert_int_equal(connects, 2);
    front("6");
    release();
}

static void closing_without_a_connection(void **state)
{
    front("5");
    expect_back("5");
    front("6");
    expect_back("6");
    assert_int_equal(connects, 0);
    front("4"); /* not from here: it has to begin at 1 */
    expect_back("6");
    assert_int_equal(connects, 0);
    front("1");
    expect_back("2");
}

/* Any of them means that the frontend has changed. */
static void a_state_gone_or_garbled(void **state)
{
    static const char *const garbage[] = {
        "", "x", "4x", " 4", "-1", "9", "44", "04 ", "0", "4\n", "18446744073709551620"};

    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        front("3");
        expect_back("4");
        front(garbage[i]);
        assert_true(device.releasing);
        release();
        expect_back("6");
        front("1");
        expect_back("2");
    }
    front("3");
    assert_int_equal(dgm_xs_rm(xs, FRONT "/state"), DGM_OK);
    run();
    release();
    expect_back("6");
    front("1");
    front("3");
    assert_int_equal(dgm_xs_rm(xs, "/local/domain/3/device"), DGM_OK); /* an ancestor */
    run();
    release();
    expect_back("6");
}

/* Another kernel, or a confused driver: it starts again without closing. */
static void begins_anew_without_a_word(void **state)
{
    front("3");
    front("4");
    front("1");
    assert_true(device.releasing);
    expect_back("4");
    release();
    expect_back("2");
    front("3");
    expect_back("4");
    front("4");
    front("3"); /* 4 was seen: this is a new ring */
    assert_true(device.releasing);
    release();
    expect_back("4"); /* offered and connected at once: the frontend waits at 3 */
    assert_int_equal(connects, 3);
    front("6");
    release();
}

/* However often the state changes while the old connection drains, it is read once, at the end. */
static void a_storm_while_draining(void **state)
{
    static const char *const storm[] = {"1", "3", "4", "5", "6", "1", "4", "x", "3", "6", "1"};

    front("3");
    front("6");
    assert_true(device.releasing);
    for (size_t i = 0; i < sizeof storm / sizeof storm[0]; i++) {
        front(storm[i]);
        assert_true(device.releasing);
        assert_int_equal(connects, 1);
        assert_int_equal(disconnects, 1);
    }
    release();
    expect_back("2"); /* it ended at 1 */
    front("3");
    expect_back("4");
}

static void random_storms(void **state)
{
    static const char *const states[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "x"};
    const uint64_t seed = unit_seed();

    print_message("# seed %llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < 5000; i++) {
        connect_status = unit_chance(90) ? DGM_OK : unit_chance(50) ? DGM_EINVAL : DGM_EAGAIN;
        if (unit_chance(70))
            assert_int_equal(dgm_xs_write(xs, FRONT "/state", states[unit_below(10)]), DGM_OK);
        if (unit_chance(60))
            run();
        if (device.releasing && unit_chance(50))
            release();
        if (holding && unit_chance(3))
            dgm_xenbus_fail(&device, DGM_EPROTO, "random");
        if (unit_chance(10))
            dgm_xenbus_update(&device);
        assert_int_equal(holding, device.connected || device.releasing);
    }
    /* After all that, an orderly frontend gets its device again. */
    connect_status = DGM_OK;
    front("5");
    front("6");
    if (device.releasing)
        release();
    expect_back("6");
    front("1");
    expect_back("2");
    front("3");
    expect_back("4");
}

static void a_connect_that_fails(void **state)
{
    connect_status = DGM_EINVAL;
    front("3");
    expect_back("5");
    assert_string_equal(value_of(ERROR "/error"), "-22 the puppet says no");
    assert_int_equal(connects, 1);
    front("4"); /* only Closed and then Initialising have an effect */
    assert_int_equal(connects, 1);
    front("6");
    expect_back("6");
    connect_status = DGM_OK;
    front("1");
    expect_back("2");
    front("3");
    expect_back("4");
}

static void a_backend_that_gives_up(void **state)
{
    front("3");
    front("4");
    dgm_xenbus_fail(&device, DGM_EPROTO, "bad ring");
    expect_back("5");
    assert_string_equal(value_of(ERROR "/error"), "-71 bad ring");
    assert_true(device.releasing);
    release();
    expect_back("5"); /* until the frontend has closed */
    front("5");
    front("6");
    expect_back("6");
    front("1");
    expect_back("2");
}

/* The frontend closes, or starts again, during the disconnect. */
static void a_backend_that_gives_up_and_a_quick_frontend(void **state)
{
    front("3");
    dgm_xenbus_fail(&device, DGM_EPROTO, "bad ring");
    front("6");
    release();
    expect_back("6");
    front("1");
    front("3");
    dgm_xenbus_fail(&device, DGM_EPROTO, "bad ring");
    front("6");
    front("1");
    release();
    expect_back("2");
}

static void something_scarce(void **state)
{
    connect_status = DGM_EAGAIN;
    front("3");
    expect_back("2");
    assert_false(device.connected);
    connect_status = DGM_OK;
    dgm_xenbus_update(&device);
    expect_back("4");
}

static void the_guest_dies(void **state)
{
    front("3");
    front("5");
    dgm_xenbus_guest_gone(&device);
    dgm_xenbus_guest_gone(&device);
    assert_int_equal(disconnects, 1);
    assert_false(dgm_xenbus_idle(&device));
    front("1"); /* no effect */
    dgm_xenbus_update(&device);
    release();
    assert_true(dgm_xenbus_idle(&device));
    dgm_xenbus_update(&device);
    assert_int_equal(offers, 1);
}

static void the_guest_dies_while_draining(void **state)
{
    front("3");
    front("6");
    dgm_xenbus_guest_gone(&device);
    assert_int_equal(disconnects, 1);
    assert_false(dgm_xenbus_idle(&device));
    release();
    assert_true(dgm_xenbus_idle(&device));
}

static void numbers_are_parsed_strictly(void **state)
{
    static const struct {
        const char *value;
        int status;
    } cases[] = {
        {"0", DGM_OK},
        {"7", DGM_OK},
        {"4294967295", DGM_OK},
        {"4294967296", DGM_EINVAL},
        {"", DGM_EINVAL},
        {"-1", DGM_EINVAL},
        {"0x10", DGM_EINVAL},
        {" 1", DGM_EINVAL},
        {"1 ", DGM_EINVAL},
        {"1\n", DGM_EINVAL},
        {"+1", DGM_EINVAL},
        {"18446744073709551617", DGM_EINVAL},
        {"9999999999999999999999999999999999999999", DGM_EINVAL},
    };
    uint64_t number;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(dgm_xs_write(xs, FRONT "/ring-ref", cases[i].value), DGM_OK);
        assert_int_equal(dgm_xenbus_read_number(&device, "ring-ref", UINT32_MAX, &number),
                         cases[i].status);
    }
    assert_int_equal(dgm_xenbus_read_number(&device, "nothing", 1, &number), DGM_ENOENT);
}

/* Create that fails at any step leaves nothing behind. */
static void a_create_that_fails(void **state)
{
    describe_status = DGM_ENOSPC;
    assert_int_equal(dgm_xenbus_create(&device, xs, &puppet, "vbd", GUEST, NUMBER), DGM_ENOSPC);
    describe_status = 0;
    offer_status = DGM_ENOSPC;
    assert_int_equal(dgm_xenbus_create(&device, xs, &puppet, "vbd", GUEST, NUMBER), DGM_ENOSPC);
    assert_string_equal(value_of(FRONT), "(none)");
    assert_string_equal(value_of(BACK), "(none)");
    run();
}

#define CREATED(test) cmocka_unit_test_setup_teardown(test, start_created, stop_created)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CREATED(the_nodes_a_frontend_looks_for),
        CREATED(connects_at_3_and_at_4),
        CREATED(closing_without_a_connection),
        CREATED(a_state_gone_or_garbled),
        CREATED(begins_anew_without_a_word),
        CREATED(a_storm_while_draining),
        CREATED(random_storms),
        CREATED(a_connect_that_fails),
        CREATED(a_backend_that_gives_up),
        CREATED(a_backend_that_gives_up_and_a_quick_frontend),
        CREATED(something_scarce),
        CREATED(the_guest_dies),
        CREATED(the_guest_dies_while_draining),
        CREATED(numbers_are_parsed_strictly),
        cmocka_unit_test_setup_teardown(a_create_that_fails, start, stop),
    };

    return cmocka_run_group_tests_name("xenbus", tests, NULL, NULL);
}
