/* SPDX-License-Identifier: MIT */
/*
 * hostile_xs: a hostile guest's attacks on xenstore: invalid keys, requests at the server's limits
 * and beyond, bytes that are no messages
 */
#include <sim/machine/machine.h>

#include <stdio.h>
#include <string.h>

void hostile_write_nonsense(struct sim_guest *guest)
{
    static const char *const keys[] = {
        "state",           "ring-ref", "event-channel",     "protocol", "multi-queue-num-queues",
        "ring-page-order", "state",    "feature-persistent"};
    static const char *const values[] = {"",    "-1", "4294967296", "7", "99999999999999999999999",
                                         "0x4", " 4", "4 ",         "1", "3",
                                         "4",   "5",  "6",          "x", "2"};
    char path[128];

    front_path(&guest->fronts[0], false, keys[rng_below(&guest->rng, sizeof keys / sizeof *keys)],
               path);
    (void)xs_write(guest, 0, path, values[rng_below(&guest->rng, sizeof values / sizeof *values)]);
}

/* A path of many levels, most often too many, made by one request and removed by another. */
static void deep_tree(struct sim_guest *guest)
{
    char path[3000] = "data";
    size_t length = 4;

    for (uint64_t levels = rng_range(&guest->rng, 1, 1400); levels; levels--) {
        path[length++] = '/';
        path[length++] = 'a';
    }
    path[length] = 0;
    (void)xs_call(guest, XS_MKDIR, 0, path, length + 1);
    (void)xs_call(guest, XS_RM, 0, "data/a", 7);
}

void hostile_abuse_xs(struct sim_guest *guest)
{
    char path[128], value[2200];
    uint32_t type, transaction;

    switch (rng_below(&guest->rng, 8)) {
    case 6:
        deep_tree(guest);
        break;
    case 0:
        for (int i = 0; i < 12; i++)
            (void)xs_call(guest, XS_TRANSACTION_START, 0, "", 1);
        break;
    case 1:
        for (int i = 0; i < 30; i++) {
            snprintf(path, sizeof path, "device/w%llu",
                     (unsigned long long)rng_below(&guest->rng, 200));
            (void)xs_watch(guest, path, "t");
        }
        break;
    case 2:
        memset(value, 'v', sizeof value - 1);
        value[sizeof value - 1] = 0;
        snprintf(path, 100, "data/n%llu", (unsigned long long)rng_below(&guest->rng, 300));
        memcpy(value, path, strlen(path) + 1);
        (void)xs_call(guest, XS_WRITE, 0, value, rng_below(&guest->rng, sizeof value));
        break;
    case 3:
        front_path(&guest->fronts[0], false, rng_below(&guest->rng, 40) ? "ring-ref" : "", path);
        (void)xs_call(guest, XS_RM, 0, path, strlen(path) + 1);
        break;
    case 4:
        (void)xs_call(guest, XS_WRITE, 0, "/local/domain/0/backend/vbd/1/51712/state\0006", 44);
        (void)xs_call(guest, XS_READ, 0, "/local/domain/1/device/vbd/51712/ring-ref", 42);
        break;
    case 5:
        type = (uint32_t)rng_below(&guest->rng, 30);
        transaction = (uint32_t)rng_below(&guest->rng, 9);
        (void)xs_call(guest, type, transaction, "/\0\0\0x", rng_below(&guest->rng, 5));
        break;
    default:
        hostile_write_nonsense(guest);
        break;
    }
}

void hostile_break_xs(struct sim_guest *guest)
{
    struct xenstore_domain_interface *page = guest->xs.page;

    NOTE("guest %llu breaks its xenstore ring", guest->domid);
    guest->wild = true;
    rng_fill(&guest->rng, page->req, sizeof page->req);
    page->req_prod += (uint32_t)rng_next(&guest->rng);
    if (rng_below(&guest->rng, 2))
        page->rsp_cons = (uint32_t)rng_next(&guest->rng);
    xs_kick(guest);
}
