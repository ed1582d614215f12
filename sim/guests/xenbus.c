/* SPDX-License-Identifier: MIT */
/* xenbus: see xenbus.h. */
#include <sim/guests/xenbus.h>
#include <sim/machine/machine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 128

void frontend_path(const struct frontend *frontend, bool backend, const char *key, char *path)
{
    if (backend)
        snprintf(path, PATH_BYTES, "/local/domain/0/backend/%s/%u/%u%s%s", frontend->type,
                 frontend->guest->domid, frontend->number, *key ? "/" : "", key);
    else
        snprintf(path, PATH_BYTES, "/local/domain/%u/device/%s/%u%s%s", frontend->guest->domid,
                 frontend->type, frontend->number, *key ? "/" : "", key);
}

long long frontend_read_key(const struct frontend *frontend, bool backend, const char *key)
{
    char path[PATH_BYTES];

    frontend_path(frontend, backend, key, path);
    return xs_read_number(frontend->guest, 0, path);
}

bool frontend_set_state(const struct frontend *frontend, uint64_t state)
{
    struct sim_guest *guest = frontend->guest;
    char path[PATH_BYTES];

    frontend_path(frontend, false, "state", path);
    NOTE("guest %llu: state %llu", guest->domid, state);
    for (int tries = 0; tries < 50; tries++) {
        if (xs_call(guest, XS_TRANSACTION_START, 0, "", 1) < 0)
            return false;
        const uint32_t tx = (uint32_t)strtoul(guest->xs.reply.payload, NULL, 10);

        (void)xs_read_number(guest, tx, path);
        (void)xs_write_number(guest, tx, path, state);
        if (xs_call(guest, XS_TRANSACTION_END, tx, "T", 2) >= 0)
            return true;
        SIM_CHECK(strcmp(guest->xs.reply.payload, "EAGAIN") == 0,
                  "guest %u: a transaction ends with %s", guest->domid, guest->xs.reply.payload);
    }
    sim_fail("guest %u: a transaction never commits", guest->domid);
}

bool frontend_wait_state(const struct frontend *frontend, long long a, long long b,
                         uint64_t patience_ns)
{
    struct sim_guest *guest = frontend->guest;
    const uint64_t deadline_ns = sim_now() + patience_ns;

    for (;;) {
        guest->xs.fired = false;
        const long long state = frontend_read_key(frontend, true, "state");

        if (state == a || state == b)
            return state == a;
        if (sim.options.nth_kind == NTH_HYPERCALL && sim_now() > deadline_ns)
            guest_pause(guest); /* permanently */
        SIM_CHECK(sim_now() <= deadline_ns,
                  "guest %u waits for the state %lld of its %s's backend, and it stays at %lld",
                  guest->domid, a, frontend->type, state);
        while (!guest->xs.fired) {
            guest_sleep(guest, patience_ns); /* an event ends it early */
            xs_receive(guest);
            if (sim_now() > deadline_ns)
                break;
        }
    }
}

void frontend_write_key(const struct frontend *frontend, uint32_t tx,
                        const struct frontend_key *key)
{
    char path[PATH_BYTES];

    frontend_path(frontend, false, key->name, path);
    if (key->text)
        (void)xs_write(frontend->guest, tx, path, key->text);
    else
        (void)xs_write_number(frontend->guest, tx, path, key->number);
}

bool frontend_write_keys(const struct frontend *frontend, const struct frontend_key *keys,
                         size_t count)
{
    struct sim_guest *guest = frontend->guest;

    for (int tries = 0; tries < 50; tries++) {
        if (xs_call(guest, XS_TRANSACTION_START, 0, "", 1) < 0)
            return false;
        const uint32_t tx = (uint32_t)strtoul(guest->xs.reply.payload, NULL, 10);

        for (size_t i = 0; i < count; i++)
            frontend_write_key(frontend, tx, &keys[i]);
        if (xs_call(guest, XS_TRANSACTION_END, tx, "T", 2) >= 0)
            return true;
    }
    return false;
}
