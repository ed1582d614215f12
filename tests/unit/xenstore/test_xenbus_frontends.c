/* SPDX-License-Identifier: MIT */
/*
 * xenbus beside every frontend: the orders of states that Linux, the BSDs, Windows and firmware
 * produce, numbers in every form that sscanf() reads, and frontends that are wrong. If these fail,
 * a frontend that works beside Linux's backend gets no disk here, or waits without a reason in
 * its nodes or in the log; or a guest writes what is ours, or fills the log.
 */
#include "xenbus_rig.h"

#include <dragoman/base/status.h>
#include <xenstore/store.h>

/* --- orders of states --- */

/*
 * Each pair is the frontend's state and ours after it. '~' after the frontend's: the disconnect
 * that it begins ends before ours is compared.
 */
static const struct {
    const char *frontend;
    const char *steps;
    unsigned connects;
} orders[] = {
    {"Linux", "34 44 55 6~6", 1},
    {"Linux, the driver unbound and bound", "34 44 55 6~6 12 34 44", 2},
    {"Linux, another kernel by kexec", "34 44 1~2 34 44", 2},
    {"U-Boot, then Linux", "44 55 6~6 12 34 44", 2},
    {"OVMF or MiniOS, then Linux", "44 55 6~6 12 34 44 55 6~6", 2},
    {"GRUB, which skips Closing", "34 44 6~6 12 34 44", 2},
    {"FreeBSD, a resume without Initialising", "34 44 3~4 44", 2},
    {"NetBSD, Initialised directly from Closed", "34 44 55 6~6 34 44", 2},
    {"Connected directly from Closed", "44 6~6 44", 2},
    {"Windows, which closes before it starts", "55 66 12 34 44 55 6~6 12 34 44", 2},
    {"Closing taken back", "55 34 44", 1},
    {"Initialised twice, Connected twice", "34 34 44 44", 1},
    {"Initialising twice", "12 12 34 44", 1},
    {"Closing twice, Closed twice", "34 55 55 6~6 66 12 34", 2},
    {"Unknown, then a start", "34 0~6 12 34", 2},
    {"Unknown before any start", "06 34 44", 1},
    {"InitWait and Reconfiguring have no effect", "22 34 24 74 84 44", 1},
};

static void orders_of_states(void **state)
{
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        print_message("# %s\n", orders[i].frontend);
        puppet_start_created(NULL);
        for (const char *step = orders[i].steps; *step;) {
            const char theirs[] = {*step++, '\0'};
            const bool releases = *step == '~';
            char ours[2] = {0};

            puppet_front(theirs);
            assert_int_equal(puppet.device.releasing, releases);
            if (releases) {
                puppet_release();
                puppet_run();
                step++;
            }
            ours[0] = *step++;
            expect_back(ours);
            while (*step == ' ')
                step++;
        }
        assert_int_equal(puppet.connects, orders[i].connects);
        puppet_stop_created(NULL);
    }
}

/* Any two states in a row, from any state: afterwards an orderly frontend gets its device. */
static void every_pair_of_states(void **state)
{
    static const char *const states[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "", "x"};
    const size_t count = sizeof states / sizeof states[0];

    for (size_t i = 0; i < count * count * count; i++) {
        const size_t picks[] = {i % count, i / count % count, i / count / count};

        puppet_start_created(NULL);
        for (size_t n = 0; n < 3; n++) {
            puppet_front(states[picks[n]]);
            if (puppet.device.releasing)
                puppet_release();
        }
        puppet_reconnect();
        puppet_stop_created(NULL);
    }
}

/* A failure does not outlive the frontend's Closed: also for a frontend that skips Initialising. */
static void after_a_failure(void **state)
{
    puppet_refuse();
    puppet_front("4");
    assert_non_null(strstr(dgm_sim_last_log(), "the device has failed"));
    assert_string_equal(puppet_value(PUPPET_ERROR "/error"), "-22 the puppet says no");
    puppet.connect_status = DGM_OK;
    puppet_front("6");
    expect_back("6");
    puppet_front("3");
    expect_back("4");
}

/* A backend that fails does not connect again to a frontend that stays Initialised. */
static void a_failure_waits_for_the_frontend(void **state)
{
    puppet_front("3");
    expect_back("4");
    dgm_xenbus_fail(&puppet.device, DGM_EPROTO, "bad ring");
    puppet_release();
    puppet_run();
    expect_back("5");
    assert_int_equal(puppet.connects, 1);
    assert_int_equal(puppet.offers, 1);
}

/* --- errors are reported --- */

