/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/internal: the declarations that the files of the simulated Xen share
 *
 * One machine, in `hv`. Domains and their pages live until dgm_hv_stop(), dead ones as zombies, so
 * that a mapping held by the library never dangles. Xen's own bookkeeping (maptrack, our p2m) is
 * separate from the data that checks the library (where a handle was really mapped).
 */
#ifndef SIM_HYPERVISOR_INTERNAL_H
#define SIM_HYPERVISOR_INTERNAL_H

#include <sim/hypervisor/hypervisor.h>

#define HV_BUCKETS      1024u
#define HV_REF_PINS_MAX 128u /* Xen's 8-bit counters, overflow guarded */
#define HV_HANDLES      65536u

/* uint64 -> pointer, chained. */
struct hv_node {
    uint64_t key;
    void *value;
    struct hv_node *next;
};

struct hv_table {
    struct hv_node *bucket[HV_BUCKETS];
};

void *hv_table_get(const struct hv_table *table, uint64_t key);
void hv_table_set(struct hv_table *table, uint64_t key, void *value); /* NULL removes */
void hv_table_free(struct hv_table *table, void (*free_value)(void *));

/* A guest's frame: the same memory in two views, writable and not. */
struct hv_page {
    uint64_t mfn;
    void *rw, *ro;
    uint32_t maps, maps_writable; /* grant mappings of ours */
    uint32_t foreign;             /* gmfn_foreign mappings of ours */
};

struct hv_ref {
    bool granted, readonly;
    uint64_t gfn;
    uint32_t pins, pins_writable;
};

enum hv_port_state { HV_PORT_FREE, HV_PORT_UNBOUND, HV_PORT_INTERDOMAIN, HV_PORT_VIRQ };

struct hv_port {
    enum hv_port_state state;
    struct hv_domain *remote; /* for our port: the guest at the other end */
    uint32_t peer;            /* the other end's port, or the virq */
    uint64_t events;          /* a guest's: sent to it */
};

struct hv_domain {
    domid_t domid;
    bool dead;
    struct hv_table pages; /* gfn -> struct hv_page */
    struct hv_ref refs[DGM_HV_REFS];
    struct hv_port ports[DGM_HV_PORTS];
    uint64_t params[64];
    uint64_t mfn_next;
    uint64_t maps;      /* of its references, by us, now */
    uint64_t pages_max; /* frames that it may have */
    bool shut_down;
    uint8_t shutdown_reason;
    struct hv_domain *next;
};

/* The kinds of frames at a gfn of ours that is not plain RAM. */
enum hv_entry_kind {
    HV_ENTRY_HOLE,
    HV_ENTRY_GRANT,
    HV_ENTRY_FOREIGN,
    HV_ENTRY_SHARED_INFO,
    HV_ENTRY_TABLE
};

struct hv_entry {
    enum hv_entry_kind kind;
    struct hv_page *page;
};

struct hv_handle {
    bool live, writable;
    struct hv_domain *domain;
    uint32_t ref;
    struct hv_page *page;
    uint64_t gfn; /* where it was really mapped, which Xen itself does not record */
};

struct hv_chunk { /* memory to free at the end */
    void *rw, *ro;
    size_t bytes;
    struct hv_chunk *next;
};

/* Our grant table. */
#define HV_TABLE_FRAMES 8u

struct hv_grant_table {
    struct grant_entry_v1 *frames[HV_TABLE_FRAMES]; /* NULL: not grown so far */
    uint64_t gfn[HV_TABLE_FRAMES];                  /* where we map it; 0: nowhere */
};

struct hv_machine {
    struct dgm_gfn_range ram;
    uint64_t ram_mfn;
    uint32_t *ram_place, *ram_at; /* scattered: gfn -> mfn and back, from the start of each */
    struct hv_domain *self;       /* our grants: refs, and pages made when a reference names them */
    struct hv_grant_table table;
    struct hv_domain *by_id[DGM_HV_DOMAINS];
    struct hv_domain *all;
    struct hv_table p2m;     /* our gfn -> struct hv_entry */
    struct hv_table machine; /* mfn -> struct hv_page */
    struct hv_handle *handles;
    uint32_t handle_next;
    uint64_t maptrack;                  /* the most handles; 0: HV_HANDLES */
    struct hv_port ports[DGM_HV_PORTS]; /* ours */
    struct shared_info *shared;
    bool interrupt;
    struct hv_chunk *chunks;
    uint32_t domctl; /* the interface version that is accepted; 0: the newest */
    struct dgm_hv_faults faults;
    uint64_t nth_map, nth_unmap, nth_copy, nth_op;
    struct dgm_hv_stats stats;
};

extern struct hv_machine hv;

struct hv_domain *hv_domain(domid_t domid); /* NULL: none, or dead */
struct hv_domain *hv_domain_or_die(domid_t domid);
bool hv_is_ram(uint64_t gfn); /* of our RAM's range, ballooned out or not */
uint64_t hv_ram_mfn(uint64_t gfn);

/* Adds a zeroed frame to a guest at `gfn`. */
void hv_page_add(struct hv_domain *domain, uint64_t gfn, void *rw, void *ro);
/* `count` zeroed frames of host memory, in both views. */
void hv_memory(uint64_t count, void **rw, void **ro);

/* Our p2m: the entry at `gfn`, and its changes. NULL: RAM, or no memory. */
struct hv_entry *hv_entry(uint64_t gfn);
void hv_entry_set(uint64_t gfn, enum hv_entry_kind kind, struct hv_page *page, void *va);
void hv_entry_clear(uint64_t gfn); /* RAM becomes a hole */

/* A port of ours that `event` made pending, by Xen's rules. */
void hv_pending(uint32_t port);
void hv_ports_of_dead(struct hv_domain *domain);

/*
 * Pins and unpins a reference, for a mapping or a copy. GNTST_okay: *page is the frame. Otherwise
 * the negative status.
 */
int16_t hv_ref_pin(struct hv_domain *domain, grant_ref_t ref, bool writable, struct hv_page **page);
void hv_ref_unpin(struct hv_domain *domain, grant_ref_t ref, bool writable);
/* Domain `domid`; 0 is ours. NULL: none, or dead. */
struct hv_domain *hv_granter(domid_t domid);
/* Maps frame `index` of our table at `gfn`, and unmaps it. */
long hv_table_map(uint64_t index, uint64_t gfn);
void hv_table_unmap(uint64_t gfn);
/* A frame of our own RAM, or NULL: ballooned out, or another frame is mapped there. */
struct hv_page *hv_own_page(uint64_t gfn);
/* Whether a fault stops the batch before this op. */
bool hv_cut(void);

long hv_grant_op(unsigned command, void *ops, uint64_t count);
long hv_copy(struct gnttab_copy *ops, uint64_t count);
long hv_cache_flush(const struct gnttab_cache_flush *ops, uint64_t count);
long hv_memory_op(unsigned command, void *argument);
long hv_version_op(unsigned command, void *argument);
long hv_event_op(unsigned command, void *argument);
struct xen_domctl;
long hv_domctl(struct xen_domctl *op);

uint64_t hv_domain_pages(const struct hv_domain *domain); /* domctl.c */

#endif
