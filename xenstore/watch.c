/* SPDX-License-Identifier: MIT */
/* watch: see watch.h. */
#include "store.h"

#include <dragoman/base/check.h>
#include <dragoman/base/text.h>

#include <string.h>

_Static_assert(sizeof(struct dgm_xs_event) <= DGM_XS_CELL_BYTES, "an event is a cell");
_Static_assert(sizeof(struct dgm_xs_guest_watch) <= DGM_XS_CELL_BYTES, "a watch is a cell");

static uint32_t hash_path(struct dgm_xenstore *xs, const char *path)
{
    uint32_t hash = 0;
    const char *name;
    size_t bytes;

    dgm_xs_work(&xs->heap, 1 + dgm_xs_string_cells(dgm_text_length(path)));
    while (dgm_xs_path_step(&path, &name, &bytes))
        hash = dgm_xs_path_hash(&xs->tree, hash, name, bytes);
    return hash;
}

static struct dgm_xs_guest_watch **watch_bucket(struct dgm_xenstore *xs, uint32_t hash)
{
    return &xs->watches.buckets[hash % DGM_XS_WATCH_BUCKETS];
}

static struct dgm_xs_watch **local_bucket(struct dgm_xenstore *xs, uint32_t hash)
{
    return &xs->watches.local[hash % DGM_XS_LOCAL_WATCH_BUCKETS];
}

/* --- the queue --- */

static void queue_add(struct dgm_xenstore *xs, struct dgm_xs_domain *domain,
                      struct dgm_xs_waiting *waiting)
{
    struct dgm_xs_event_queue *const queue = &domain->events;

    dgm_xs_work(&xs->heap, 1);
    waiting->next = NULL;
    waiting->previous = queue->last;
    if (queue->last)
        queue->last->next = waiting;
    else
        queue->first = waiting;
    queue->last = waiting;
    dgm_reactor_post(xs->reactor, &domain->task);
}

static void queue_unlink(struct dgm_xenstore *xs, struct dgm_xs_domain *domain,
                         struct dgm_xs_waiting *waiting)
{
    struct dgm_xs_event_queue *const queue = &domain->events;

    dgm_xs_work(&xs->heap, 1);
    if (waiting->previous)
        waiting->previous->next = waiting->next;
    else
        queue->first = waiting->next;
    if (waiting->next)
        waiting->next->previous = waiting->previous;
    else
        queue->last = waiting->previous;
}

/* Ends the oldest event of a watch: removes it from the queue and returns its cells. */
static void event_end(struct dgm_xenstore *xs, struct dgm_xs_guest_watch *watch)
{
    struct dgm_xs_domain *const domain = watch->domain;
    struct dgm_xs_event *const event = watch->events;

    watch->events = event->next;
    queue_unlink(xs, domain, &event->waiting);
    domain->events.cells--;
    dgm_xs_string_clear(&xs->heap, domain->account, &event->below);
    dgm_xs_cell_give(&xs->heap, domain->account, event);
}

static void own_event_end(struct dgm_xenstore *xs, struct dgm_xs_guest_watch *watch)
{
    queue_unlink(xs, watch->domain, &watch->own);
    watch->own_waits = false;
}

static void own_event_queue(struct dgm_xenstore *xs, struct dgm_xs_guest_watch *watch)
{
    if (!watch->own_waits)
        queue_add(xs, watch->domain, &watch->own);
    watch->own_waits = true;
}

/* Queues the event for the changed path with `hash`, which extends the watch's path by the `bytes`
 * bytes `below`. */
static void event_queue(struct dgm_xenstore *xs, struct dgm_xs_guest_watch *watch, uint32_t hash,
                        const char *below, size_t bytes)
{
    struct dgm_xs_domain *const domain = watch->domain;
    struct dgm_xs_event **link = &watch->events, *event;

    for (; (event = *link); link = &event->next) {
        dgm_xs_work(&xs->heap, 1);
        if (event->hash == hash && dgm_xs_string_equal(&event->below, below, bytes))
            return;
    }
    if (domain->events.cells == DGM_XS_EVENTS_MAX ||
        !dgm_xs_heap_room(&xs->heap, domain->account, 1 + dgm_xs_string_cells(bytes))) {
        own_event_queue(xs, watch);
        return;
    }
    event = dgm_xs_cell_take(&xs->heap, domain->account);
    event->waiting.watch = watch;
    event->hash = hash;
    dgm_xs_string_set(&xs->heap, domain->account, &event->below, below, bytes);
    *link = event;
    domain->events.cells++;
    queue_add(xs, domain, &event->waiting);
}

