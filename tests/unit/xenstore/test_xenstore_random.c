/* SPDX-License-Identifier: MIT */
/*
 * xenstore beside a naive twin: three guests ask at random, in and out of transactions, and each
 * answer must be the twin's. The twin is a flat list of paths, searched from end to end; a
 * transaction of its is a list of the same kind of what was touched. After each request all
 * invariants of the store are asserted; at the end everything is removed and all memory must be
 * back.
 *
 * DRAGOMAN_SEED and DRAGOMAN_STEPS choose another run or a longer one.
 */
#include "xenstore_rig.h"

#define GUESTS 3
#define PATHS  400
#define OPEN   3 /* transactions of one guest */

struct entry {
    char path[64];
    char value[16];
    bool exists;
    struct dgm_xs_perms perms;
    unsigned generation; /* of the store's; in a transaction, when first touched, 0: none */
    unsigned children;   /* generation of the set of children */
    bool read, listed, dirty, opaque, hidden; /* in a transaction */
};

struct list {
    struct entry entries[PATHS];
    unsigned count;
};

static struct list store;
static unsigned generation;
static struct twin_transaction {
    uint32_t id; /* 0: none */
    struct list list;
} transactions[GUESTS][OPEN];

static struct entry *find(struct list *list, const char *path)
{
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->entries[i].path, path) == 0)
            return &list->entries[i];
    return NULL;
}

static struct entry *add(struct list *list, const char *path)
{
    struct entry *const entry = &list->entries[list->count++];

    assert_true(list->count < PATHS);
    memset(entry, 0, sizeof *entry);
    strcpy(entry->path, path);
    return entry;
}

/* `parent` may be `path` itself. */
static void parent_of(const char *path, char *parent)
{
    memmove(parent, path, strlen(path) + 1);
    *strrchr(parent, '/') = '\0';
    if (!parent[0])
        strcpy(parent, "/");
}

static bool is_below(const char *path, const char *top)
{
    return strncmp(path, top, strlen(top)) == 0 && path[strlen(top)] == '/';
}

/* The part of `path` with `depth` names. */
static bool prefix_of(const char *path, unsigned depth, char *prefix)
{
    size_t i = 0;

    strcpy(prefix, "/");
    for (; depth; depth--) {
        if (!path[i])
            return false;
        for (i++; path[i] && path[i] != '/'; i++)
            ;
    }
    if (i)
        sprintf(prefix, "%.*s", (int)i, path);
    return true;
}

/* Copies a path, name by name, into a transaction. */
static void touch(struct list *list, const char *path)
{
    char prefix[64];
    bool hidden = false;

    for (unsigned depth = 0; prefix_of(path, depth, prefix); depth++) {
        struct entry *entry = find(list, prefix);
        const struct entry *const base = find(&store, prefix);

        if (!entry) {
            entry = add(list, prefix);
            if (base && !hidden) {
                *entry = *base;
                entry->read = entry->listed = entry->dirty = entry->opaque = entry->hidden = false;
            }
            entry->hidden = hidden;
        }
        hidden = hidden || entry->opaque;
        if (strcmp(prefix, path) == 0)
            break;
    }
}

static unsigned rights(const struct entry *entry, domid_t domid)
{
    if (entry->perms.entry[0].domid == domid)
        return 7;
    for (unsigned i = 1; i < entry->perms.count; i++)
        if (entry->perms.entry[i].domid == domid)
            return entry->perms.entry[i].rights;
    return entry->perms.entry[0].rights;
}

/* The nearest that exists, from the path upward. */
static struct entry *nearest(struct list *list, const char *path)
{
    char at[64];
    struct entry *entry;

    for (strcpy(at, path);; parent_of(at, at)) {
        entry = find(list, at);
        if (entry && entry->exists)
            return entry;
    }
}

static void bump(struct list *list, const char *path)
{
    if (list == &store)
        find(list, path)->generation = ++generation;
}

static void bump_parent(struct list *list, const char *path)
{
    char parent[64];

    parent_of(path, parent);
    if (list == &store)
        find(list, parent)->children = ++generation;
}

static const char *status_of(struct list *list, domid_t domid, const char *path, unsigned right)
{
    struct entry *entry;

    if (list != &store)
        touch(list, path);
    entry = nearest(list, path);
    entry->read = true;
    if (find(list, path))
        find(list, path)->read = true;
    if ((rights(entry, domid) & right) != right)
        return "!EACCES";
    return strcmp(entry->path, path) ? "!ENOENT" : "OK|";
}

