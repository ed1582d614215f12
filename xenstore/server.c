/* SPDX-License-Identifier: MIT */
/*
 * server: what a guest's request means
 *
 * One function per type of request: it takes the payload apart (wire.c), does the thing (store.c,
 * watch.c, transaction.c) and builds the reply's payload, or says with what status it is refused. A
 * table leads to them. What only the toolstack may ask is EACCES, what does not exist is ENOSYS.
 *
 * Errors follow xenstored 4.17: ENOSPC for every quota but that of watches, which is E2BIG.
 * Stricter than it in one thing: watching @introduceDomain and @releaseDomain is refused with
 * EACCES, where xenstored accepts the watch and never fires it.
 */
#include "store.h"

#include <dragoman/base/text.h>

#include <string.h>

struct request {
    struct dgm_xenstore *xs;
    struct dgm_xs_domain *domain;
    struct dgm_xs_who who;
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

static int done(struct request *r, int status)
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

/* The payload must be exactly `count` strings. */
static bool strings_are(struct request *r, const char *strings[], int count)
{
    return dgm_xs_wire_strings(r->payload, r->bytes, strings, (size_t)count) == count;
}

/* The payload is a path alone; DGM_OK: in xs->path. */
static int only_path(struct request *r)
{
    const char *given;

    if (!strings_are(r, &given, 1))
        return DGM_EINVAL;
    return dgm_xs_wire_path(r->domain->domid, given, r->xs->path);
}

/* The payload begins with a path: DGM_OK: in xs->path, and the rest is left in the payload. */
static int path_first(struct request *r)
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
    return dgm_xs_store_find(r->xs, &r->who, r->xs->path, DGM_XS_READ, node);
}

static int do_read(struct request *r)
{
    struct dgm_xs_node *node;
    int status = only_path(r);

    if (!status)
        status = find_readable(r, &node);
    return status ? status : (int)dgm_xs_string_get(&node->value, r->reply);
}

static int do_directory(struct request *r)
{
    struct dgm_xs_node *node;
    int status = only_path(r);
    bool complete;
    size_t bytes;

    if (!status)
        status = find_readable(r, &node);
    if (status)
        return status;
    bytes = dgm_xs_store_list(r->xs, &r->who, node, 0, r->reply, XENSTORE_PAYLOAD_MAX, &complete);
    return complete ? (int)bytes : DGM_E2BIG; /* the guest may ask for it in parts */
}

static int do_directory_part(struct request *r)
{
    const char *strings[2];
    struct dgm_xs_node *node;
    size_t generation_bytes, bytes;
    uint64_t offset;
    bool complete;
    int status;

    if (!strings_are(r, strings, 2) ||
        !dgm_text_number(strings[1], dgm_text_length(strings[1]), UINT32_MAX, &offset))
        return DGM_EINVAL;
    status = dgm_xs_wire_path(r->domain->domid, strings[0], r->xs->path);
    if (!status)
        status = find_readable(r, &node);
    if (status)
        return status;
    /* The children's generation, so that the guest sees when the parts do not fit together; one
     * byte stays for the empty name that ends the last part. */
    generation_bytes = (size_t)reply_number(r, "", node->children_generation);
    bytes = generation_bytes;
    bytes += dgm_xs_store_list(r->xs, &r->who, node, offset, r->reply + bytes,
                               XENSTORE_PAYLOAD_MAX - bytes - 1, &complete);
    if (complete)
        r->reply[bytes++] = '\0';
    return (int)bytes;
}

static int do_get_perms(struct request *r)
{
    struct dgm_xs_node *node;
    int status = only_path(r);

    if (!status)
        status = find_readable(r, &node);
    return status ? status : (int)dgm_xs_wire_perms_text(&node->perms, r->reply);
}

static int do_set_perms(struct request *r)
{
    struct dgm_xs_perms perms;
    int status = path_first(r);

    if (!status)
        status = dgm_xs_wire_perms(r->payload, r->bytes, &perms);
    if (!status)
        status = dgm_xs_store_set_perms(r->xs, &r->who, r->xs->path, &perms);
    return done(r, status);
}

static int do_write(struct request *r)
{
    int status = path_first(r);

    if (!status)
        status = dgm_xs_store_write(r->xs, &r->who, r->xs->path, r->payload, r->bytes);
    return done(r, status);
}

