/* SPDX-License-Identifier: MIT */
/*
 * flood: guests that repeat one operation without a pause
 *
 * Each habit uses a shared resource up to its limit: the work of xenstore, connections, event
 * channels, the log. fairness.c checks the requests of the other guests meanwhile.
 */
#include <sim/machine/machine.h>

#include <dragoman/xenstore/xenstore.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/io/protocols.h>
#include <xen/io/xenbus.h>

/* --- xenstore --- */

/* The expensive requests: at each limit of dgm_xs_limits_default and of the store. */
#define DEEP_LEVELS  (DGM_XS_LEVELS_MAX - 4) /* below /local/domain/N */
#define WIDE_NODES   120u
#define WATCHES      128u
#define TRANSACTIONS 10u

/* Sends a request and drops the reply. No effect at the end of the run. */
static void send_message(struct sim_guest *guest, uint32_t type, uint32_t tx, const void *payload,
                         size_t bytes)
{
    if (!sim.ending && !guest->may_end)
        xs_post(guest, type, tx, payload, bytes);
}

static void deep_path(char *path)
{
    size_t length = (size_t)sprintf(path, "data");

    for (unsigned level = 1; level < DEEP_LEVELS; level++)
        length += (size_t)sprintf(path + length, "/%u-levels-down", level);
}

static void make_and_remove_deep_trees(struct sim_guest *guest)
{
    char path[DGM_XS_PATH_MAX];

    deep_path(path);
    for (unsigned i = 0; i < 20; i++) {
        send_message(guest, XS_MKDIR, 0, path, strlen(path) + 1);
        send_message(guest, XS_RM, 0, "data/1-levels-down", sizeof "data/1-levels-down");
    }
}

/* Many nodes with many watches change together: by the removal of a subtree, and by commits. */
static void change_watched_nodes(struct sim_guest *guest, unsigned nodes)
{
    char payload[64];

    for (unsigned i = 0; i < nodes; i++)
        send_message(guest, XS_WRITE, 0, payload,
                     (size_t)sprintf(payload, "data/wide/%u%cv", i, '\0'));
    send_message(guest, XS_RM, 0, "data/wide", sizeof "data/wide");
}

static void commit_watched_nodes(struct sim_guest *guest, unsigned nodes)
{
    uint32_t transactions[TRANSACTIONS];
    unsigned count = 0;
    char payload[64];

    while (count < TRANSACTIONS && xs_call(guest, XS_TRANSACTION_START, 0, "", 1) > 0)
        transactions[count++] = (uint32_t)strtoul(guest->xs.reply.payload, NULL, 10);
    for (unsigned t = 0; t < count; t++)
        for (unsigned i = 0; i < nodes / TRANSACTIONS; i++)
            send_message(guest, XS_WRITE, transactions[t], payload,
                         (size_t)sprintf(payload, "data/commit/%u-%u%cv", t, i, '\0'));
    for (unsigned t = 0; t < count; t++)
        send_message(guest, XS_TRANSACTION_END, transactions[t], "T", 2);
    send_message(guest, XS_RM, 0, "data/commit", sizeof "data/commit");
}

static void flood_xenstore(struct sim_guest *guest)
{
    char token[16];

    for (unsigned i = 0; i < WATCHES; i++) {
        sprintf(token, "%u", i);
        (void)xs_watch(guest, "data", token);
    }
    while (!guest->may_end && !sim.ending) {
        make_and_remove_deep_trees(guest);
        change_watched_nodes(guest, WIDE_NODES);
        commit_watched_nodes(guest, WIDE_NODES);
    }
}

/* --- the handshake --- */

static void write_key(struct front *front, const char *key, const char *value)
{
    char path[128];

    front_path(front, false, key, path);
    (void)xs_write(front->guest, 0, path, value);
}

static void write_number(struct front *front, const char *key, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    write_key(front, key, text);
}

