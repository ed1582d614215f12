/* SPDX-License-Identifier: MIT */
/* xenstore_twin: see xenstore_twin.h. */
#include "xenstore_twin.h"

struct xs_twin_list xs_twin_store;

static unsigned generation;

struct xs_twin_entry *xs_twin_find(struct xs_twin_list *list, const char *path)
{
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->entries[i].path, path) == 0)
            return &list->entries[i];
    return NULL;
}

struct xs_twin_entry *xs_twin_add(struct xs_twin_list *list, const char *path)
{
    struct xs_twin_entry *const entry = &list->entries[list->count++];

    assert_true(list->count < XS_TWIN_PATHS);
    memset(entry, 0, sizeof *entry);
    strcpy(entry->path, path);
    return entry;
}

void xs_twin_parent(const char *path, char *parent)
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

void xs_twin_touch(struct xs_twin_list *list, const char *path)
{
    char prefix[64];
    bool hidden = false;

    for (unsigned depth = 0; prefix_of(path, depth, prefix); depth++) {
        struct xs_twin_entry *entry = xs_twin_find(list, prefix);
        const struct xs_twin_entry *const base = xs_twin_find(&xs_twin_store, prefix);

        if (!entry) {
            entry = xs_twin_add(list, prefix);
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

static unsigned rights_of(const struct xs_twin_entry *entry, domid_t domid)
{
    if (entry->perms.entry[0].domid == domid)
        return 7;
    for (unsigned i = 1; i < entry->perms.count; i++)
        if (entry->perms.entry[i].domid == domid)
            return entry->perms.entry[i].rights;
    return entry->perms.entry[0].rights;
}

/* The entry of the nearest existing node, from the path upward. */
static struct xs_twin_entry *nearest_entry(struct xs_twin_list *list, const char *path)
{
    char at[64];
    struct xs_twin_entry *entry;

    for (strcpy(at, path);; xs_twin_parent(at, at)) {
        entry = xs_twin_find(list, at);
        if (entry && entry->exists)
            return entry;
    }
}

void xs_twin_changed(struct xs_twin_list *list, const char *path)
{
    if (list == &xs_twin_store)
        xs_twin_find(list, path)->generation = ++generation;
}

static void bump_parent(struct xs_twin_list *list, const char *path)
{
    char parent[64];

    xs_twin_parent(path, parent);
    if (list == &xs_twin_store)
        xs_twin_find(list, parent)->children = ++generation;
}

const char *xs_twin_status(struct xs_twin_list *list, domid_t domid, const char *path,
                           unsigned right)
{
    struct xs_twin_entry *entry;

    if (list != &xs_twin_store)
        xs_twin_touch(list, path);
    entry = nearest_entry(list, path);
    entry->read = true;
    if (xs_twin_find(list, path))
        xs_twin_find(list, path)->read = true;
    if ((rights_of(entry, domid) & right) != right)
        return "!EACCES";
    return strcmp(entry->path, path) ? "!ENOENT" : "OK|";
}

void xs_twin_create(struct xs_twin_list *list, domid_t domid, const char *path)
{
    const size_t there = strlen(nearest_entry(list, path)->path);
    char prefix[64], parent[64];

    for (unsigned depth = 1; prefix_of(path, depth, prefix); depth++) {
        struct xs_twin_entry *entry = xs_twin_find(list, prefix);

        if (strlen(prefix) <= there)
            continue;
        if (!entry)
            entry = xs_twin_add(list, prefix);
        xs_twin_parent(prefix, parent);
        entry->exists = entry->dirty = entry->read = true;
        entry->value[0] = '\0';
        entry->perms = xs_twin_find(list, parent)->perms;
        entry->perms.entry[0].domid = domid;
        xs_twin_changed(list, prefix);
        bump_parent(list, prefix);
    }
}

void xs_twin_remove(struct xs_twin_list *list, const char *path)
{
    if (list == &xs_twin_store) {
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
    xs_twin_find(list, path)->opaque = true;
}

static bool child_name(const char *path, const char *top, char *name)
{
    const char *const at = path + (top[1] ? strlen(top) : 0);

    if (!is_below(path, top) || strchr(at + 1, '/'))
        return false;
    strcpy(name, at + 1);
    return true;
}

/* Whether a listing of `path` in this transaction includes the store's children. */
static bool shows_store(struct xs_twin_list *list, const char *path)
{
    char at[64];

    for (strcpy(at, path);; xs_twin_parent(at, at)) {
        const struct xs_twin_entry *const entry = xs_twin_find(list, at);

        if (entry->opaque || !entry->generation)
            return false;
        if (!at[1])
            return xs_twin_find(&xs_twin_store, path) != NULL;
    }
}

void xs_twin_list(struct xs_twin_list *list, const char *path, char *names)
{
    const bool through = list != &xs_twin_store && shows_store(list, path);
    char name[64];

    names[0] = '\0';
    if (through) {
        xs_twin_find(list, path)->listed = true;
        for (unsigned i = 0; i < xs_twin_store.count; i++) {
            const struct xs_twin_entry *const own =
                xs_twin_find(list, xs_twin_store.entries[i].path);

            if (child_name(xs_twin_store.entries[i].path, path, name) && (!own || own->exists))
                sprintf(names + strlen(names), "%s|", name);
        }
    }
    for (unsigned i = 0; i < list->count; i++)
        if (list->entries[i].exists && child_name(list->entries[i].path, path, name) &&
            !(through && xs_twin_find(&xs_twin_store, list->entries[i].path)))
            sprintf(names + strlen(names), "%s|", name);
}

const char *xs_twin_commit(struct xs_twin_list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        const struct xs_twin_entry *const entry = &list->entries[i];
        const struct xs_twin_entry *const base = xs_twin_find(&xs_twin_store, entry->path);

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
            const struct xs_twin_entry *const entry = &list->entries[i];
            struct xs_twin_entry *base = xs_twin_find(&xs_twin_store, entry->path);

            if (strlen(entry->path) != length || !entry->dirty)
                continue;
            if (entry->opaque && base) {
                xs_twin_remove(&xs_twin_store, entry->path);
                base = NULL;
            }
            if (!entry->exists)
                continue;
            if (!base) {
                base = xs_twin_add(&xs_twin_store, entry->path);
                base->exists = true;
                bump_parent(&xs_twin_store, entry->path);
            }
            strcpy(base->value, entry->value);
            base->perms = entry->perms;
            xs_twin_changed(&xs_twin_store, entry->path);
        }
    return "OK|";
}

void xs_twin_stamp(void)
{
    for (unsigned i = 0; i < xs_twin_store.count; i++)
        xs_twin_store.entries[i].generation = xs_twin_store.entries[i].children = ++generation;
}
