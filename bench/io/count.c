/* SPDX-License-Identifier: MIT */
/*
 * count: a QEMU TCG plugin that counts executed instructions per place in memory
 *
 *   -plugin count.so,out=FILE
 *
 * Every executed instruction adds one to the counter of its place: its virtual address together
 * with the physical address that it was fetched from. A guest program marks a window of time by two
 * instructions that do nothing:
 *
 *   orr x9, x9, x9      the window begins
 *   orr x10, x10, x10   the window ends
 *
 * At the end of a window the plugin appends to FILE one line "window N" and one line
 *
 *   VADDR PADDR COUNT           (addresses in hexadecimal)
 *
 * for each place that was executed in it. The reader of FILE decides who owns a place (io.py). A
 * CPU that waits in WFI executes nothing and counts nothing. One CPU only: counters are not atomic.
 *
 * Physical addresses: QEMU gives the host address of an instruction's bytes. RAM is one mapping of
 * the host, and the first instruction that the machine executes, the boot stub, lies at its start,
 * 0x40000000 (QEMU's `virt`).
 */
#include "qemu_plugin.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_BASE     0x40000000u
#define BUCKETS      (1u << 18)
#define MARKER_BEGIN 0xaa090129u
#define MARKER_END   0xaa0a014au

struct place {
    uint64_t vaddr, paddr;
    uint64_t count;     /* since power-on */
    uint64_t at_begin;  /* `count` when the window began */
    struct place *next; /* of the same bucket */
};

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static struct place *buckets[BUCKETS];
static uint64_t windows;
static char *ram; /* the host's address of RAM_BASE */
static FILE *out;
static bool open_window;

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

static void window_begin(unsigned vcpu, void *userdata)
{
    (void)vcpu, (void)userdata;
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct place *place = buckets[i]; place; place = place->next)
            place->at_begin = place->count;
    open_window = true;
}

static void window_end(unsigned vcpu, void *userdata)
{
    (void)vcpu, (void)userdata;
    if (!open_window)
        return;
    open_window = false;
    fprintf(out, "window %" PRIu64 "\n", windows++);
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct place *place = buckets[i]; place; place = place->next)
            if (place->count != place->at_begin)
                fprintf(out, "%" PRIx64 " %" PRIx64 " %" PRIu64 "\n", place->vaddr, place->paddr,
                        place->count - place->at_begin);
    fflush(out);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);

    (void)id;
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        char *host = qemu_plugin_insn_haddr(insn);
        uint32_t word = 0;

        if (!ram)
            ram = host;
        qemu_plugin_register_vcpu_insn_exec_inline(
            insn, QEMU_PLUGIN_INLINE_ADD_U64,
            &place_of(qemu_plugin_insn_vaddr(insn), RAM_BASE + (uint64_t)(host - ram))->count, 1);
        if (qemu_plugin_insn_size(insn) == sizeof word)
            memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
        if (word == MARKER_BEGIN)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, window_begin, QEMU_PLUGIN_CB_NO_REGS,
                                                   NULL);
        else if (word == MARKER_END)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, window_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
}

__attribute__((visibility("default"))) int
qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "out=", 4) == 0)
            out = fopen(argv[i] + 4, "w");
    if (!out) {
        fprintf(stderr, "count: wants out=FILE, a file that can be written\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
