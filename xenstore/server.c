/* SPDX-License-Identifier: MIT */
/*
 * server: the execution of a guest's request
 *
 * One function per type of request, found by a table: it parses the payload (wire.c), executes the
 * request (store.c, watch.c, transaction.c) and builds the reply's payload, or returns the status
 * with which the request is refused. Requests of the toolstack are EACCES, unknown ones ENOSYS.
 *
 * Errors follow xenstored 4.17: ENOSPC for every quota except that of watches, which is E2BIG. One
 * rule is stricter: a watch on @introduceDomain or @releaseDomain is refused with EACCES, while
 * xenstored accepts it and never fires it.
 */
#include "store.h"

#include <dragoman/base/text.h>

#include <string.h>

struct request {
    struct dgm_xenstore *xs;
    struct dgm_xs_domain *domain;
    struct dgm_xs_caller caller;
    const char *payload;
    size_t bytes;
    char *reply; /* XENSTORE_PAYLOAD_MAX bytes */
};

/* Each returns the bytes of the reply's payload, or a negative status. */
typedef int handler(struct request *request);

static int reply_text(struct request *r, const char *text)
{
    const size_t bytes = dgm_text_length(text) + 1;

    memcpy(r->reply, text, bytes);
    return (int)bytes;
}

static int reply_status(struct request *r, int status)
{
    return status ? status : reply_text(r, "OK");
}

static int reply_number(struct request *r, const char *before, uint64_t number)
{
    struct dgm_text text = dgm_text(r->reply, 64);

    dgm_text_add(&text, before);
    dgm_text_add_number(&text, number);
    return (int)text.length + 1;
}

/* True if the payload is exactly `count` strings. */
static bool payload_split(const struct request *r, const char *strings[], int count)
{
    return dgm_xs_wire_strings(r->payload, r->bytes, strings, (size_t)count) == count;
}

/* Parses a payload that is one path, into xs->path. */
static int payload_parse_path(struct request *r)
{
    const char *given;

    if (!payload_split(r, &given, 1))
        return DGM_EINVAL;
    return dgm_xs_wire_path(r->domain->domid, given, r->xs->path);
}

/* Takes a path from the front of the payload, into xs->path. */
static int payload_take_path(struct request *r)
{
    const char *const given = r->payload;
    const char *const end = memchr(given, '\0', r->bytes);

    if (!end)
        return DGM_EINVAL;
    r->bytes -= (size_t)(end + 1 - given);
    r->payload = end + 1;
    return dgm_xs_wire_path(r->domain->domid, given, r->xs->path);
}

static int find_readable(struct request *r, struct dgm_xs_node **node)
{
    return dgm_xs_store_find(r->xs, &r->caller, r->xs->path, DGM_XS_READ, node);
}

static int do_read(struct request *r)
{
    struct dgm_xs_node *node;
    int status = payload_parse_path(r);

    if (!status)
        status = find_readable(r, &node);
    if (status)
        return status;
    dgm_xs_work(&r->xs->heap, 1 + dgm_xs_string_cells(node->value.bytes));
    return (int)dgm_xs_string_get(&node->value, r->reply);
}

static int do_directory(struct request *r)
{
    struct dgm_xs_node *node;
    struct dgm_xs_listing listing = {.names = r->reply, .room = XENSTORE_PAYLOAD_MAX};
    int status = payload_parse_path(r);

    if (!status)
        status = find_readable(r, &node);
    if (status)
        return status;
    dgm_xs_store_list(r->xs, &r->caller, node, &listing);
    return listing.cut ? DGM_E2BIG : (int)listing.bytes; /* the guest can list it in parts */
}

static int do_directory_part(struct request *r)
{
    const char *strings[2];
    struct dgm_xs_node *node;
    struct dgm_xs_listing listing;
    uint64_t offset;
    size_t bytes;
    int status;

    if (!payload_split(r, strings, 2) ||
        !dgm_text_number(strings[1], dgm_text_length(strings[1]), &offset, UINT32_MAX))
        return DGM_EINVAL;
    status = dgm_xs_wire_path(r->domain->domid, strings[0], r->xs->path);
    if (!status)
        status = find_readable(r, &node);
    if (status)
        return status;
    /* The part begins with the generation of the children, by which the guest sees whether its
     * parts belong together. One byte is left for the empty name that ends the last part. */
    bytes = (size_t)reply_number(r, "", node->children_generation);
    listing = (struct dgm_xs_listing){
        .offset = offset,
        .names = r->reply + bytes,
        .room = XENSTORE_PAYLOAD_MAX - bytes - 1,
    };
    dgm_xs_store_list(r->xs, &r->caller, node, &listing);
    bytes += listing.bytes;
    if (!listing.cut)
        r->reply[bytes++] = '\0';
    return (int)bytes;
}