static void wrong_states_are_reported(void **state)
{
    static const struct {
        const char *value, *says;
    } cases[] = {
        {"", "state is empty"},
        {"x", "state \"x\" is not a number"},
        {"9", "state \"9\" is too large"},
        {"0", "the frontend's state is Unknown"},
        {"2", "the frontend's state is one of a backend"},
        {"7", "the frontend's state is one of a backend"},
        {"\x1b[2J\nfoo: \"bar\"", "state \"?[2J?foo: ?bar?\" is not a number"},
        {"a value that is longer than a message shows", "state \"a value that is long...\" is not"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        puppet_start_created(NULL);
        puppet_front(cases[i].value);
        assert_non_null(strstr(dgm_sim_last_log(), cases[i].says));
        assert_non_null(strstr(dgm_sim_last_log(), "vbd 3/51712: "));
        assert_non_null(strstr(puppet_value(PUPPET_ERROR "/error"), cases[i].says));
        const uint64_t lines = dgm_sim_log_lines();

        dgm_xenbus_update(&puppet.device); /* the same state is reported once */
        assert_int_equal(dgm_sim_log_lines(), lines);
        puppet_stop_created(NULL);
    }
    puppet_start_created(NULL);
    assert_int_equal(dgm_xs_rm(puppet.xs, PUPPET_FRONT "/state"), DGM_OK);
    puppet_run();
    assert_non_null(strstr(dgm_sim_last_log(), "state is missing"));
    puppet_stop_created(NULL);
}

/* A frontend that fails, closes and starts again as fast as it can. */
static void the_log_is_limited(void **state)
{
    const uint64_t lines = dgm_sim_log_lines();

    puppet.connect_status = DGM_EINVAL;
    for (unsigned i = 0; i < 1000; i++) {
        puppet_front("3");
        puppet_front(i % 3 ? "6" : i % 2 ? "x" : "7");
        puppet_front("6");
        puppet_front("1");
    }
    assert_int_equal(dgm_sim_log_lines() - lines, DGM_LOG_LIMIT_BURST);
    assert_true(puppet.log.suppressed_total >= 1000);
    assert_string_equal(puppet_value(PUPPET_ERROR "/error"), "-22 the puppet says no");
}

/* --- numbers --- */

static void numbers_as_sscanf_reads_them(void **state)
{
    static const struct {
        const char *value;
        uint64_t max;
        int status;
        uint64_t number;
        const char *reason;
    } cases[] = {
        {"0", UINT32_MAX, DGM_OK, 0, NULL},
        {"7", UINT32_MAX, DGM_OK, 7, NULL},
        {"4294967295", UINT32_MAX, DGM_OK, UINT32_MAX, NULL},
        {"18446744073709551615", UINT64_MAX, DGM_OK, UINT64_MAX, NULL},
        {" 8", UINT32_MAX, DGM_OK, 8, NULL},
        {" \t\n\v\f\r8", UINT32_MAX, DGM_OK, 8, NULL},
        {"8 ", UINT32_MAX, DGM_OK, 8, NULL},
        {"8\n", UINT32_MAX, DGM_OK, 8, NULL},
        {"+8", UINT32_MAX, DGM_OK, 8, NULL},
        {"0008", UINT32_MAX, DGM_OK, 8, NULL},
        {"00000000000000000000000000000000000000000000000008", UINT32_MAX, DGM_OK, 8, NULL},
        {"8 pages", UINT32_MAX, DGM_OK, 8, NULL},
        {"0x10", UINT32_MAX, DGM_OK, 0, NULL},
        {"8,9", UINT32_MAX, DGM_OK, 8, NULL},
        {"", UINT32_MAX, DGM_EINVAL, 0, "ring-ref is empty"},
        {" ", UINT32_MAX, DGM_EINVAL, 0, "ring-ref \" \" is not a number"},
        {"-1", UINT32_MAX, DGM_EINVAL, 0, "ring-ref \"-1\" is not a number"},
        {"+-1", UINT32_MAX, DGM_EINVAL, 0, "ring-ref \"+-1\" is not a number"},
        {"++1", UINT32_MAX, DGM_EINVAL, 0, "ring-ref \"++1\" is not a number"},
        {"+ 1", UINT32_MAX, DGM_EINVAL, 0, "ring-ref \"+ 1\" is not a number"},
        {"eight", UINT32_MAX, DGM_EINVAL, 0, "ring-ref \"eight\" is not a number"},
        {"4294967296", UINT32_MAX, DGM_ERANGE, 0, "ring-ref \"4294967296\" is too large"},
        {"18446744073709551616", UINT64_MAX, DGM_ERANGE, 0,
         "ring-ref \"18446744073709551616\" is too large"},
        {"9999999999999999999999999999999999999999", UINT64_MAX, DGM_ERANGE, 0,
         "ring-ref \"99999999999999999999...\" is too large"},
        {"3", 2, DGM_ERANGE, 0, "ring-ref \"3\" is too large"},
        {"1", 0, DGM_ERANGE, 0, "ring-ref \"1\" is too large"},
        {"10", 9, DGM_ERANGE, 0, "ring-ref \"10\" is too large"},
        {"0", 0, DGM_OK, 0, NULL},
    };
    char large[1024];
    uint64_t number;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        number = 77;
        assert_int_equal(dgm_xs_write(puppet.xs, (struct dgm_xs_entry){PUPPET_FRONT "/ring-ref",
                                                                       cases[i].value}),
                         DGM_OK);
        print_message("# %s\n", cases[i].value);
        assert_int_equal(dgm_xenbus_read_number(&puppet.device, "ring-ref", cases[i].max, &number),
                         cases[i].status);
        assert_int_equal(number, cases[i].status ? 77 : cases[i].number);
        if (cases[i].reason)
            assert_string_equal(puppet.device.reason, cases[i].reason);
    }
    assert_int_equal(dgm_xenbus_read_number(&puppet.device, "nothing", 1, &number), DGM_ENOENT);
    assert_string_equal(puppet.device.reason, "nothing is missing");
    memset(large, '0', sizeof large);
    large[sizeof large - 1] = '\0';
    assert_int_equal(
        dgm_xs_write(puppet.xs, (struct dgm_xs_entry){PUPPET_FRONT "/ring-ref", large}), DGM_OK);
    assert_int_equal(dgm_xenbus_read_number(&puppet.device, "ring-ref", 1, &number), DGM_EINVAL);
    assert_string_equal(puppet.device.reason, "ring-ref is too long for a number");
}

