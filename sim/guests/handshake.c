/* SPDX-License-Identifier: MIT */
/*
 * handshake: the states of xenbus of an honest guest's block frontend, in Linux's order
 */
#include <sim/guests/xenbus.h>
#include <sim/machine/machine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/io/protocols.h>
#include <xen/io/xenbus.h>

static struct frontend frontend_of(const struct front *front)
{
    return (struct frontend){.guest = front->guest, .type = "vbd", .number = front->number};
}

void front_path(const struct front *front, bool backend, const char *key, char *path)
{
    const struct frontend frontend = frontend_of(front);

    frontend_path(&frontend, backend, key, path);
}

static long long read_key(const struct front *front, bool backend, const char *key)
{
    const struct frontend frontend = frontend_of(front);

    return frontend_read_key(&frontend, backend, key);
}

long long front_backend_state(struct front *front)
{
    return read_key(front, true, "state");
}

static bool set_state(struct front *front, uint64_t state)
{
    const struct frontend frontend = frontend_of(front);

    return frontend_set_state(&frontend, state);
}

bool front_wait_state(struct front *front, long long a, long long b)
{
    const struct frontend frontend = frontend_of(front);

    return frontend_wait_state(&frontend, a, b, sim_patience_ns(front));
}

/* The keys of the ring; their number. */
static size_t ring_keys(const struct front *front, struct frontend_key *keys)
{
    static const char *const names[FRONT_RING_PAGES] = {"ring-ref0", "ring-ref1", "ring-ref2",
                                                        "ring-ref3"};
    size_t count = 0;

    if (front->ring_order == 0) {
        keys[count++] = (struct frontend_key){"ring-ref", front->ring_refs[0], NULL};
        return count;
    }
    keys[count++] = (struct frontend_key){"ring-page-order", front->ring_order, NULL};
    for (unsigned i = 0; i < 1u << front->ring_order; i++)
        keys[count++] = (struct frontend_key){names[i], front->ring_refs[i], NULL};
    return count;
}

/* Removes the key that would make this ring's keys those of a ring of several pages, if an earlier
 * connection has written it. */
static void forget_order(struct front *front)
{
    char path[128];

    if (front->order_written && front->ring_order == 0) {
        front_path(front, false, "ring-page-order", path);
        (void)xs_call(front->guest, XS_RM, 0, path, strlen(path) + 1);
    }
    front->order_written = front->ring_order != 0;
}

static bool write_details(struct front *front)
{
    const struct frontend frontend = frontend_of(front);
    struct frontend_key keys[1 + FRONT_RING_PAGES + 3];
    size_t count = ring_keys(front, keys);

    keys[count++] = (struct frontend_key){"event-channel", front->port, NULL};
    keys[count++] = (struct frontend_key){"protocol", 0, XEN_IO_PROTO_ABI_ARM};
    /* Some guests that know no persistent grants write no key. */
    if (front->knows_persistent || front->guest->domid % 2)
        keys[count++] = (struct frontend_key){"feature-persistent", front->knows_persistent, NULL};
    forget_order(front);
    return frontend_write_keys(&frontend, keys, count);
}

static void read_disk(struct front *front)
{
    const long long sectors = read_key(front, true, "sectors");
    const long long block = read_key(front, true, "sector-size");
    const long long segments = read_key(front, true, "feature-max-indirect-segments");

    SIM_CHECK(sectors == (long long)front->model.sectors && (block == 512 || block == 4096),
              "guest %u: a disk of %lld sectors, blocks of %lld bytes", front->guest->domid,
              sectors, block);
    front->block_sectors = (uint32_t)block / SECTOR;
    front->segments_max = segments > 11 ? (uint32_t)segments : 11;
    if (front->segments_max > 256)
        front->segments_max = 256;
    if (front->segments_max > 32 && front->guest->domid % 2)
        front->segments_max = 32; /* as Linux does by default */
    front->flush = read_key(front, true, "feature-flush-cache") == 1;
    front->persistent = front->knows_persistent && read_key(front, true, "feature-persistent") == 1;
}

bool front_connect(struct front *front)
{
    struct sim_guest *guest = front->guest;
    const uint64_t faults = guest->faults;

    guest->doing = "waits for InitWait";
    (void)front_wait_state(front, XenbusStateInitWait, XenbusStateInitWait);
    const long long most = read_key(front, true, "max-ring-page-order");

    front_draw_order(front, most > 0 ? (unsigned)most : 0);
    front_share(front);
    if (!write_details(front))
        return false;
    set_state(front, XenbusStateInitialised);
    guest->doing = "waits for Connected";
    if (!front_wait_state(front, XenbusStateConnected, XenbusStateClosing)) {
        /* A disk that pauses for longer than the backend waits keeps frames of the last connection
         * in quarantine, and the backend serves no new connection until the disk returns them. */
        const bool quarantined = sim_back_of(front) && sim_back_of(front)->quarantined;

        SIM_CHECK(guest->faults != faults || quarantined,
                  "guest %u: the backend closes for no reason", guest->domid);
        guest->failed_attempts++;
        guest->doing = "closes after a failure";
        set_state(front, XenbusStateClosed);
        (void)front_wait_state(front, XenbusStateClosed, XenbusStateClosed);
        front_unshare(front);
        set_state(front, XenbusStateInitialising);
        return false;
    }
    read_disk(front);
    set_state(front, XenbusStateConnected);
    front->connected = true;
    front->connected_at = model_moment(&front->model);
    front->lost_at = 0;
    front->left_ns = 0;
    front->stopping = false;
    NOTE("guest %llu: connected, %llu segments, blocks of %llu sectors, persistent grants: %llu",
         guest->domid, front->segments_max, front->block_sectors, front->persistent);
    return true;
}

bool front_close(struct front *front)
{
    struct sim_guest *guest = front->guest;

    guest->doing = "closes";
    front->left_ns = sim_now();
    set_state(front, XenbusStateClosing);
    (void)front_wait_state(front, XenbusStateClosing, XenbusStateClosing);
    front->connected = false;
    set_state(front, XenbusStateClosed);
    (void)front_wait_state(front, XenbusStateClosed, XenbusStateClosed);
    front_drop_all(front);
    front_unshare(front);
    return true;
}

/* Acts like a guest that was resumed, or starts another kernel: state 1, without closing the old
 * connection. */
bool front_restart(struct front *front)
{
    struct sim_guest *guest = front->guest;

    guest->doing = "restarts";
    front->connected = false;
    front->left_ns = sim_now();
    set_state(front, XenbusStateInitialising);
    (void)front_wait_state(front, XenbusStateInitWait, XenbusStateInitWait);
    front_drop_all(front);
    front_unshare(front);
    return true;
}

/* As Linux does after a driver was unbound (xenbus_reset_frontend). */
void front_reopen(struct front *front)
{
    front->guest->doing = "opens again";
    set_state(front, XenbusStateInitialising);
}