static int do_get_perms(struct request *r)
{
    struct dgm_xs_node *node;
    int status = payload_parse_path(r);

    if (!status)
        status = find_readable(r, &node);
    return status ? status : (int)dgm_xs_wire_perms_text(&node->perms, r->reply);
}

static int do_set_perms(struct request *r)
{
    struct dgm_xs_perms perms;
    int status = payload_take_path(r);

    if (!status)
        status = dgm_xs_wire_perms(r->payload, r->bytes, &perms);
    if (!status)
        status = dgm_xs_store_set_perms(r->xs, &r->caller, r->xs->path, &perms);
    return reply_status(r, status);
}

static int do_write(struct request *r)
{
    int status = payload_take_path(r);

    if (!status)
        status = dgm_xs_store_write(r->xs, &r->caller,
                                    (struct dgm_xs_entry){.path = r->xs->path, .value = r->payload},
                                    r->bytes);
    return reply_status(r, status);
}

static int do_mkdir(struct request *r)
{
    int status = payload_parse_path(r);

    if (!status)
        status = dgm_xs_store_mkdir(r->xs, &r->caller, r->xs->path);
    return reply_status(r, status);
}

/* True if the parent of the node at `path` exists for this request's transaction. */
static bool parent_exists(const struct request *r, const char *path)
{
    const struct dgm_xs_caller dom0 = {.transaction = r->caller.transaction};
    char parent[DGM_XS_PATH_MAX];
    /* That of the root; for other parents the last slash is not part of the path. */
    size_t length = 1;
    struct dgm_xs_node *node;

    for (size_t i = 1; path[i]; i++)
        if (path[i] == '/')
            length = i;
    memcpy(parent, path, length);
    parent[length] = '\0';
    return dgm_xs_store_find(r->xs, &dom0, parent, 0, &node) == DGM_OK;
}

static int do_rm(struct request *r)
{
    int status = payload_parse_path(r);

    if (!status) {
        status = dgm_xs_store_rm(r->xs, &r->caller, r->xs->path);
        if (status == DGM_ENOENT && parent_exists(r, r->xs->path))
            status = DGM_OK; /* as in xenstored: it is already removed */
    }
    return reply_status(r, status);
}

/* Parses the payload of WATCH and UNWATCH: a path, into xs->path, and a token. */
static int payload_parse_watch(struct request *r, const char **token, size_t *hidden)
{
    const char *strings[2];

    if (!payload_split(r, strings, 2))
        return DGM_EINVAL;
    if (dgm_text_equal(strings[0], "@introduceDomain") ||
        dgm_text_equal(strings[0], "@releaseDomain"))
        return DGM_EACCES; /* their events are about other domains */
    *token = strings[1];
    if (dgm_text_length(*token) > DGM_XS_TOKEN_MAX)
        return DGM_EINVAL;
    *hidden = 0;
    if (strings[0][0] != '/')
        *hidden = dgm_xs_wire_home(r->domain->domid, r->reply) + 1;
    return dgm_xs_wire_path(r->domain->domid, strings[0], r->xs->path);
}

static int do_watch(struct request *r)
{
    const char *token;
    size_t hidden;
    int status = payload_parse_watch(r, &token, &hidden);

    if (!status)
        status = dgm_xs_watches_add(r->xs, r->domain, r->xs->path, hidden, token);
    return reply_status(r, status);
}

static int do_unwatch(struct request *r)
{
    const char *token;
    size_t hidden;
    int status = payload_parse_watch(r, &token, &hidden);

    if (!status)
        status = dgm_xs_watches_remove(r->xs, r->domain, r->xs->path, token);
    return reply_status(r, status);
}

static int do_reset_watches(struct request *r)
{
    dgm_xs_connection_reset(r->domain);
    return reply_status(r, DGM_OK);
}

static struct dgm_xs_transaction **find_transaction(struct dgm_xs_domain *domain, uint32_t id)
{
    struct dgm_xs_transaction **link = &domain->transactions;