/* A state, too, in each of these forms. */
static void states_as_sscanf_reads_them(void **state)
{
    static const char *const forms[] = {"3", " 3", "3\n", "03", "+3", "3 Initialised"};

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        puppet_start_created(NULL);
        puppet_front(forms[i]);
        expect_back("4");
        puppet_stop_created(NULL);
    }
}

/* --- permissions --- */

/* Checks each access of `domid` to the node: allowed or refused. */
static void expect_rights(const char *path, domid_t domid, bool reads, bool writes)
{
    const struct dgm_xs_caller caller = {
        .domid = domid, .account = (uint8_t)dgm_xs_account_open(&puppet.xs->heap, domid)};
    struct dgm_xs_perms perms = {.entry = {{domid, DGM_XS_READ}}, .count = 1};
    struct dgm_xs_node *node;
    char below[160];

    print_message("# domain %u on %s\n", domid, path);
    assert_int_equal(dgm_xs_store_find(puppet.xs, &caller, path, DGM_XS_READ, &node),
                     reads ? DGM_OK : DGM_EACCES);
    assert_int_equal(dgm_xs_store_find(puppet.xs, &caller, path, DGM_XS_WRITE, &node),
                     writes ? DGM_OK : DGM_EACCES);
    if (writes)
        return;
    snprintf(below, sizeof below, "%s/new", path);
    assert_int_equal(dgm_xs_store_write(puppet.xs, &caller, (struct dgm_xs_entry){path, "4"}, 1),
                     DGM_EACCES);
    assert_int_equal(dgm_xs_store_write(puppet.xs, &caller, (struct dgm_xs_entry){below, "4"}, 1),
                     DGM_EACCES);
    assert_int_equal(dgm_xs_store_mkdir(puppet.xs, &caller, below), DGM_EACCES);
    assert_int_equal(dgm_xs_store_rm(puppet.xs, &caller, path), DGM_EACCES);
    assert_int_equal(dgm_xs_store_set_perms(puppet.xs, &caller, path, &perms), DGM_EACCES);
}

/* The guest reads its backend's nodes and writes none; another guest does neither. */
static void only_we_write_the_backend(void **state)
{
    static const char *const ours[] = {
        PUPPET_BACK,           PUPPET_BACK "/state",       PUPPET_BACK "/frontend",
        PUPPET_BACK "/online", PUPPET_BACK "/frontend-id", PUPPET_BACK "/feature-test"};
    static const char *const theirs[] = {PUPPET_FRONT, PUPPET_FRONT "/state",
                                         PUPPET_FRONT "/backend"};

    puppet_front("3");
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        expect_rights(ours[i], PUPPET_GUEST, true, false);
        expect_rights(ours[i], PUPPET_GUEST + 1, false, false);
    }
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++) {
        expect_rights(theirs[i], PUPPET_GUEST, true, true);
        expect_rights(theirs[i], PUPPET_GUEST + 1, false, false);
    }
    dgm_xenbus_fail(&puppet.device, DGM_EPROTO, "to have an error node");
    expect_rights(PUPPET_ERROR "/error", PUPPET_GUEST, false, false);
    expect_rights("/local/domain/0/backend", PUPPET_GUEST, false, false);
    puppet_release();
    expect_rights(PUPPET_BACK "/state", PUPPET_GUEST, true, false); /* rewritten since */
}

#define CREATED(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, puppet_start_created, puppet_stop_created)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_of_states),
        cmocka_unit_test(every_pair_of_states),
        CREATED(after_a_failure),
        CREATED(a_failure_waits_for_the_frontend),
        cmocka_unit_test(wrong_states_are_reported),
        CREATED(the_log_is_limited),
        CREATED(numbers_as_sscanf_reads_them),
        cmocka_unit_test(states_as_sscanf_reads_them),
        CREATED(only_we_write_the_backend),
    };

    return cmocka_run_group_tests_name("xenbus frontends", tests, NULL, NULL);
}