size_t dgm_xs_event_take(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, char *payload)
{
    struct dgm_xs_waiting *const waiting = domain->events.first;
    struct dgm_xs_guest_watch *watch;
    char path[DGM_XS_PATH_MAX];
    size_t length, bytes;

    if (!waiting)
        return 0;
    watch = waiting->watch;
    length = dgm_xs_string_get(&watch->path, path);
    if (waiting == &watch->own) {
        own_event_end(xs, watch);
    } else {
        /* Both queues are in the order of arrival. For a watch on the root, `below` lacks the slash
         * that the watch's path has. */
        dgm_assert(waiting == &watch->events->waiting);
        length += dgm_xs_string_get(&watch->events->below, path + length);
        event_end(xs, watch);
    }
    bytes = length - watch->hidden;
    memcpy(payload, path + watch->hidden, bytes);
    payload[bytes++] = '\0';
    bytes += dgm_xs_string_get(&watch->token, payload + bytes);
    payload[bytes++] = '\0';
    dgm_xs_work(&xs->heap, 2 + dgm_xs_string_cells(bytes));
    xs->counters.watch_events++;
    return bytes;
}

/* --- guests' watches --- */

static struct dgm_xs_guest_watch **watch_find(struct dgm_xenstore *xs, struct dgm_xs_domain *domain,
                                              const char *path, const char *token)
{
    struct dgm_xs_guest_watch **link = &domain->watches;
    const size_t path_bytes = dgm_text_length(path), token_bytes = dgm_text_length(token);
    const uint32_t hash = hash_path(xs, path);

    for (; *link; link = &(*link)->next) {
        dgm_xs_work(&xs->heap, 1);
        if ((*link)->hash != hash || !dgm_xs_string_equal(&(*link)->path, path, path_bytes))
            continue;
        dgm_xs_work(&xs->heap, dgm_xs_string_cells(path_bytes));
        if (dgm_xs_string_equal(&(*link)->token, token, token_bytes))
            break;
    }
    return link;
}

int dgm_xs_watches_add(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                       size_t hidden, const char *token)
{
    const size_t path_bytes = dgm_text_length(path), token_bytes = dgm_text_length(token);
    struct dgm_xs_guest_watch *watch, **link = watch_find(xs, domain, path, token);
    struct dgm_xs_account *const account = &xs->heap.accounts[domain->account];

    if (*link)
        return DGM_EEXIST;
    if (account->watches >= xs->limits.watches)
        return DGM_E2BIG;
    if (!dgm_xs_heap_room(&xs->heap, domain->account,
                          1 + dgm_xs_string_cells(path_bytes) + dgm_xs_string_cells(token_bytes)))
        return DGM_ENOSPC;
    account->watches++;
    watch = dgm_xs_cell_take(&xs->heap, domain->account);
    watch->domain = domain;
    watch->own.watch = watch;
    watch->hidden = (uint16_t)hidden;
    dgm_xs_string_set(&xs->heap, domain->account, &watch->path, path, path_bytes);
    dgm_xs_string_set(&xs->heap, domain->account, &watch->token, token, token_bytes);
    *link = watch;
    watch->hash = hash_path(xs, path);
    watch->hash_link = watch_bucket(xs, watch->hash);
    watch->hash_next = *watch->hash_link;
    if (watch->hash_next)
        watch->hash_next->hash_link = &watch->hash_next;
    *watch->hash_link = watch;
    own_event_queue(xs, watch);
    return DGM_OK;
}

static void watch_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain,
                         struct dgm_xs_guest_watch **link)
{
    struct dgm_xs_guest_watch *const watch = *link;

    while (watch->events)
        event_end(xs, watch);
    if (watch->own_waits)
        own_event_end(xs, watch);
    *link = watch->next;
    *watch->hash_link = watch->hash_next;
    if (watch->hash_next)
        watch->hash_next->hash_link = watch->hash_link;
    dgm_xs_string_clear(&xs->heap, domain->account, &watch->path);
    dgm_xs_string_clear(&xs->heap, domain->account, &watch->token);
    dgm_xs_cell_give(&xs->heap, domain->account, watch);
    xs->heap.accounts[domain->account].watches--;
}

int dgm_xs_watches_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                          const char *token)
{
    struct dgm_xs_guest_watch **const link = watch_find(xs, domain, path, token);

    if (!*link)
        return DGM_ENOENT;
    watch_remove(xs, domain, link);
    return DGM_OK;
}

