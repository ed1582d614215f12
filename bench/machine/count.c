/* SPDX-License-Identifier: MIT */
/*
 * count: a QEMU TCG plugin that counts the executed instructions at each address
 *
 *   -plugin count.so,out=FILE[,guests=N][,cpus=N][,turn=OFFSET:WORD][,watch=OFFSET:COUNT]
 *
 * Every executed instruction adds one to the counter of its place: its virtual address together
 * with the physical address from which it was fetched. A program marks its work by instructions
 * without effect:
 *
 *   orr x9, x9, x9      this guest's measured part begins
 *   orr x10, x10, x10   it ends
 *   orr x11, x11, x11   one operation was completed
 *
 * A window is the time during which all of `guests` guests are in their measured part: it opens
 * when the last of them begins and closes when the first of them ends. Then the plugin appends to
 * FILE
 *
 *   window OPERATIONS
 *   place VADDR PADDR WORD BEFORE COUNT TRAPS IN-XEN IRQS IN-XEN     for each place executed in it
 *   writes COUNT             32-bit writes to registers of PCI devices: doorbells
 *   turns COUNT MOST         turns of the domain's reactor; the most instructions of one
 *   watch INDEX CHANGE IN-XEN     for each watched word that changed
 *
 * Addresses and the two instruction words (of the place, and of the one before it in its translated
 * block; 0 where there is none) are hexadecimal. TRAPS counts entries to Xen right after a block
 * that ends at this place, by other exceptions than interrupts, IRQS those by interrupts; IN-XEN is
 * the number of instructions that Xen executed until it returned or, after its own WFI, was woken.
 * So Xen's instructions are recorded under their cause: the caller's HVC, a domain's WFI, Xen's own
 * WFI, a trapped access. The reader of FILE decides which program a place belongs to
 * (machine/account.py).
 *
 * turn= names an instruction of the domain's image by its offset and its word: the entry of the
 * function that runs one turn. Only the image's own instructions between two executions count.
 * watch= names 64-bit words of the image's data, the counters of its hypercalls by number: the cost
 * of an HVC of the image is recorded under the word that changed. The image is smaller than 2 MiB
 * and is loaded at a multiple of it, so the low bits of an address and the word identify an
 * instruction.
 *
 * A CPU that waits in WFI executes and counts no instruction. With several CPUs (one host thread
 * for all: counters are not atomic) only places and writes are counted.
 *
 * Physical addresses: QEMU gives the host address of an instruction's bytes. RAM is one mapping of
 * the host, and the first instruction that the machine executes, the boot stub, lies at its start,
 * 0x40000000 (QEMU's `virt`).
 */
#include "qemu_plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_BASE     0x40000000u
#define BUCKETS      (1u << 18)
#define MARKER_BEGIN 0xaa090129u
#define MARKER_END   0xaa0a014au
#define MARKER_DONE  0xaa0b016bu
#define WFI          0xd503207fu
#define HVC          0xd4000002u
#define HVC_MASK     0xffe0001fu
#define XEN_BEGIN    0xa0000000000u /* Xen's own virtual range on arm64 */
#define XEN_END      0xc0000000000u
#define IMAGE_ALIGN  0x200000u
#define WATCHED_MAX  256u
/* Where QEMU's `virt` has the registers of PCI devices. */
#define PCI_BEGIN      0x10000000u
#define PCI_END        0x3eff0000u
#define PCI_HIGH_BEGIN 0x8000000000u

enum { COUNT, TRAPS, IN_XEN_BY_TRAP, IRQS, IN_XEN_BY_IRQ, COUNTERS };

struct place {
    uint64_t vaddr, paddr;
    uint64_t now[COUNTERS]; /* since power-on */
    uint64_t at_begin[COUNTERS];
    uint32_t word, before;
    struct place *next; /* of the same bucket */
};

/* A translated block. */
struct block {
    struct place *last; /* its last instruction */
    uint64_t vaddr, paddr;
    bool xen;
};

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static struct place *buckets[BUCKETS];
static char *ram; /* the host's address of RAM_BASE */
static FILE *out;
static unsigned guests = 1, cpus = 1, begun;
static uint64_t operations, operations_at_begin, writes, writes_at_begin;

static uint64_t in_xen, not_in_xen; /* executed instructions */
static struct block *running;
static uint64_t *entry; /* the counter for Xen's instructions since its last entry */
static uint64_t in_xen_at_entry;

/* The domain's image. `image` is its address after its turn has been found. */
static uint64_t turn_offset, image;
static uint32_t turn_word;
static uint64_t watched_offset, watched_at_begin[WATCHED_MAX], watched_before[WATCHED_MAX];
static uint64_t in_xen_by_watched[WATCHED_MAX], in_xen_by_watched_at_begin[WATCHED_MAX];
static unsigned watched;
static bool in_image;
static uint64_t in_image_executed, not_in_xen_at_switch;
static uint64_t turns, turn_most, turn_began;

