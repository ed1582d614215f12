/* SPDX-License-Identifier: MIT */
/*
 * hypervisor: the simulated machine itself: domains, their memory, the hypercall gate
 *
 * A guest's memory is a memfd mapped twice, so that a frame granted read-only can be shown to us as
 * memory that traps on a write. sim/hypervisor/hypervisor.h describes the model.
 */
#define _GNU_SOURCE
#include <sim/hypervisor/internal.h>

#include <port/env.h>
#include <port/sim/sim.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct hv_machine hv;

void *hv_table_get(const struct hv_table *table, uint64_t key)
{
    const struct hv_node *node = table->bucket[key % HV_BUCKETS];

    while (node && node->key != key)
        node = node->next;
    return node ? node->value : NULL;
}

void hv_table_set(struct hv_table *table, uint64_t key, void *value)
{
    struct hv_node **link = &table->bucket[key % HV_BUCKETS];

    while (*link && (*link)->key != key)
        link = &(*link)->next;
    if (!value) {
        struct hv_node *gone = *link;

        if (gone) {
            *link = gone->next;
            free(gone);
        }
        return;
    }
    if (!*link) {
        *link = calloc(1, sizeof **link);
        assert(*link);
        (*link)->key = key;
    }
    (*link)->value = value;
}

void hv_table_free(struct hv_table *table, void (*free_value)(void *))
{
    for (size_t i = 0; i < HV_BUCKETS; i++) {
        while (table->bucket[i]) {
            struct hv_node *node = table->bucket[i];

            table->bucket[i] = node->next;
            if (free_value)
                free_value(node->value);
            free(node);
        }
    }
}

/* All guests' frames lie in one range of addresses, writable in its lower half and read-only in its
 * upper one, so that a subtraction shows whether a pointer is a guest's. */
#define GUESTS_BYTES DGM_HV_GUESTS_BYTES

char *dgm_hv_guests_at;
static size_t guests_used;

void *dgm_hv_guest_frame(const void *va, uint64_t *index)
{
    const size_t offset = (size_t)((const char *)va - dgm_hv_guests_at);

    if (!dgm_hv_guests_at || offset >= 2 * GUESTS_BYTES)
        return NULL;
    *index = (offset & (GUESTS_BYTES - 1)) / DGM_FRAME_BYTES;
    return dgm_hv_guests_at + *index * DGM_FRAME_BYTES;
}

void hv_memory(uint64_t count, void **rw, void **ro)
{
    const size_t bytes = count * DGM_FRAME_BYTES;
    const int fd = memfd_create("guest", 0);
    struct hv_chunk *chunk = calloc(1, sizeof *chunk);

    if (!dgm_hv_guests_at)
        dgm_hv_guests_at = mmap(NULL, 2 * GUESTS_BYTES, PROT_NONE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(dgm_hv_guests_at != MAP_FAILED && bytes <= GUESTS_BYTES - guests_used);
    assert(fd >= 0 && chunk && ftruncate(fd, (off_t)bytes) == 0);
    chunk->bytes = bytes;
    chunk->rw = mmap(dgm_hv_guests_at + guests_used, bytes, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_FIXED, fd, 0);
    chunk->ro = mmap(dgm_hv_guests_at + GUESTS_BYTES + guests_used, bytes, PROT_READ,
                     MAP_SHARED | MAP_FIXED, fd, 0);
    guests_used += bytes;
    assert(chunk->rw != MAP_FAILED && chunk->ro != MAP_FAILED);
    close(fd);
    chunk->next = hv.chunks;
    hv.chunks = chunk;
    *rw = chunk->rw;
    *ro = chunk->ro;
}

void dgm_hv_start(dgm_gfn_t first, uint64_t frames, dgm_mfn_t mfn)
{
    dgm_hv_stop();
    hv.ram = (struct dgm_gfn_range){first, frames};
    hv.ram_mfn = dgm_mfn_number(mfn);
    hv.self = calloc(1, sizeof *hv.self);
    assert(hv.self);
    hv.handles = calloc(HV_HANDLES, sizeof *hv.handles);
    hv.shared = aligned_alloc(DGM_FRAME_BYTES, DGM_FRAME_BYTES);
    assert(hv.handles && hv.shared && sizeof *hv.shared <= DGM_FRAME_BYTES);
    memset(hv.shared, 0, DGM_FRAME_BYTES);
    dgm_sim_memory(first, frames);
    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = dgm_hv_hypercall});
}