void dgm_xs_watches_remove_all(struct dgm_xenstore *xs, struct dgm_xs_domain *domain)
{
    while (domain->watches)
        watch_remove(xs, domain, &domain->watches);
}

/* --- local watches --- */

void dgm_xs_watches_add_local(struct dgm_xenstore *xs, struct dgm_xs_watch *watch)
{
    struct dgm_xs_watch **const bucket = local_bucket(xs, hash_path(xs, watch->path));

    watch->next = *bucket;
    *bucket = watch;
}

void dgm_xs_watches_remove_local(struct dgm_xenstore *xs, struct dgm_xs_watch *watch)
{
    struct dgm_xs_watch **link = local_bucket(xs, hash_path(xs, watch->path));

    while (*link && *link != watch)
        link = &(*link)->next;
    dgm_assert(*link);
    *link = watch->next;
}

/* Fires the local watches on the first `length` bytes of `path`. */
static void fire_local(struct dgm_xenstore *xs, uint32_t hash, const char *path, size_t length)
{
    struct dgm_xs_watch *watch = *local_bucket(xs, hash);

    for (; watch; watch = watch->next) {
        dgm_xs_work(&xs->heap, 1);
        if (dgm_text_length(watch->path) == length && memcmp(watch->path, path, length) == 0)
            dgm_reactor_post(xs->reactor, &watch->task);
    }
}

void dgm_xs_watches_fire_special(struct dgm_xenstore *xs, const char *path)
{
    fire_local(xs, hash_path(xs, path), path, dgm_text_length(path));
}

/* --- changes --- */

static bool may_see_change(const struct dgm_xs_domain *domain, const struct dgm_xs_change *change)
{
    for (size_t i = 0; i < 3; i++)
        if (change->perms[i] && (dgm_xs_rights(change->perms[i], domain->domid) & DGM_XS_READ))
            return true;
    return false;
}

/* Fires the guests' watches on the first `length` bytes of `path`, the path of the change; `below`
 * further bytes follow. */
static void fire_guests(struct dgm_xenstore *xs, const struct dgm_xs_change *change, uint32_t hash,
                        const char *path, size_t length, size_t below)
{
    struct dgm_xs_guest_watch *watch = *watch_bucket(xs, hash);

    for (; watch; watch = watch->hash_next) {
        dgm_xs_work(&xs->heap, 1);
        if (watch->hash != hash || !may_see_change(watch->domain, change))
            continue;
        dgm_xs_work(&xs->heap, dgm_xs_string_cells(length));
        if (!dgm_xs_string_equal(&watch->path, path, length))
            continue;
        if (below)
            event_queue(xs, watch, change->node->path_hash, path + length, below);
        else
            own_event_queue(xs, watch);
    }
}

/* Searches for a watch on a path with this hash. False: there is none, as for most nodes, whose
 * path is then not built. */
static bool search_watch(struct dgm_xenstore *xs, uint32_t hash)
{
    const struct dgm_xs_guest_watch *watch = *watch_bucket(xs, hash);

    dgm_xs_work(&xs->heap, 1);
    for (; watch && watch->hash != hash; watch = watch->hash_next)
        dgm_xs_work(&xs->heap, 1);
    return watch || *local_bucket(xs, hash);
}

void dgm_xs_watches_fire(struct dgm_xenstore *xs, const struct dgm_xs_change *change, bool exact)
{
    const struct dgm_xs_node *chain[DGM_XS_LEVELS_MAX + 1];
    const struct dgm_xs_node *node = change->node;
    char *const path = xs->walk;
    size_t levels = 0, length = 0, total;
    bool any = false;

    for (; node; node = exact ? NULL : node->parent) {
        dgm_assert(levels <= DGM_XS_LEVELS_MAX);
        chain[levels++] = node;
        any = search_watch(xs, node->path_hash) || any;
    }
    if (!any)
        return;
    total = dgm_xs_node_path(change->node, path);
    dgm_xs_work(&xs->heap, 1 + dgm_xs_string_cells(total));
    if (exact)
        length = total;
    while (levels--) { /* from the root downward */
        node = chain[levels];
        if (!exact)
            length += node->parent ? node->name.bytes + (length > 1 ? 1u : 0) : 1u;
        fire_local(xs, node->path_hash, path, length);
        fire_guests(xs, change, node->path_hash, path, length, total - length);
    }
}