static struct place *place_of(uint64_t vaddr, uint64_t paddr)
{
    const uint64_t hash = vaddr / 4 * 0x9e3779b97f4a7c15u ^ paddr / 4;
    struct place **link = &buckets[(hash ^ hash >> 32) % BUCKETS];

    for (; *link; link = &(*link)->next)
        if ((*link)->vaddr == vaddr && (*link)->paddr == paddr)
            return *link;
    *link = calloc(1, sizeof **link);
    if (!*link)
        abort();
    (*link)->vaddr = vaddr;
    (*link)->paddr = paddr;
    return *link;
}

static uint64_t watched_word(unsigned index)
{
    uint64_t value;

    memcpy(&value, ram + (image + watched_offset + index * sizeof value - RAM_BASE), sizeof value);
    return value;
}

/* Records the instructions of Xen since its last entry. */
static void settle_entry(void)
{
    if (entry)
        *entry += in_xen - in_xen_at_entry;
    in_xen_at_entry = in_xen;
}

static void window_begin(unsigned vcpu, void *userdata)
{
    (void)vcpu, (void)userdata;
    if (++begun != guests)
        return;
    settle_entry();
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct place *place = buckets[i]; place; place = place->next)
            memcpy(place->at_begin, place->now, sizeof place->now);
    operations_at_begin = operations;
    writes_at_begin = writes;
    turns = turn_most = 0;
    for (unsigned i = 0; image && i < watched; i++) {
        watched_at_begin[i] = watched_word(i);
        in_xen_by_watched_at_begin[i] = in_xen_by_watched[i];
    }
}

static void print_place(const struct place *place)
{
    if (memcmp(place->now, place->at_begin, sizeof place->now) == 0)
        return;
    fprintf(out, "place %" PRIx64 " %" PRIx64 " %" PRIx32 " %" PRIx32, place->vaddr, place->paddr,
            place->word, place->before);
    for (unsigned i = 0; i < COUNTERS; i++)
        fprintf(out, " %" PRIu64, place->now[i] - place->at_begin[i]);
    fprintf(out, "\n");
}

static void window_end(unsigned vcpu, void *userdata)
{
    (void)vcpu, (void)userdata;
    if (begun != guests) {
        /* Other guests have not begun, or one has already ended. */
        if (begun > 0 && begun < guests)
            fprintf(out, "window 0\n");
        begun = 0;
        return;
    }
    begun = 0;
    settle_entry();
    fprintf(out, "window %" PRIu64 "\n", operations - operations_at_begin);
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct place *place = buckets[i]; place; place = place->next)
            print_place(place);
    fprintf(out, "writes %" PRIu64 "\n", writes - writes_at_begin);
    if (image)
        fprintf(out, "turns %" PRIu64 " %" PRIu64 "\n", turns, turn_most);
    for (unsigned i = 0; image && i < watched; i++)
        if (watched_word(i) != watched_at_begin[i])
            fprintf(out, "watch %u %" PRIu64 " %" PRIu64 "\n", i,
                    watched_word(i) - watched_at_begin[i],
                    in_xen_by_watched[i] - in_xen_by_watched_at_begin[i]);
    fflush(out);
}

/* The domain's instructions until now are settled when another owner's block follows. */
static void settle_image(const struct block *next)
{
    if (in_image)
        in_image_executed += not_in_xen - not_in_xen_at_switch;
    in_image = image && !next->xen && next->paddr - image < IMAGE_ALIGN;
    not_in_xen_at_switch = not_in_xen;
}

/* The counter for the cost in Xen of an HVC of the image, or NULL. */
static uint64_t *watched_hypercall(const struct block *block)
{
    uint64_t *found = NULL;

    if (!in_image || (block->last->word & HVC_MASK) != HVC)
        return NULL;
    for (unsigned i = 0; i < watched; i++) {
        const uint64_t now = watched_word(i);

        if (now != watched_before[i])
            found = &in_xen_by_watched[i];
        watched_before[i] = now;
    }
    return found;
}

static void block_begins(unsigned vcpu, void *userdata)
{
    struct block *next = userdata;
    const bool entered = next->xen && running && !running->xen;
    const bool woken = next->xen && running && running->xen && running->last->word == WFI;

    (void)vcpu;
    if (entered || woken) {
        /* Vector + 0x480: an interrupt from a lower exception level. */
        const bool irq = entered && (next->vaddr & 0x780) == 0x480;
        uint64_t *counters = running->last->now;

        settle_entry();
        counters[irq ? IRQS : TRAPS]++;
        entry = irq ? NULL : watched_hypercall(running);
        if (!entry)
            entry = &counters[irq ? IN_XEN_BY_IRQ : IN_XEN_BY_TRAP];
    }
    settle_image(next);
    running = next;
}

