/* SPDX-License-Identifier: MIT */
/*
 * local: the store's start, and the functions of <dragoman/xenstore/xenstore.h>
 *
 * Init divides the caller's memory once: the store itself, the connections (at most a quarter of
 * it), the hash table of nodes, and cells from the rest.
 */
#include "store.h"

#include <dragoman/base/check.h>
#include <dragoman/base/text.h>

#include <string.h>

#define MEMORY_BYTES_MIN (256 * 1024)

const struct dgm_xs_limits dgm_xs_limits_default = {
    .nodes = 1000,
    .watches = 128,
    .transactions = 10,
    .value_bytes = 2048,
};

static void *memory_carve(char **memory, size_t *bytes, size_t wanted)
{
    void *const start = *memory;

    wanted = (wanted + 15) & ~(size_t)15;
    dgm_assert(wanted <= *bytes);
    *memory += wanted;
    *bytes -= wanted;
    return start;
}

struct dgm_xenstore *dgm_xenstore_init(void *memory, size_t bytes, struct dgm_reactor *reactor,
                                       struct dgm_evtchn *evtchn,
                                       const struct dgm_xs_limits *limits)
{
    struct dgm_xs_node **node_buckets;
    struct dgm_xenstore *xs;
    char *rest = memory;
    size_t domains = bytes / 4 / sizeof *xs->domains;
    uint32_t buckets = 64;

    if (bytes < MEMORY_BYTES_MIN)
        return NULL;
    if (domains > DGM_XS_DOMAINS_MAX)
        domains = DGM_XS_DOMAINS_MAX;
    while (buckets < bytes / (2 * DGM_XS_CELL_BYTES))
        buckets *= 2;

    xs = memory_carve(&rest, &bytes, sizeof *xs);
    memset(xs, 0, sizeof *xs);
    xs->reactor = reactor;
    xs->evtchn = evtchn;
    xs->limits = limits ? *limits : dgm_xs_limits_default;
    if (xs->limits.value_bytes > DGM_XS_VALUE_MAX)
        xs->limits.value_bytes = DGM_XS_VALUE_MAX;
    xs->domain_count = domains;
    xs->domains = memory_carve(&rest, &bytes, domains * sizeof *xs->domains);
    memset(xs->domains, 0, domains * sizeof *xs->domains);
    node_buckets = memory_carve(&rest, &bytes, buckets * sizeof *node_buckets);
    memset(node_buckets, 0, buckets * sizeof *node_buckets);
    dgm_xs_heap_init(&xs->heap, rest, (uint32_t)(bytes / DGM_XS_CELL_BYTES));
    dgm_xs_tree_init(&xs->tree, &xs->heap, node_buckets, buckets);
    dgm_xs_schedule_init(xs);
    return xs;
}

/* --- as domain 0 --- */

int dgm_xs_read(struct dgm_xenstore *xs, const char *path, char *value, size_t bytes)
{
    struct dgm_xs_node *node;
    int status;

    if (!dgm_xs_wire_path_valid(path))
        return DGM_EINVAL;
    status = dgm_xs_store_find(xs, &DGM_XS_DOM0, path, DGM_XS_READ, &node);
    if (status)
        return status;
    if (node->value.bytes >= bytes)
        return DGM_ERANGE;
    value[dgm_xs_string_get(&node->value, value)] = '\0';
    return node->value.bytes;
}

int dgm_xs_write(struct dgm_xenstore *xs, struct dgm_xs_entry entry)
{
    if (!dgm_xs_wire_path_valid(entry.path))
        return DGM_EINVAL;
    return dgm_xs_store_write(xs, &DGM_XS_DOM0, entry, dgm_text_length(entry.value));
}

int dgm_xs_write_number(struct dgm_xenstore *xs, const char *path, uint64_t number)
{
    char value[24];
    struct dgm_text text = dgm_text(value, sizeof value);

    dgm_text_add_number(&text, number);
    return dgm_xs_write(xs, (struct dgm_xs_entry){.path = path, .value = value});
}

int dgm_xs_rm(struct dgm_xenstore *xs, const char *path)
{
    return dgm_xs_wire_path_valid(path) ? dgm_xs_store_rm(xs, &DGM_XS_DOM0, path) : DGM_EINVAL;
}

int dgm_xs_set_access(struct dgm_xenstore *xs, const char *path, struct dgm_xs_access access)
{
    const struct dgm_xs_perms perms = {
        .entry = {{access.owner, access.others_read ? DGM_XS_READ : DGM_XS_NONE},
                  {access.reader, DGM_XS_READ}},
        .count = 2,
    };

    if (!dgm_xs_wire_path_valid(path))
        return DGM_EINVAL;
    return dgm_xs_store_set_perms(xs, &DGM_XS_DOM0, path, &perms);
}

static void local_watch_fire(struct dgm_task *task)
{
    struct dgm_xs_watch *const watch = dgm_container(task, struct dgm_xs_watch, task);

    watch->xs->counters.watch_events++;
    watch->fire(watch);
}

void dgm_xs_watch(struct dgm_xenstore *xs, struct dgm_xs_watch *watch)
{
    dgm_xs_watches_add_local(xs, watch);
    watch->xs = xs;
    watch->task = (struct dgm_task){.run = local_watch_fire};
    dgm_reactor_post(xs->reactor, &watch->task);
}

void dgm_xs_unwatch(struct dgm_xenstore *xs, struct dgm_xs_watch *watch)
{
    dgm_xs_watches_remove_local(xs, watch);
    dgm_reactor_withdraw(xs->reactor, &watch->task);
}

/* --- guests --- */

static struct dgm_xs_domain *find_domain(struct dgm_xenstore *xs, domid_t domid)
{
    for (size_t i = 0; i < xs->domain_count; i++)
        if (xs->domains[i].page && xs->domains[i].domid == domid)
            return &xs->domains[i];
    return NULL;
}

int dgm_xs_introduce(struct dgm_xenstore *xs, domid_t domid, void *page, evtchn_port_t remote)
{
    int status;

    if (find_domain(xs, domid))
        return DGM_EEXIST;
    for (size_t i = 0; i < xs->domain_count; i++) {
        if (xs->domains[i].page)
            continue;
        status = dgm_xs_connection_open(xs, &xs->domains[i], domid, page, remote);
        if (!status)
            dgm_xs_watches_fire_special(xs, "@introduceDomain");
        return status;
    }
    return DGM_ENOSPC;
}

void dgm_xs_release(struct dgm_xenstore *xs, domid_t domid)
{
    struct dgm_xs_domain *const domain = find_domain(xs, domid);

    if (domain)
        dgm_xs_connection_close(domain);
}

void dgm_xs_domain_changed(struct dgm_xenstore *xs)
{
    dgm_xs_watches_fire_special(xs, "@releaseDomain");
}

void dgm_xs_counters(const struct dgm_xenstore *xs, struct dgm_xs_counters *counters)
{
    *counters = xs->counters;
    counters->work = xs->heap.work;
    counters->nodes = 0;
    for (size_t i = 0; i < DGM_XS_ACCOUNTS; i++)
        counters->nodes += xs->heap.accounts[i].nodes;
    counters->memory_used = (uint64_t)(xs->heap.cells - xs->heap.free_cells) * DGM_XS_CELL_BYTES;
    counters->memory_bytes = (uint64_t)xs->heap.cells * DGM_XS_CELL_BYTES;
}

uint64_t dgm_xs_work_request_bound(const struct dgm_xenstore *xs)
{
    return 16ull * xs->heap.cells + 4096;
}
