/* SPDX-License-Identifier: MIT */
/* watch: see watch.h. */
#include "store.h"

#include <dragoman/base/check.h>
#include <dragoman/base/text.h>

#include <string.h>

_Static_assert(sizeof(struct dgm_xs_event) <= DGM_XS_CELL_BYTES, "an event is a cell");
_Static_assert(sizeof(struct dgm_xs_guest_watch) <= DGM_XS_CELL_BYTES, "a watch is a cell");

static uint32_t hash_add(uint32_t hash, char c)
{
    return (hash ^ (uint8_t)c) * 16777619u;
}

static uint32_t hash_path(const char *path)
{
    uint32_t hash = 2166136261u;

    while (*path)
        hash = hash_add(hash, *path++);
    return hash;
}

static struct dgm_xs_guest_watch **watch_bucket(struct dgm_xenstore *xs, uint32_t hash)
{
    return &xs->watches.buckets[(hash ^ hash >> 16) % DGM_XS_WATCH_BUCKETS];
}

/* --- the queue --- */

static void event_enqueue(struct dgm_xenstore *xs, struct dgm_xs_domain *domain,
                          struct dgm_xs_event *event)
{
    event->next = NULL;
    if (domain->events.first)
        domain->events.last->next = event;
    else
        domain->events.first = event;
    domain->events.last = event;
    dgm_reactor_post(xs->reactor, &domain->task);
}

/* Ends an event that was taken off the queue: a watch's own is free again, a cell is returned. */
static void event_free(struct dgm_xenstore *xs, struct dgm_xs_domain *domain,
                       struct dgm_xs_event *event)
{
    if (event == &event->watch->own) {
        event->watch->own_waits = false;
        return;
    }
    domain->events.cells--;
    dgm_xs_string_clear(&xs->heap, domain->account, &event->below);
    dgm_xs_cell_give(&xs->heap, domain->account, event);
}

static bool event_waits(const struct dgm_xs_domain *domain, const struct dgm_xs_guest_watch *watch,
                        const char *below, size_t bytes)
{
    for (const struct dgm_xs_event *event = domain->events.first; event; event = event->next)
        if (event->watch == watch && dgm_xs_string_equal(&event->below, below, bytes))
            return true;
    return false;
}

static void watch_tell(struct dgm_xenstore *xs, struct dgm_xs_guest_watch *watch, const char *below,
                       size_t bytes)
{
    struct dgm_xs_domain *const domain = watch->domain;
    struct dgm_xs_event *event;

    if (bytes && event_waits(domain, watch, below, bytes))
        return;
    if (!bytes || domain->events.cells == DGM_XS_EVENTS_MAX ||
        !dgm_xs_heap_room(&xs->heap, domain->account, 1 + dgm_xs_string_cells(bytes))) {
        if (!watch->own_waits)
            event_enqueue(xs, domain, &watch->own);
        watch->own_waits = true;
        return;
    }
    event = dgm_xs_cell_take(&xs->heap, domain->account);
    event->watch = watch;
    dgm_xs_string_set(&xs->heap, domain->account, &event->below, below, bytes);
    domain->events.cells++;
    event_enqueue(xs, domain, event);
}

size_t dgm_xs_event_take(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, char *payload)
{
    struct dgm_xs_event *const event = domain->events.first;
    char path[DGM_XS_PATH_MAX];
    size_t length, bytes;

    if (!event)
        return 0;
    domain->events.first = event->next;
    /* For a watch on the root, `below` lacks the slash that the watch's path has. */
    length = dgm_xs_string_get(&event->watch->path, path);
    length += dgm_xs_string_get(&event->below, path + length);
    bytes = length - event->watch->hidden;
    memcpy(payload, path + event->watch->hidden, bytes);
    payload[bytes++] = '\0';
    bytes += dgm_xs_string_get(&event->watch->token, payload + bytes);
    payload[bytes++] = '\0';
    event_free(xs, domain, event);
    xs->counters.watch_events++;
    return bytes;
}

/* --- guests' watches --- */

static struct dgm_xs_guest_watch **watch_find(struct dgm_xs_domain *domain, const char *path,
                                              const char *token)
{
    struct dgm_xs_guest_watch **link = &domain->watches;

    while (*link && !(dgm_xs_string_equal(&(*link)->path, path, dgm_text_length(path)) &&
                      dgm_xs_string_equal(&(*link)->token, token, dgm_text_length(token))))
        link = &(*link)->next;
    return link;
}