/* arm64's Image format: "ARM\x64" at 56. */
static bool has_image_header(uint64_t paddr)
{
    return paddr >= RAM_BASE && memcmp(ram + (paddr - RAM_BASE) + 56, "ARM\x64", 4) == 0;
}

static void on_turn_begin(unsigned vcpu, void *userdata)
{
    const struct block *block = userdata;
    uint64_t length;

    (void)vcpu;
    if (!image && has_image_header(block->paddr / IMAGE_ALIGN * IMAGE_ALIGN))
        image = block->paddr / IMAGE_ALIGN * IMAGE_ALIGN;
    if (!image || block->paddr - image >= IMAGE_ALIGN)
        return;
    settle_image(block);
    length = in_image_executed - turn_began;
    turn_began = in_image_executed;
    turns++;
    if (length > turn_most)
        turn_most = length;
}

static void register_written(unsigned vcpu, qemu_plugin_meminfo_t access, uint64_t vaddr,
                             void *data)
{
    const struct qemu_plugin_hwaddr *hwaddr = qemu_plugin_get_hwaddr(access, vaddr);
    uint64_t paddr;

    (void)vcpu, (void)data;
    if (!hwaddr || !qemu_plugin_hwaddr_is_io(hwaddr))
        return;
    paddr = qemu_plugin_hwaddr_phys_addr(hwaddr);
    if ((paddr >= PCI_BEGIN && paddr < PCI_END) || paddr >= PCI_HIGH_BEGIN)
        writes++;
}

static void watch_instruction(struct qemu_plugin_insn *insn, uint32_t word, struct block *block)
{
    /* str wT, [xN] without an offset, xN not the stack: how registers are written. */
    if ((word & 0xfffffc00u) == 0xb9000000u && (word >> 5 & 31u) != 31u)
        qemu_plugin_register_vcpu_mem_cb(insn, register_written, QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_W, NULL);
    if (word == MARKER_BEGIN)
        qemu_plugin_register_vcpu_insn_exec_cb(insn, window_begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
    else if (word == MARKER_END)
        qemu_plugin_register_vcpu_insn_exec_cb(insn, window_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
    else if (word == MARKER_DONE)
        qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &operations,
                                                   1);
    else if (turn_word && word == turn_word && cpus == 1 && !block->xen &&
             qemu_plugin_insn_vaddr(insn) % IMAGE_ALIGN == turn_offset)
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_turn_begin, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void count_block(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    struct block *block = calloc(1, sizeof *block);
    uint32_t before = 0;

    (void)id;
    if (!block)
        abort();
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t vaddr = qemu_plugin_insn_vaddr(insn);
        char *host = qemu_plugin_insn_haddr(insn);
        struct place *place;

        if (!ram)
            ram = host;
        place = place_of(vaddr, RAM_BASE + (uint64_t)(host - ram));
        if (i > 0) /* a hypercall that Xen continues begins a block at its HVC */
            place->before = before;
        if (qemu_plugin_insn_size(insn) == sizeof place->word)
            memcpy(&place->word, qemu_plugin_insn_data(insn), sizeof place->word);
        before = place->word;
        if (i == 0) {
            block->vaddr = vaddr;
            block->paddr = place->paddr;
            block->xen = vaddr >= XEN_BEGIN && vaddr < XEN_END;
        }
        block->last = place;
        qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64,
                                                   &place->now[COUNT], 1);
        if (cpus == 1)
            qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64,
                                                       block->xen ? &in_xen : &not_in_xen, 1);
        watch_instruction(insn, place->word, block);
    }
    if (cpus == 1)
        qemu_plugin_register_vcpu_tb_exec_cb(tb, block_begins, QEMU_PLUGIN_CB_NO_REGS, block);
}

/* True if the argument is known and well formed. */
static bool take_argument(const char *text)
{
    if (strncmp(text, "out=", 4) == 0)
        return (out = fopen(text + 4, "w")) != NULL;
    if (sscanf(text, "guests=%u", &guests) == 1 || sscanf(text, "cpus=%u", &cpus) == 1)
        return guests > 0 && cpus > 0;
    if (strncmp(text, "turn=", 5) == 0)
        return sscanf(text, "turn=%" SCNx64 ":%" SCNx32, &turn_offset, &turn_word) == 2;
    return sscanf(text, "watch=%" SCNx64 ":%u", &watched_offset, &watched) == 2 &&
           watched <= WATCHED_MAX;
}

__attribute__((visibility("default"))) int
qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!take_argument(argv[i])) {
            fprintf(stderr, "count: argument '%s' is not known, or its file cannot be written\n",
                    argv[i]);
            return 1;
        }
    if (!out) {
        fprintf(stderr, "count: out=FILE is missing\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
    return 0;
}