static void create(struct list *list, domid_t domid, const char *path)
{
    const size_t there = strlen(nearest(list, path)->path);
    char prefix[64], parent[64];

    for (unsigned depth = 1; prefix_of(path, depth, prefix); depth++) {
        struct entry *entry = find(list, prefix);

        if (strlen(prefix) <= there)
            continue;
        if (!entry)
            entry = add(list, prefix);
        parent_of(prefix, parent);
        entry->exists = entry->dirty = entry->read = true;
        entry->value[0] = '\0';
        entry->perms = find(list, parent)->perms;
        entry->perms.entry[0].domid = domid;
        bump(list, prefix);
        bump_parent(list, prefix);
    }
}

static void remove_entries(struct list *list, const char *path)
{
    if (list == &store) {
        bump_parent(list, path);
        for (unsigned i = 0; i < list->count;)
            if (strcmp(list->entries[i].path, path) == 0 || is_below(list->entries[i].path, path))
                memmove(&list->entries[i], &list->entries[i + 1],
                        (--list->count - i) * sizeof list->entries[0]);
            else
                i++;
        return;
    }
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->entries[i].path, path) == 0 || is_below(list->entries[i].path, path)) {
            list->entries[i].exists = false;
            list->entries[i].dirty = true;
        }
    find(list, path)->opaque = true;
}

static bool child_name(const char *path, const char *top, char *name)
{
    const char *const at = path + (top[1] ? strlen(top) : 0);

    if (!is_below(path, top) || strchr(at + 1, '/'))
        return false;
    strcpy(name, at + 1);
    return true;
}

/* Do the store's children shine through at `path`? */
static bool shines(struct list *list, const char *path)
{
    char at[64];

    for (strcpy(at, path);; parent_of(at, at)) {
        const struct entry *const entry = find(list, at);

        if (entry->opaque || !entry->generation)
            return false;
        if (!at[1])
            return find(&store, path) != NULL;
    }
}

static void directory(struct list *list, const char *path, char *names)
{
    const bool through = list != &store && shines(list, path);
    char name[64];

    names[0] = '\0';
    if (through) {
        find(list, path)->listed = true;
        for (unsigned i = 0; i < store.count; i++) {
            const struct entry *const own = find(list, store.entries[i].path);

            if (child_name(store.entries[i].path, path, name) && (!own || own->exists))
                sprintf(names + strlen(names), "%s|", name);
        }
    }
    for (unsigned i = 0; i < list->count; i++)
        if (list->entries[i].exists && child_name(list->entries[i].path, path, name) &&
            !(through && find(&store, list->entries[i].path)))
            sprintf(names + strlen(names), "%s|", name);
}

static const char *commit(struct list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        const struct entry *const entry = &list->entries[i];
        const struct entry *const base = find(&store, entry->path);

        if (entry->hidden)
            continue;
        if (entry->read && entry->generation != (base ? base->generation : 0))
            return "!EAGAIN";
        if (entry->listed && entry->generation && entry->children != base->children)
            return "!EAGAIN";
    }
    /* Parents come before children in no list of touched paths but by length. */
    for (size_t length = 1; length < 64; length++)
        for (unsigned i = 0; i < list->count; i++) {
            const struct entry *const entry = &list->entries[i];
            struct entry *base = find(&store, entry->path);

            if (strlen(entry->path) != length || !entry->dirty)
                continue;
            if (entry->opaque && base) {
                remove_entries(&store, entry->path);
                base = NULL;
            }
            if (!entry->exists)
                continue;
            if (!base) {
                base = add(&store, entry->path);
                base->exists = true;
                bump_parent(&store, entry->path);
            }
            strcpy(base->value, entry->value);
            base->perms = entry->perms;
            bump(&store, entry->path);
        }
    return "OK|";
}

/* --- one step --- */

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

/* Sorted, as the order of a directory that was changed in transactions is nobody's business. */
static int compare(const void *a, const void *b)
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
    qsort(parts, count, sizeof parts[0], compare);
    names[0] = '\0';
    for (size_t i = 0; i < count; i++)
        sprintf(names + strlen(names), "%s|", parts[i]);
}