/* Whether the backend soon reaches the state. */
static bool backend_reaches(struct front *front, long long state)
{
    for (unsigned tries = 0; tries < 2000 && !front->guest->may_end; tries++) {
        if (front_backend_state(front) == state)
            return true;
        guest_sleep(front->guest, 5 * US);
    }
    return false;
}

static bool connect_front(struct front *front)
{
    write_number(front, "state", XenbusStateInitialising);
    if (!backend_reaches(front, XenbusStateInitWait))
        return false;
    front_share(front);
    write_number(front, "ring-ref", front->ring_refs[0]);
    write_number(front, "event-channel", front->port);
    write_key(front, "protocol", XEN_IO_PROTO_ABI_ARM);
    write_number(front, "state", XenbusStateInitialised);
    return backend_reaches(front, XenbusStateConnected);
}

/* The ring's page is not reused while Dragoman may still have it mapped; its keys are removed. */
static void unshare_ring(struct front *front)
{
    if (!front->port)
        return;
    front_ungrant_ring(front);
    dgm_hv_guest_close(front->guest->domid, front->port);
    front->port = 0;
}

static void reconnect_front(struct front *front)
{
    const bool suddenly = rng_below(&front->guest->rng, 2);

    (void)connect_front(front);
    if (!suddenly) {
        write_number(front, "state", XenbusStateClosing);
        write_number(front, "state", XenbusStateClosed);
        (void)backend_reaches(front, XenbusStateClosed);
    } else {
        write_number(front, "state", XenbusStateInitialising);
        (void)backend_reaches(front, XenbusStateInitWait);
    }
    unshare_ring(front);
}

/* Each round is refused; without the limit each would cause a log line. */
static void connect_with_nonsense(struct front *front)
{
    static const struct {
        const char *key, *value;
    } nonsense[] = {
        {"ring-ref", "-8"},         {"ring-ref", "4294967304"}, {"ring-ref", "77777"},
        {"event-channel", "none"},  {"event-channel", "70000"}, {"ring-page-order", "99"},
        {"protocol", "x86_32-abi"}, {"state", "nonsense"},      {"multi-queue-num-queues", "9"},
    };
    const unsigned which =
        (unsigned)rng_below(&front->guest->rng, sizeof nonsense / sizeof nonsense[0]);
    char path[128];

    write_number(front, "state", XenbusStateInitialising);
    write_key(front, "ring-ref", "8");
    write_key(front, "event-channel", "1");
    write_key(front, nonsense[which].key, nonsense[which].value);
    if (strcmp(nonsense[which].key, "state") != 0)
        write_number(front, "state", XenbusStateInitialised);
    (void)backend_reaches(front, XenbusStateClosing);
    front_path(front, false, nonsense[which].key, path);
    (void)xs_call(front->guest, XS_RM, 0, path, strlen(path) + 1);
    write_number(front, "state", XenbusStateClosed);
    (void)backend_reaches(front, XenbusStateClosed);
}

/* --- events --- */

static void flood_events(struct sim_guest *guest)
{
    struct front *front = &guest->fronts[0];

    (void)connect_front(front);
    while (!guest->may_end && !sim.ending) {
        if (front->port)
            dgm_hv_guest_send(guest->domid, front->port);
        xs_kick(guest);
        guest_sleep(guest, rng_range(&guest->rng, 100, 1000));
    }
    unshare_ring(front);
}

void flood_life(struct sim_guest *guest)
{
    struct front *front = &guest->fronts[0];

    guest->doing = "floods";
    if (guest->habit == HABIT_XENSTORE)
        flood_xenstore(guest);
    else if (guest->habit == HABIT_EVENTS)
        flood_events(guest);
    while (!guest->may_end && !sim.ending) {
        if (guest->habit == HABIT_RECONNECT)
            reconnect_front(front);
        else
            connect_with_nonsense(front);
        guest->sessions++;
    }
    while (!guest->may_end)
        guest_sleep(guest, 2 * MS);
}
