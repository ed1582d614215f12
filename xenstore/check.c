/* SPDX-License-Identifier: MIT */
/*
 * check: asserts every invariant of the store; for tests, fuzzers and the simulator
 *
 * Counts the cells that can be reached, by the account to which they should be charged. So the next
 * call finds a cell that leaked or is charged to the wrong domain. O(cells).
 */
#include "store.h"

#include <dragoman/base/check.h>

struct tally {
    const struct dgm_xenstore *xs;
    struct {
        uint32_t cells, nodes, watches, transactions;
    } accounts[DGM_XS_ACCOUNTS];
};

static void check_node(struct tally *tally, const struct dgm_xs_node *node)
{
    const struct dgm_xs_node *found, *last = NULL;
    char name[DGM_XS_PATH_MAX];

    tally->accounts[node->account].cells += (uint32_t)(1 + dgm_xs_string_cells(node->name.bytes) +
                                                       dgm_xs_string_cells(node->value.bytes));
    tally->accounts[node->account].nodes += !!(node->flags & DGM_XS_NODE_COUNTED);
    for (const struct dgm_xs_node *child = node->first; child; child = child->next) {
        dgm_assert(child->parent == node);
        dgm_assert(!last || child->previous == last);
        last = child;
    }
    dgm_assert(!node->first || node->first->previous == last);
    if (!node->parent)
        return;
    found = dgm_xs_node_child(&tally->xs->tree, node->parent, name,
                              dgm_xs_string_get(&node->name, name));
    dgm_assert(found == node);
}

static void check_transaction(struct tally *tally, const struct dgm_xs_transaction *transaction)
{
    tally->accounts[transaction->account].cells++;
    tally->accounts[transaction->account].transactions++;
    for (struct dgm_xs_node *n = transaction->root; n;
         n = dgm_xs_node_after(n, transaction->root)) {
        dgm_assert(n->account == transaction->account);
        check_node(tally, n);
    }
}

static void check_domain(struct tally *tally, const struct dgm_xs_domain *domain)
{
    const struct dgm_xs_waiting *last = NULL;
    uint32_t cells = 0, events = 0, queued = 0, own = 0;

    for (const struct dgm_xs_guest_watch *w = domain->watches; w; w = w->next) {
        dgm_assert(w->domain == domain);
        tally->accounts[domain->account].watches++;
        cells += (uint32_t)(1 + dgm_xs_string_cells(w->path.bytes) +
                            dgm_xs_string_cells(w->token.bytes));
        dgm_assert(*w->hash_link == w && w->own.watch == w);
        own += w->own_waits;
        for (const struct dgm_xs_event *e = w->events; e; e = e->next) {
            dgm_assert(e->waiting.watch == w && e->below.bytes);
            events++;
            cells += (uint32_t)(1 + dgm_xs_string_cells(e->below.bytes));
        }
    }
    for (const struct dgm_xs_waiting *e = domain->events.first; e; e = e->next) {
        dgm_assert(e->previous == last && e->watch->domain == domain);
        last = e;
        if (e == &e->watch->own) {
            dgm_assert(e->watch->own_waits);
            own--;
        } else {
            queued++;
        }
    }
    dgm_assert(domain->events.last == last && queued == events);
    dgm_assert(own == 0 && events == domain->events.cells && events <= DGM_XS_EVENTS_MAX);
    dgm_assert(!domain->stopped || (!domain->watches && !domain->transactions && !last));
    for (const struct dgm_xs_transaction *t = domain->transactions; t; t = t->next) {
        dgm_assert(t->account == domain->account);
        check_transaction(tally, t);
    }
    if (domain->announcing)
        check_transaction(tally, domain->announcing);
    tally->accounts[domain->account].cells += cells;
}

void dgm_xs_check(const struct dgm_xenstore *xs)
{
    struct tally tally = {.xs = xs};

    dgm_xs_heap_check(&xs->heap);
    for (const struct dgm_xs_node *n = xs->tree.root; n; n = dgm_xs_node_after(n, xs->tree.root)) {
        dgm_assert((n->flags & ~DGM_XS_NODE_COUNTED) == DGM_XS_NODE_EXISTS);
        dgm_assert(n->perms.count >= 1 && n->perms.count <= DGM_XS_PERMS_MAX);
        dgm_assert(n->generation && n->generation <= xs->tree.generation);
        check_node(&tally, n);
    }
    for (size_t i = 0; i < xs->domain_count; i++)
        if (xs->domains[i].page)
            check_domain(&tally, &xs->domains[i]);
    for (const struct dgm_xs_transaction *t = xs->schedule.orphans; t; t = t->next)
        check_transaction(&tally, t);
    for (size_t i = 0; i < DGM_XS_ACCOUNTS; i++) {
        const struct dgm_xs_account *const account = &xs->heap.accounts[i];

        dgm_assert(tally.accounts[i].cells == account->cells);
        dgm_assert(tally.accounts[i].nodes == account->nodes);
        dgm_assert(tally.accounts[i].watches == account->watches);
        dgm_assert(tally.accounts[i].transactions == account->transactions);
    }
}