static void step(struct guest *guest, unsigned number)
{
    static char got[4200], expected[4200], payload[256];
    struct twin_transaction *const ta = &transactions[guest->domid - 1][unit_below(OPEN)];
    const uint32_t tx = unit_chance(50) ? ta->id : 0;
    struct list *const list = tx ? &ta->list : &store;
    const unsigned what = (unsigned)unit_below(100);
    uint32_t type;
    char path[64];

    do /* nobody removes his home: he could not make it again */
        random_path(guest->domid, path);
    while (what >= 58 && what < 68 && (strlen(path) == 15 || strlen(path) == 7));
    if (what < 25) {
        type = XS_READ;
        sprintf(payload, "%s|", path);
        strcpy(expected, status_of(list, guest->domid, path, DGM_XS_READ));
        if (expected[0] == 'O')
            strcpy(expected, find(list, path)->value);
    } else if (what < 50) {
        type = XS_WRITE;
        sprintf(payload, "%s|%u", path, number % 7 ? number : 0);
        strcpy(expected, status_of(list, guest->domid, path, DGM_XS_WRITE));
        if (strcmp(expected, "!ENOENT") == 0) {
            create(list, guest->domid, path);
            strcpy(expected, "OK|");
        }
        if (expected[0] == 'O') {
            strcpy(find(list, path)->value, strchr(payload, '|') + 1);
            find(list, path)->dirty = true;
            bump(list, path);
        }
    } else if (what < 58) {
        type = XS_MKDIR;
        sprintf(payload, "%s|", path);
        strcpy(expected, status_of(list, guest->domid, path, DGM_XS_WRITE));
        if (strcmp(expected, "!ENOENT") == 0) {
            create(list, guest->domid, path);
            strcpy(expected, "OK|");
        }
    } else if (what < 68) {
        char parent[64];

        type = XS_RM;
        sprintf(payload, "%s|", path);
        strcpy(expected, status_of(list, guest->domid, path, DGM_XS_WRITE));
        if (expected[0] == 'O') {
            remove_entries(list, path);
        } else if (expected[3] == 'O') { /* ENOENT */
            parent_of(path, parent);
            if (status_of(list, 0, parent, 0)[0] == 'O')
                strcpy(expected, "OK|");
        }
    } else if (what < 78) {
        type = XS_DIRECTORY;
        sprintf(payload, "%s|", path);
        strcpy(expected, status_of(list, guest->domid, path, DGM_XS_READ));
        if (expected[0] == 'O')
            directory(list, path, expected);
    } else if (what < 88) {
        struct dgm_xs_perms perms;

        type = XS_SET_PERMS;
        sprintf(payload, "%s|%c%u|%c%u|", path, "nrwb"[unit_below(4)],
                unit_chance(90) ? guest->domid : (unsigned)unit_below(4), "nrwb"[unit_below(4)],
                (unsigned)unit_below(4));
        memset(&perms, 0, sizeof perms);
        for (const char *at = strchr(payload, '|') + 1; *at; at = strchr(at, '|') + 1) {
            perms.entry[perms.count].domid = (domid_t)atoi(at + 1);
            perms.entry[perms.count++].rights = (uint16_t)(strchr("nrwb", *at) - "nrwb");
        }
        strcpy(expected, status_of(list, guest->domid, path, DGM_XS_WRITE | DGM_XS_OWN));
        if (expected[0] == 'O' && find(list, path)->perms.entry[0].domid != perms.entry[0].domid)
            strcpy(expected, "!EPERM");
        if (expected[0] == 'O') {
            find(list, path)->perms = perms;
            find(list, path)->dirty = true;
            bump(list, path);
        }
    } else if (ta->id) {
        assert_string_equal(
            unit_chance(80)
                ? (strcpy(expected, commit(&ta->list)), end_transaction(guest, ta->id, "T|"))
                : (strcpy(expected, "OK|"), end_transaction(guest, ta->id, "F|")),
            expected);
        ta->id = 0;
        return;
    } else {
        memset(ta, 0, sizeof *ta);
        ta->id = start_transaction(guest);
        touch(&ta->list, "/");
        return;
    }
    strcpy(got, ask_in(guest, tx, type, payload));
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
    struct guest *guests[GUESTS];
    struct dgm_xs_counters counters;
    const uint64_t used = rig_used();
    char path[64];

    print_message("# seed %lu\n", unit_seed());
    add(&store, "/")->exists = true;
    add(&store, "/local")->exists = true;
    add(&store, "/local/domain")->exists = true;
    add(&store, "/shared")->exists = true;
    for (unsigned i = 0; i < store.count; i++)
        store.entries[i].perms.count = 1;
    store.entries[3].perms.entry[0].rights = DGM_XS_READ | DGM_XS_WRITE;
    dgm_xs_write(rig.xs, "/shared", "");
    dgm_xs_store_set_perms(rig.xs, &DGM_XS_DOM0, "/shared", &store.entries[3].perms);
    for (domid_t i = 0; i < GUESTS; i++) {
        struct entry *entry;

        guests[i] = guest_start((domid_t)(i + 1));
        sprintf(path, "/local/domain/%u", i + 1);
        entry = add(&store, path);
        entry->exists = true;
        entry->perms = (struct dgm_xs_perms){.entry = {{(domid_t)(i + 1), 0}, {0, 1}}, .count = 2};
    }
    for (unsigned i = 0; i < store.count; i++)
        store.entries[i].generation = store.entries[i].children = ++generation;
    for (unsigned i = 0; i < GUESTS; i++) {
        assert_reply(guests[i], XS_WATCH, "/|all|", "OK|");
        assert_reply(guests[i], XS_WATCH, "a|own|", "OK|");
    }
    for (unsigned number = 1; number <= steps; number++) {
        struct guest *const guest = guests[unit_below(GUESTS)];

        step(guest, number);
        for (unsigned i = 0; i < GUESTS; i++)
            guests[i]->event_count = 0;
        if (unit_chance(1) && unit_chance(10)) {
            dgm_xs_rm(rig.xs, "/shared/a");
            if (find(&store, "/shared/a"))
                remove_entries(&store, "/shared/a");
        }
    }
    dgm_xs_counters(rig.xs, &counters);
    print_message("# %lu requests, %lu refused, %lu events, %lu nodes at the end\n",
                  counters.requests, counters.errors, counters.watch_events, counters.nodes);
    assert_int_equal(counters.quota_refusals, 0);
    assert_int_equal(counters.nodes >= store.count, 1);
    for (domid_t i = 1; i <= GUESTS; i++)
        dgm_xs_release(rig.xs, i);
    dgm_xs_rm(rig.xs, "/local");
    dgm_xs_rm(rig.xs, "/shared");
    assert_int_equal(rig_used(), used);
}