int dgm_xs_watches_add(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                       size_t hidden, const char *token)
{
    const size_t path_bytes = dgm_text_length(path), token_bytes = dgm_text_length(token);
    struct dgm_xs_guest_watch *watch, **link = watch_find(domain, path, token);
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
    watch->hash = hash_path(path);
    watch->hash_next = *watch_bucket(xs, watch->hash);
    *watch_bucket(xs, watch->hash) = watch;
    watch_tell(xs, watch, NULL, 0);
    return DGM_OK;
}

static void events_forget(struct dgm_xenstore *xs, struct dgm_xs_domain *domain,
                          const struct dgm_xs_guest_watch *watch)
{
    struct dgm_xs_event **link = &domain->events.first, *event;

    domain->events.last = NULL;
    while ((event = *link)) {
        if (event->watch == watch) {
            *link = event->next;
            event_free(xs, domain, event);
        } else {
            domain->events.last = event;
            link = &event->next;
        }
    }
}

static void watch_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain,
                         struct dgm_xs_guest_watch **link)
{
    struct dgm_xs_guest_watch *const watch = *link;
    struct dgm_xs_guest_watch **chain = watch_bucket(xs, watch->hash);

    events_forget(xs, domain, watch);
    *link = watch->next;
    while (*chain != watch)
        chain = &(*chain)->hash_next;
    *chain = watch->hash_next;
    dgm_xs_string_clear(&xs->heap, domain->account, &watch->path);
    dgm_xs_string_clear(&xs->heap, domain->account, &watch->token);
    dgm_xs_cell_give(&xs->heap, domain->account, watch);
    xs->heap.accounts[domain->account].watches--;
}

int dgm_xs_watches_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                          const char *token)
{
    struct dgm_xs_guest_watch **const link = watch_find(domain, path, token);

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

/* --- changes --- */

static bool may_see_change(const struct dgm_xs_domain *domain, const struct dgm_xs_node *node,
                           const struct dgm_xs_perms *before)
{
    const domid_t domid = domain->domid;

    return (dgm_xs_rights(&node->perms, domid) & DGM_XS_READ) ||
           (before && (dgm_xs_rights(before, domid) & DGM_XS_READ)) ||
           (node->parent && (dgm_xs_rights(&node->parent->perms, domid) & DGM_XS_READ));
}

/* Fires the guests' watches on the first `length` bytes of `path`; `below` more bytes follow. */
static void fire_prefix(struct dgm_xenstore *xs, uint32_t hash, const char *path, size_t length,
                        size_t below, const struct dgm_xs_node *node,
                        const struct dgm_xs_perms *before)
{
    struct dgm_xs_guest_watch *watch = *watch_bucket(xs, hash);

    for (; watch; watch = watch->hash_next)
        if (watch->hash == hash && dgm_xs_string_equal(&watch->path, path, length) &&
            may_see_change(watch->domain, node, before))
            watch_tell(xs, watch, path + length, below);
}

/* Is `path` the watch's or, unless `exact`, below it? */
static bool local_watch_concerns(const struct dgm_xs_watch *watch, const char *path, bool exact)
{
    size_t i = 0;

    while (watch->path[i] && watch->path[i] == path[i])
        i++;
    if (watch->path[i])
        return false;
    return !path[i] || (!exact && (path[i] == '/' || i == 1));
}

void dgm_xs_watches_fire(struct dgm_xenstore *xs, const char *path, size_t length,
                         const struct dgm_xs_node *node, const struct dgm_xs_perms *before,
                         bool exact)
{
    uint32_t hash = 2166136261u;

    for (struct dgm_xs_watch *watch = xs->watches.local; watch; watch = watch->next)
        if (local_watch_concerns(watch, path, exact))
            dgm_reactor_post(xs->reactor, &watch->task);
    if (!node)
        return;
    for (size_t i = 0; i < length; i++) {
        const bool end = i + 1 == length;

        hash = hash_add(hash, path[i]);
        if (end || (!exact && (i == 0 || path[i + 1] == '/')))
            fire_prefix(xs, hash, path, i + 1, length - i - 1, node, before);
    }
}
