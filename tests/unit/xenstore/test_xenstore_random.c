/* SPDX-License-Identifier: MIT */
/*
 * xenstore beside a naive twin: three guests send random requests, in and out of transactions, and
 * each reply must be the twin's. After each request all invariants of the store are asserted; at
 * the end everything is removed, and all memory must be free again.
 *
 * DRAGOMAN_SEED and DRAGOMAN_STEPS choose another run or a longer one.
 */
#include "xenstore_rig.h"
#include "xenstore_twin.h"

#define GUESTS 3
#define OPEN   3 /* transactions of one guest */

static struct twin_transaction {
    uint32_t id; /* 0: none */
    struct xs_twin_list list;
} transactions[GUESTS][OPEN];

static const char *random_path(domid_t domid, char *path)
{
    static const char *const names[] = {"a", "b", "c", "a-name-too-long-for-one-cell-alone"};
    const unsigned depth = (unsigned)unit_below(4);

    sprintf(path, "/local/domain/%u", unit_chance(70) ? domid : (unsigned)unit_below(GUESTS) + 1);
    if (unit_chance(10))
        strcpy(path, "/shared");
    for (unsigned i = 0; i < depth && strlen(path) < 28; i++)
        sprintf(path + strlen(path), "/%s", names[unit_below(i ? 3 : 4)]);
    return path;
}