/* Bytes without sense on three rings, in pieces without sense: nothing but replies and silence. */
static void nonsense(void **state)
{
    struct guest *guests[GUESTS];
    const uint64_t used = rig_used();
    static char bytes[4200];

    unit_seed();
    for (unsigned i = 0; i < GUESTS; i++)
        guests[i] = guest_start((domid_t)(i + 1));
    for (unsigned number = 0; number < 20000; number++) {
        struct guest *const guest = guests[unit_below(GUESTS)];
        struct xsd_sockmsg header = {
            .type = (uint32_t)unit_below(XS_TYPE_COUNT + 1),
            .tx_id = unit_chance(30) ? (uint32_t)unit_below(20) : 0,
            .len = (uint32_t)unit_below(unit_chance(10) ? 4097 : 40),
        };

        for (uint32_t i = 0; i < header.len; i++)
            bytes[i] = "abc/0T@-\0nrw"[unit_below(12)];
        if (unit_chance(60) && header.len)
            bytes[header.len - 1] = '\0';
        for (size_t sent = 0; sent < sizeof header + header.len;) {
            char *const from =
                sent < sizeof header ? (char *)&header + sent : bytes + (sent - sizeof header);
            const size_t end = sent < sizeof header ? sizeof header : sizeof header + header.len;

            sent += guest_put(guest, from, 1 + unit_below(end - sent));
            dgm_reactor_turn(&rig.reactor);
            guest->replied = false;
            guest_listen(guest);
        }
        rig_run();
        guest->replied = false;
        guest_listen(guest);
        guest->event_count = 0;
    }
    for (domid_t i = 1; i <= GUESTS; i++)
        dgm_xs_release(rig.xs, i);
    dgm_xs_rm(rig.xs, "/local");
    assert_int_equal(rig_used(), used);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_start, rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(beside_the_twin),
        TEST(nonsense),
    };

    return cmocka_run_group_tests_name("xenstore at random", tests, NULL, NULL);
}