void dgm_hv_scatter_ram(uint64_t seed)
{
    const uint32_t count = (uint32_t)hv.ram.count;

    hv.ram_place = calloc(count, sizeof *hv.ram_place);
    hv.ram_at = calloc(count, sizeof *hv.ram_at);
    assert(hv.ram_place && hv.ram_at);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        other = (uint32_t)((seed >> 33) % (i + 1)); /* shuffled while it is filled */
        hv.ram_place[i] = hv.ram_place[other];
        hv.ram_place[other] = i;
    }
    for (uint32_t i = 0; i < count; i++)
        hv.ram_at[hv.ram_place[i]] = i;
}

void dgm_hv_stop(void)
{
    dgm_sim_attach(NULL);
    for (size_t i = 0; i < HV_BUCKETS; i++)
        for (struct hv_node *node = hv.p2m.bucket[i]; node; node = node->next)
            dgm_sim_plain(dgm_gfn(node->key));
    hv_table_free(&hv.p2m, free);
    hv_table_free(&hv.machine, NULL);
    while (hv.all) {
        struct hv_domain *domain = hv.all;

        hv.all = domain->next;
        hv_table_free(&domain->pages, free);
        free(domain);
    }
    while (hv.chunks) {
        struct hv_chunk *chunk = hv.chunks;

        hv.chunks = chunk->next;
        free(chunk);
    }
    if (hv.self)
        hv_table_free(&hv.self->pages, free);
    free(hv.self);
    for (size_t i = 0; i < HV_TABLE_FRAMES; i++)
        free(hv.table.frames[i]);
    free(hv.ram_place);
    free(hv.ram_at);
    if (dgm_hv_guests_at)
        munmap(dgm_hv_guests_at, 2 * GUESTS_BYTES);
    dgm_hv_guests_at = NULL;
    guests_used = 0;
    free(hv.handles);
    free(hv.shared);
    dgm_sim_memory(dgm_gfn(0), 0);
    memset(&hv, 0, sizeof hv);
}

struct hv_domain *hv_domain(domid_t domid)
{
    return domid < DGM_HV_DOMAINS ? hv.by_id[domid] : NULL;
}

struct hv_domain *hv_domain_or_die(domid_t domid)
{
    struct hv_domain *domain = hv_domain(domid);

    assert(domain); /* the test uses a guest that it did not make */
    return domain;
}

bool hv_is_ram(uint64_t gfn)
{
    return dgm_gfn_in(hv.ram, dgm_gfn(gfn));
}

uint64_t hv_ram_mfn(uint64_t gfn)
{
    const uint64_t at = gfn - dgm_gfn_number(hv.ram.first);

    return hv.ram_mfn + (hv.ram_place ? hv.ram_place[at] : at);
}

void hv_page_add(struct hv_domain *domain, uint64_t gfn, void *rw, void *ro)
{
    struct hv_page *page = calloc(1, sizeof *page);

    assert(page && !hv_table_get(&domain->pages, gfn));
    while (dgm_hv_machine(dgm_mfn(domain->mfn_next))) /* dgm_hv_set_mfn() assigned it */
        domain->mfn_next++;
    page->mfn = domain->mfn_next++;
    page->rw = rw;
    page->ro = ro;
    hv_table_set(&domain->pages, gfn, page);
    hv_table_set(&hv.machine, page->mfn, page);
}

void dgm_hv_domain_add(domid_t domid, uint64_t frames)
{
    struct hv_domain *domain = calloc(1, sizeof *domain);
    static uint64_t lives; /* a reused domid gets new machine frames */
    void *rw, *ro;

    assert(domain && domid > 0 && domid < DGM_HV_DOMAINS && !hv.by_id[domid]);
    domain->domid = domid;
    domain->mfn_next = 0x100000ull * domid;
    while (hv_table_get(&hv.machine, domain->mfn_next))
        domain->mfn_next += 0x10000000ull + (lives++ & 15) * 0x1000;
    domain->pages_max = frames;
    domain->next = hv.all;
    hv.all = domain;
    hv.by_id[domid] = domain;
    if (frames) {
        hv_memory(frames, &rw, &ro);
        for (uint64_t i = 0; i < frames; i++)
            hv_page_add(domain, i, (char *)rw + i * DGM_FRAME_BYTES,
                        (char *)ro + i * DGM_FRAME_BYTES);
    }
}

void dgm_hv_domain_destroy(domid_t domid)
{
    struct hv_domain *domain = hv_domain_or_die(domid);

    domain->dead = true;
    hv.by_id[domid] = NULL;
    hv_ports_of_dead(domain);
}

void *dgm_hv_page(domid_t domid, uint64_t gfn)
{
    const struct hv_page *page = hv_table_get(&hv_domain_or_die(domid)->pages, gfn);

    assert(page);
    return page->rw;
}