/* Names are compared sorted: the order in a directory changed by transactions is not specified. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_names(char *names)
{
    char copy[4096];
    char *parts[256];
    size_t count = 0;

    strcpy(copy, names);
    for (char *part = strtok(copy, "|"); part; part = strtok(NULL, "|"))
        parts[count++] = part;
    qsort(parts, count, sizeof parts[0], compare_names);
    names[0] = '\0';
    for (size_t i = 0; i < count; i++)
        sprintf(names + strlen(names), "%s|", parts[i]);
}

static void do_random_step(struct xs_guest *guest, unsigned number)
{
    static char got[4200], expected[4200], payload[256];
    struct twin_transaction *const ta = &transactions[guest->domid - 1][unit_below(OPEN)];
    const uint32_t tx = unit_chance(50) ? ta->id : 0;
    struct xs_twin_list *const list = tx ? &ta->list : &xs_twin_store;
    const unsigned what = (unsigned)unit_below(100);
    uint32_t type;
    char path[64];

    do /* no guest removes its home: it could not create it again */
        random_path(guest->domid, path);
    while (what >= 58 && what < 68 && (strlen(path) == 15 || strlen(path) == 7));
    if (what < 25) {
        type = XS_READ;
        sprintf(payload, "%s|", path);
        strcpy(expected, xs_twin_status(list, guest->domid, path, DGM_XS_READ));
        if (expected[0] == 'O')
            strcpy(expected, xs_twin_find(list, path)->value);
    } else if (what < 50) {
        type = XS_WRITE;
        sprintf(payload, "%s|%u", path, number % 7 ? number : 0);
        strcpy(expected, xs_twin_status(list, guest->domid, path, DGM_XS_WRITE));
        if (strcmp(expected, "!ENOENT") == 0) {
            xs_twin_create(list, guest->domid, path);
            strcpy(expected, "OK|");
        }
        if (expected[0] == 'O') {
            strcpy(xs_twin_find(list, path)->value, strchr(payload, '|') + 1);
            xs_twin_find(list, path)->dirty = true;
            xs_twin_changed(list, path);
        }
    } else if (what < 58) {
        type = XS_MKDIR;
        sprintf(payload, "%s|", path);
        strcpy(expected, xs_twin_status(list, guest->domid, path, DGM_XS_WRITE));
        if (strcmp(expected, "!ENOENT") == 0) {
            xs_twin_create(list, guest->domid, path);
            strcpy(expected, "OK|");
        }
    } else if (what < 68) {
        char parent[64];

        type = XS_RM;
        sprintf(payload, "%s|", path);
        strcpy(expected, xs_twin_status(list, guest->domid, path, DGM_XS_WRITE));
        if (expected[0] == 'O') {
            xs_twin_remove(list, path);
        } else if (expected[3] == 'O') { /* ENOENT */
            xs_twin_parent(path, parent);
            if (xs_twin_status(list, 0, parent, 0)[0] == 'O')
                strcpy(expected, "OK|");
        }
    } else if (what < 78) {
        type = XS_DIRECTORY;
        sprintf(payload, "%s|", path);
        strcpy(expected, xs_twin_status(list, guest->domid, path, DGM_XS_READ));
        if (expected[0] == 'O')
            xs_twin_list(list, path, expected);
    } else if (what < 88) {
        struct dgm_xs_perms perms;

        type = XS_SET_PERMS;
        const unsigned owner = unit_chance(90) ? guest->domid : (unsigned)unit_below(4);
        const unsigned other = (unsigned)unit_below(4), rights = (unsigned)unit_below(16);

        sprintf(payload, "%s|%c%u|%c%u|", path, "nrwb"[rights % 4], owner, "nrwb"[rights / 4],
                other);
        memset(&perms, 0, sizeof perms);
        for (const char *at = strchr(payload, '|') + 1; *at; at = strchr(at, '|') + 1) {
            perms.entry[perms.count].domid = (domid_t)atoi(at + 1);
            perms.entry[perms.count++].rights = (uint16_t)(strchr("nrwb", *at) - "nrwb");
        }
        strcpy(expected, xs_twin_status(list, guest->domid, path, DGM_XS_WRITE | DGM_XS_OWN));
        if (expected[0] == 'O' &&
            xs_twin_find(list, path)->perms.entry[0].domid != perms.entry[0].domid)
            strcpy(expected, "!EPERM");
        if (expected[0] == 'O') {
            xs_twin_find(list, path)->perms = perms;
            xs_twin_find(list, path)->dirty = true;
            xs_twin_changed(list, path);
        }
    } else if (ta->id) {
        assert_string_equal(
            unit_chance(80) ? (strcpy(expected, xs_twin_commit(&ta->list)),
                               xs_end_transaction(guest, ta->id, "T|"))
                            : (strcpy(expected, "OK|"), xs_end_transaction(guest, ta->id, "F|")),
            expected);
        ta->id = 0;
        return;
    } else {
        memset(ta, 0, sizeof *ta);
        ta->id = xs_start_transaction(guest);
        xs_twin_touch(&ta->list, "/");
        return;
    }
    strcpy(got, xs_ask_in(guest, tx, type, payload));
    if (type == XS_DIRECTORY && got[0] != '!') {
        sort_names(got);
        sort_names(expected);
    }
    if (strcmp(got, expected) != 0)
        print_message("# step %u: domain %u tx %u type %u %s\n", number, guest->domid, tx, type,
                      payload);
    assert_string_equal(got, expected);
}