static int do_mkdir(struct request *r)
{
    int status = only_path(r);

    if (!status)
        status = dgm_xs_store_mkdir(r->xs, &r->who, r->xs->path);
    return done(r, status);
}

/* Does the parent of xs->path exist? What is missing already may be removed then. */
static bool parent_exists(struct request *r)
{
    const struct dgm_xs_who dom0 = {.transaction = r->who.transaction};
    char *const path = r->xs->path;
    size_t length = dgm_text_length(path);
    struct dgm_xs_node *node;

    while (length > 1 && path[length - 1] != '/')
        length--;
    path[length > 1 ? length - 1 : 1] = '\0';
    return dgm_xs_store_find(r->xs, &dom0, path, 0, &node) == DGM_OK;
}

static int do_rm(struct request *r)
{
    int status = only_path(r);

    if (!status) {
        status = dgm_xs_store_rm(r->xs, &r->who, r->xs->path);
        if (status == DGM_ENOENT && parent_exists(r))
            status = DGM_OK;
    }
    return done(r, status);
}

/* The strings of WATCH and UNWATCH: path (into xs->path) and token. */
static int watch_arguments(struct request *r, const char **token, size_t *hidden)
{
    const char *strings[2];

    if (!strings_are(r, strings, 2))
        return DGM_EINVAL;
    if (dgm_text_equal(strings[0], "@introduceDomain") ||
        dgm_text_equal(strings[0], "@releaseDomain"))
        return DGM_EACCES; /* they tell of other domains */
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
    int status = watch_arguments(r, &token, &hidden);

    if (!status)
        status = dgm_xs_watches_add(r->xs, r->domain, r->xs->path, hidden, token);
    return done(r, status);
}

static int do_unwatch(struct request *r)
{
    const char *token;
    size_t hidden;
    int status = watch_arguments(r, &token, &hidden);

    if (!status)
        status = dgm_xs_watches_remove(r->xs, r->domain, r->xs->path, token);
    return done(r, status);
}

static int do_reset_watches(struct request *r)
{
    dgm_xs_connection_reset(r->domain);
    return done(r, DGM_OK);
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

    if (r->who.transaction)
        return DGM_EBUSY;
    if (account->transactions >= r->xs->limits.transactions)
        return DGM_ENOSPC;
    do
        domain->transaction_id++;
    while (!domain->transaction_id || *find_transaction(domain, domain->transaction_id));
    transaction = dgm_xs_transaction_begin(r->xs, domain->account, domain->transaction_id);
    if (!transaction)
        return DGM_ENOSPC;
    account->transactions++;
    transaction->next = domain->transactions;
    domain->transactions = transaction;
    return reply_number(r, "", transaction->id);
}

static int do_transaction_end(struct request *r)
{
    struct dgm_xs_transaction *const transaction = r->who.transaction;
    const char *verdict;
    int status = DGM_OK;

    if (!strings_are(r, &verdict, 1) ||
        !(dgm_text_equal(verdict, "T") || dgm_text_equal(verdict, "F")))
        return DGM_EINVAL;
    if (!transaction)
        return DGM_ENOENT;
    if (verdict[0] == 'T')
        status = dgm_xs_transaction_commit(r->xs, transaction);
    *find_transaction(r->domain, transaction->id) = transaction->next;
    dgm_xs_transaction_end(r->xs, transaction);
    r->xs->heap.accounts[r->domain->account].transactions--;
    return done(r, status);
}

static int do_get_domain_path(struct request *r)
{
    const char *string;
    uint64_t domid;

    if (!strings_are(r, &string, 1) ||
        !dgm_text_number(string, dgm_text_length(string), UINT16_MAX, &domid))
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

static int serve(struct request *r)
{
    const struct xsd_sockmsg *const header = &r->domain->message.header;

    if (header->tx_id) {
        r->who.transaction = *find_transaction(r->domain, header->tx_id);
        if (!r->who.transaction)
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
        .who = {.domid = domain->domid, .account = domain->account},
        .payload = domain->message.payload,
        .bytes = header->len,
        .reply = xs->reply,
    };
    int status = serve(&request);

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
}