dgm_mfn_t dgm_hv_mfn(domid_t domid, uint64_t gfn)
{
    const struct hv_page *page;

    if (domid == 0)
        return hv_is_ram(gfn) ? dgm_mfn(hv_ram_mfn(gfn)) : DGM_MFN_NONE;
    page = hv_table_get(&hv_domain_or_die(domid)->pages, gfn);
    return page ? dgm_mfn(page->mfn) : DGM_MFN_NONE;
}

void dgm_hv_set_mfn(domid_t domid, uint64_t gfn, dgm_mfn_t mfn)
{
    struct hv_page *page = hv_table_get(&hv_domain_or_die(domid)->pages, gfn);

    assert(page && page->maps == 0 && page->foreign == 0 && !dgm_hv_machine(mfn));
    hv_table_set(&hv.machine, page->mfn, NULL);
    page->mfn = dgm_mfn_number(mfn);
    hv_table_set(&hv.machine, page->mfn, page);
}

void *dgm_hv_machine(dgm_mfn_t mfn)
{
    const struct hv_page *page;

    if (dgm_mfn_number(mfn) >= hv.ram_mfn && dgm_mfn_number(mfn) - hv.ram_mfn < hv.ram.count) {
        const uint64_t at = dgm_mfn_number(mfn) - hv.ram_mfn;
        const uint64_t gfn = dgm_gfn_number(hv.ram.first) + (hv.ram_at ? hv.ram_at[at] : at);

        return hv_entry(gfn) ? NULL : dgm_env_va(dgm_gfn(gfn));
    }
    page = hv_table_get(&hv.machine, dgm_mfn_number(mfn));
    return page ? page->rw : NULL;
}

bool dgm_hv_may_dma(dgm_mfn_t mfn, bool write)
{
    const struct hv_page *page = hv_table_get(&hv.machine, dgm_mfn_number(mfn));

    if (!page)
        return dgm_hv_machine(mfn) != NULL;
    return write ? page->maps_writable > 0 : page->maps > 0;
}

void dgm_hv_set_param(domid_t domid, uint32_t index, uint64_t value)
{
    assert(index < 64);
    hv_domain_or_die(domid)->params[index] = value;
}

uint64_t dgm_hv_param(domid_t domid, uint32_t index)
{
    assert(index < 64);
    return hv_domain_or_die(domid)->params[index];
}

static long hvm_op(unsigned command, struct xen_hvm_param *param)
{
    struct hv_domain *domain = hv_domain(param->domid);

    if (!domain)
        return -ESRCH;
    if (param->index >= 64)
        return -EINVAL;
    if (command == HVMOP_get_param)
        param->value = domain->params[param->index];
    else if (command == HVMOP_set_param)
        domain->params[param->index] = param->value;
    else
        return -ENOSYS;
    return 0;
}

/* Xen copies arguments only from and to the caller's own memory. */
static bool is_foreign(const void *va)
{
    const uintptr_t address = (uintptr_t)va;

    for (const struct hv_chunk *chunk = hv.chunks; chunk; chunk = chunk->next) {
        if (address - (uintptr_t)chunk->rw < chunk->bytes ||
            address - (uintptr_t)chunk->ro < chunk->bytes)
            return true;
    }
    return false;
}

long dgm_hv_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    const uint64_t nth = hv.stats.calls++;
    void *const argument = (void *)(uintptr_t)a2;

    (void)a4;
    (void)a5;
    if (hv.faults.call) {
        const long refused = hv.faults.call(hv.faults.context, nth, op, (unsigned)a1);

        if (refused)
            return refused;
    }
    if (is_foreign(argument))
        return -EFAULT;
    switch (op) {
    case __HYPERVISOR_grant_table_op:
        return hv_grant_op((unsigned)a1, argument, a3);
    case __HYPERVISOR_memory_op:
        return hv_memory_op((unsigned)a1, argument);
    case __HYPERVISOR_event_channel_op:
        return hv_event_op((unsigned)a1, argument);
    case __HYPERVISOR_hvm_op:
        return hvm_op((unsigned)a1, argument);
    case __HYPERVISOR_xen_version:
        return hv_version_op((unsigned)a1, argument);
    case __HYPERVISOR_domctl:
        return hv_domctl((struct xen_domctl *)(uintptr_t)a1);
    default:
        return -ENOSYS;
    }
}

void dgm_hv_set_faults(const struct dgm_hv_faults *faults)
{
    hv.faults = faults ? *faults : (struct dgm_hv_faults){0};
}

const struct dgm_hv_stats *dgm_hv_stats(void)
{
    return &hv.stats;
}