static void beside_the_twin(void **state)
{
    const char *const steps_text = getenv("DRAGOMAN_STEPS");
    const unsigned steps = steps_text ? (unsigned)atoi(steps_text) : 100000;
    struct xs_guest *guests[GUESTS];
    struct dgm_xs_counters counters;
    const uint64_t used = xs_rig_used();
    char path[64];

    print_message("# seed %lu\n", unit_seed());
    xs_twin_add(&xs_twin_store, "/")->exists = true;
    xs_twin_add(&xs_twin_store, "/local")->exists = true;
    xs_twin_add(&xs_twin_store, "/local/domain")->exists = true;
    xs_twin_add(&xs_twin_store, "/shared")->exists = true;
    for (unsigned i = 0; i < xs_twin_store.count; i++)
        xs_twin_store.entries[i].perms.count = 1;
    xs_twin_store.entries[3].perms.entry[0].rights = DGM_XS_READ | DGM_XS_WRITE;
    dgm_xs_write(xs_rig.xs, (struct dgm_xs_entry){"/shared", ""});
    dgm_xs_store_set_perms(xs_rig.xs, &DGM_XS_DOM0, "/shared", &xs_twin_store.entries[3].perms);
    for (domid_t i = 0; i < GUESTS; i++) {
        struct xs_twin_entry *entry;

        guests[i] = xs_guest_start((domid_t)(i + 1));
        sprintf(path, "/local/domain/%u", i + 1);
        entry = xs_twin_add(&xs_twin_store, path);
        entry->exists = true;
        entry->perms = (struct dgm_xs_perms){.entry = {{(domid_t)(i + 1), 0}, {0, 1}}, .count = 2};
    }
    xs_twin_stamp();
    for (unsigned i = 0; i < GUESTS; i++) {
        assert_reply(guests[i], XS_WATCH, "/|all|", "OK|");
        assert_reply(guests[i], XS_WATCH, "a|own|", "OK|");
    }
    for (unsigned number = 1; number <= steps; number++) {
        struct xs_guest *const guest = guests[unit_below(GUESTS)];

        do_random_step(guest, number);
        for (unsigned i = 0; i < GUESTS; i++)
            guests[i]->event_count = 0;
        if (unit_chance(1) && unit_chance(10)) {
            dgm_xs_rm(xs_rig.xs, "/shared/a");
            if (xs_twin_find(&xs_twin_store, "/shared/a"))
                xs_twin_remove(&xs_twin_store, "/shared/a");
        }
    }
    dgm_xs_counters(xs_rig.xs, &counters);
    print_message("# %lu requests, %lu refused, %lu events, %lu nodes at the end\n",
                  counters.requests, counters.errors, counters.watch_events, counters.nodes);
    assert_int_equal(counters.quota_refusals, 0);
    assert_int_equal(counters.nodes >= xs_twin_store.count, 1);
    for (domid_t i = 1; i <= GUESTS; i++)
        dgm_xs_release(xs_rig.xs, i);
    dgm_xs_rm(xs_rig.xs, "/local");
    dgm_xs_rm(xs_rig.xs, "/shared");
    assert_int_equal(xs_rig_used(), used);
}

/* Random bytes on three rings, in random pieces: every message gets a reply or ends the service. */
static void random_bytes_on_three_rings(void **state)
{
    struct xs_guest *guests[GUESTS];
    const uint64_t used = xs_rig_used();
    static char bytes[4200];

    unit_seed();
    for (unsigned i = 0; i < GUESTS; i++)
        guests[i] = xs_guest_start((domid_t)(i + 1));
    for (unsigned number = 0; number < 20000; number++) {
        struct xs_guest *const guest = guests[unit_below(GUESTS)];
        struct xsd_sockmsg header = {.type = (uint32_t)unit_below(XS_TYPE_COUNT + 1)};

        header.tx_id = unit_chance(30) ? (uint32_t)unit_below(20) : 0;
        header.len = (uint32_t)unit_below(unit_chance(10) ? 4097 : 40);
        for (uint32_t i = 0; i < header.len; i++)
            bytes[i] = "abc/0T@-\0nrw"[unit_below(12)];
        if (unit_chance(60) && header.len)
            bytes[header.len - 1] = '\0';
        for (size_t sent = 0; sent < sizeof header + header.len;) {
            char *const from =
                sent < sizeof header ? (char *)&header + sent : bytes + (sent - sizeof header);
            const size_t end = sent < sizeof header ? sizeof header : sizeof header + header.len;

            sent += xs_guest_put(guest, from, 1 + unit_below(end - sent));
            dgm_reactor_turn(&xs_rig.reactor);
            guest->replied = false;
            xs_guest_listen(guest);
        }
        xs_rig_run();
        guest->replied = false;
        xs_guest_listen(guest);
        guest->event_count = 0;
    }
    for (domid_t i = 1; i <= GUESTS; i++)
        dgm_xs_release(xs_rig.xs, i);
    dgm_xs_rm(xs_rig.xs, "/local");
    assert_int_equal(xs_rig_used(), used);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, xs_rig_start, xs_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(beside_the_twin),
        TEST(random_bytes_on_three_rings),
    };

    return cmocka_run_group_tests_name("xenstore at random", tests, NULL, NULL);
}