    while (*link && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

static int do_transaction_start(struct request *r)
{
    struct dgm_xs_domain *const domain = r->domain;
    struct dgm_xs_account *const account = &r->xs->heap.accounts[domain->account];
    struct dgm_xs_transaction *transaction;

    if (r->caller.transaction)
        return DGM_EBUSY;
    if (account->transactions >= r->xs->limits.transactions)
        return DGM_ENOSPC;
    do
        domain->transaction_id++;
    while (!domain->transaction_id || *find_transaction(domain, domain->transaction_id));
    transaction = dgm_xs_transaction_begin(r->xs, domain);
    if (!transaction)
        return DGM_ENOSPC;
    account->transactions++;
    transaction->next = domain->transactions;
    domain->transactions = transaction;
    return reply_number(r, "", transaction->id);
}

static int do_transaction_end(struct request *r)
{
    struct dgm_xs_transaction *const transaction = r->caller.transaction;
    const char *verdict;
    int status = DGM_OK;

    if (!payload_split(r, &verdict, 1) ||
        !(dgm_text_equal(verdict, "T") || dgm_text_equal(verdict, "F")))
        return DGM_EINVAL;
    if (!transaction)
        return DGM_ENOENT;
    *find_transaction(r->domain, transaction->id) = transaction->next;
    if (verdict[0] == 'T') {
        status = dgm_xs_transaction_commit(r->xs, transaction);
        if (!status) { /* the connection announces the changes, then ends the transaction */
            r->domain->announcing = transaction;
            return reply_status(r, status);
        }
    }
    dgm_xs_transaction_end(r->xs, transaction);
    r->xs->heap.accounts[r->domain->account].transactions--;
    return reply_status(r, status);
}

static int do_get_domain_path(struct request *r)
{
    const char *string;
    uint64_t domid;

    if (!payload_split(r, &string, 1) ||
        !dgm_text_number(string, dgm_text_length(string), &domid, UINT16_MAX))
        return DGM_EINVAL;
    return reply_number(r, "/local/domain/", domid);
}

static int do_refuse(struct request *r)
{
    return DGM_EACCES;
}

static handler *const handlers[] = {
    [XS_CONTROL] = do_refuse,
    [XS_DIRECTORY] = do_directory,
    [XS_READ] = do_read,
    [XS_GET_PERMS] = do_get_perms,
    [XS_WATCH] = do_watch,
    [XS_UNWATCH] = do_unwatch,
    [XS_TRANSACTION_START] = do_transaction_start,
    [XS_TRANSACTION_END] = do_transaction_end,
    [XS_INTRODUCE] = do_refuse,
    [XS_RELEASE] = do_refuse,
    [XS_GET_DOMAIN_PATH] = do_get_domain_path,
    [XS_WRITE] = do_write,
    [XS_MKDIR] = do_mkdir,
    [XS_RM] = do_rm,
    [XS_SET_PERMS] = do_set_perms,
    [XS_IS_DOMAIN_INTRODUCED] = do_refuse,
    [XS_RESUME] = do_refuse,
    [XS_SET_TARGET] = do_refuse,
    [XS_RESET_WATCHES] = do_reset_watches,
    [XS_DIRECTORY_PART] = do_directory_part,
};

static int dispatch_request(struct request *r)
{
    const struct xsd_sockmsg *const header = &r->domain->message.header;

    if (header->tx_id) {
        r->caller.transaction = *find_transaction(r->domain, header->tx_id);
        if (!r->caller.transaction)
            return DGM_ENOENT;
    }
    if (header->type >= sizeof handlers / sizeof handlers[0] || !handlers[header->type])
        return DGM_ENOSYS;
    return handlers[header->type](r);
}

void dgm_xs_serve(struct dgm_xs_domain *domain)
{
    struct xsd_sockmsg *const header = &domain->message.header;
    struct dgm_xenstore *const xs = domain->xs;
    struct request request = {
        .xs = xs,
        .domain = domain,
        .caller = {.domid = domain->domid, .account = domain->account},
        .payload = domain->message.payload,
        .bytes = header->len,
        .reply = xs->reply,
    };
    const uint64_t start = xs->heap.work;
    int status = dispatch_request(&request);

    xs->counters.requests++;
    if (status < 0) {
        xs->counters.errors++;
        if (status == DGM_ENOSPC || (status == DGM_E2BIG && header->type == XS_WATCH))
            xs->counters.quota_refusals++;
        header->type = XS_ERROR;
        status = reply_text(&request, dgm_xs_wire_error(status));
    }
    header->len = (uint32_t)status;
    memcpy(domain->message.payload, request.reply, (size_t)status);
    dgm_xs_work(&xs->heap, 1 + dgm_xs_string_cells((size_t)status));
    if (xs->heap.work - start > xs->counters.work_request_max)
        xs->counters.work_request_max = xs->heap.work - start;
}
