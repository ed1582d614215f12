/* SPDX-License-Identifier: MIT */
/*
 * bench_io_plugin: the plugin bench/machine/count.c on a QEMU of a few lines, which runs scripted
 * blocks
 *
 *   bench_io_plugin DIRECTORY     prints TAP
 *
 * RAM is an array; a block is translated once and then executes: the callbacks and inline additions
 * that the plugin registered, in order. The plugin keeps its state until the process ends, so each
 * scenario runs in its own process. If this breaks, instructions are attributed to the wrong owner
 * or cause, or a window is open while not all guests work.
 */
#include <bench/machine/qemu_plugin.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RAM   UINT64_C(0x40000000)
#define IMAGE (RAM + 0x200000) /* where the domain's image lies */
#define XEN   UINT64_C(0xa0000000000)
#define NOP   0xd503201fu
#define WFI   0xd503207fu
#define HVC   0xd4000002u
#define STORE 0xb9000020u /* str w0, [x1] */
#define BEGIN 0xaa090129u
#define END   0xaa0a014au
#define DONE  0xaa0b016bu
#define TURN  0xa9bf7bfdu
#define IN_TB 8
#define HOOKS 4

struct qemu_plugin_insn {
    uint64_t vaddr, paddr;
    uint32_t word;
    size_t hooks;
    struct {
        uint64_t *counter; /* or NULL: */
        qemu_plugin_exec_cb *exec;
        void *data;
    } hook[HOOKS];
    qemu_plugin_mem_cb *mem;
};

struct qemu_plugin_tb {
    struct qemu_plugin_insn insn[IN_TB];
    size_t count;
    qemu_plugin_exec_cb *exec;
    void *data;
};

struct qemu_plugin_hwaddr {
    uint64_t paddr;
};

static char ram[0x400000];
static struct qemu_plugin_hwaddr accessed;
static qemu_plugin_tb_trans_cb *translate;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_tb_trans_cb *callback)
{
    (void)id;
    translate = callback;
}

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb)
{
    return tb->count;
}

struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index)
{
    return (struct qemu_plugin_insn *)&tb->insn[index];
}

const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn)
{
    return &insn->word;
}

size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn)
{
    return sizeof insn->word;
}

uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn)
{
    return insn->vaddr;
}

void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *insn)
{
    return ram + (insn->paddr - RAM);
}

void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn,
                                                enum qemu_plugin_op op, void *counter,
                                                uint64_t addend)
{
    (void)op, (void)addend;
    insn->hook[insn->hooks++].counter = counter;
}

void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
                                            qemu_plugin_exec_cb *callback,
                                            enum qemu_plugin_cb_flags flags, void *userdata)
{
    (void)flags;
    insn->hook[insn->hooks].exec = callback;
    insn->hook[insn->hooks++].data = userdata;
}

void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, qemu_plugin_exec_cb *callback,
                                          enum qemu_plugin_cb_flags flags, void *userdata)
{
    (void)flags;
    tb->exec = callback;
    tb->data = userdata;
}

void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, qemu_plugin_mem_cb *callback,
                                      enum qemu_plugin_cb_flags flags, enum qemu_plugin_mem_rw rw,
                                      void *userdata)
{
    (void)flags, (void)rw, (void)userdata;
    insn->mem = callback;
}

struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t access, uint64_t vaddr)
{
    (void)access, (void)vaddr;
    return &accessed;
}

bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *hwaddr)
{
    return hwaddr->paddr < RAM;
}

uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *hwaddr)
{
    return hwaddr->paddr;
}

/* Executes `count` instructions at `vaddr`, NOPs with `last` at the end, fetched from `paddr`. */
static void execute_block(uint64_t vaddr, uint64_t paddr, size_t count, uint32_t last)
{
    struct qemu_plugin_tb tb = {.count = count};

    for (size_t i = 0; i < count; i++) {
        tb.insn[i].vaddr = vaddr + 4 * i;
        tb.insn[i].paddr = paddr + 4 * i;
        tb.insn[i].word = i + 1 == count ? last : NOP;
    }
    translate(0, &tb);
    if (tb.exec)
        tb.exec(0, tb.data);
    for (size_t i = 0; i < count; i++) {
        for (size_t h = 0; h < tb.insn[i].hooks; h++)
            if (tb.insn[i].hook[h].exec)
                tb.insn[i].hook[h].exec(0, tb.insn[i].hook[h].data);
            else
                ++*tb.insn[i].hook[h].counter;
        if (tb.insn[i].mem)
            tb.insn[i].mem(0, 0, 0, NULL);
    }
}

static void execute_guest(size_t count, uint32_t last)
{
    execute_block(0xffff000, RAM + 0x1000 + last % 0x100 * 0x100, count, last);
}

static void execute_xen(uint64_t offset, size_t count, uint32_t last)
{
    execute_block(XEN + offset, RAM + 0x100000 + offset, count, last);
}

static void execute_turn(void)
{
    execute_block(IMAGE + 0x80, IMAGE + 0x80, 1, TURN);
}

static void execute_image(size_t count, uint32_t last)
{
    execute_block(IMAGE + 0x100, IMAGE + 0x100, count, last);
}

static void one_guest(void)
{
    const uint64_t calls = 7;

    execute_block(RAM, RAM, 1, NOP); /* the boot stub, from which the plugin gets RAM's address */
    memcpy(ram + (IMAGE - RAM) + 56, "ARM\x64", 4);
    execute_turn();
    execute_guest(1, BEGIN);
    execute_guest(2, HVC);
    execute_xen(0x400, 3, NOP);                                               /* a trap */
    execute_block(0xffff004, RAM + 0x1000 + HVC % 0x100 * 0x100 + 4, 1, HVC); /* Xen continues it */
    execute_xen(0x400, 3, NOP);
    execute_guest(2, NOP);
    execute_xen(0x480, 4, WFI); /* an interrupt; then Xen idles */
    execute_xen(0x1000, 5, NOP);
    execute_turn();
    execute_image(8, NOP);
    execute_image(4, NOP);
    execute_turn();
    memcpy(ram + (IMAGE - RAM) + 0x1000 + 8 * 5, &calls, sizeof calls); /* hypercall 5 is counted */
    execute_image(2, HVC);
    execute_xen(0x400, 6, NOP);
    execute_image(1, NOP);
    accessed.paddr = 0x10001000; /* a PCI device's register */
    execute_guest(1, STORE);
    accessed.paddr = RAM;
    execute_guest(1, STORE);
    accessed.paddr = 0x08010000; /* the interrupt controller's */
    execute_guest(1, STORE);
    for (unsigned i = 0; i < 3; i++)
        execute_guest(1, DONE);
    execute_guest(1, END);
}

static void two_guests(void)
{
    execute_block(RAM, RAM, 1, NOP);
    execute_guest(1, BEGIN);
    execute_guest(1, DONE); /* alone: not measured */
    execute_guest(1, BEGIN);
    execute_guest(1, DONE);
    execute_guest(1, DONE);
    execute_guest(1, END);
    execute_guest(1, DONE); /* alone again */
    execute_guest(1, END);
}

static void separate_programs(void)
{
    execute_block(RAM, RAM, 1, NOP);
    execute_guest(1, BEGIN);
    execute_guest(1, END); /* before the other one has begun */
}

/* The plugin's file after a scenario in a separate process. */
static char *result_of(const char *directory, void (*scenario)(void), const char *guests)
{
    static char text[65536];
    char out[4096], path[4096];
    char number[32];
    char turn_at[] = "turn=80:a9bf7bfd", watch[] = "watch=1000:8";
    char *arguments[] = {out, number, turn_at, watch};
    FILE *file;
    size_t got;

    snprintf(path, sizeof path, "%s/counts", directory);
    snprintf(out, sizeof out, "out=%s/counts", directory);
    snprintf(number, sizeof number, "guests=%s", guests);
    fflush(stdout);
    if (fork() == 0) {
        if (qemu_plugin_install(0, NULL, 4, arguments) != 0)
            _exit(1);
        scenario();
        exit(0); /* closes the file */
    }
    wait(NULL);
    file = fopen(path, "r");
    got = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[got] = '\0';
    if (file)
        fclose(file);
    return text;
}

static unsigned tests, failures;

static void expect_in_report(const char *text, const char *wanted, const char *name)
{
    const bool good = strstr(text, wanted) != NULL;

    if (!good) {
        failures++;
        printf("# no '%s' in:\n# ", wanted);
        for (; *text; text++)
            printf("%c%s", *text, *text == '\n' ? "# " : "");
        printf("\n");
    }
    printf("%s %u - bench_io_plugin: %s\n", good ? "ok" : "not ok", ++tests, name);
}

int main(int argc, char **argv)
{
    const char *text;

    if (argc != 2)
        return 2;
    text = result_of(argv[1], one_guest, "1");
    expect_in_report(text, "window 3\n", "operations are counted in the window");
    expect_in_report(text, " d4000002 d503201f 2 2 6 0 0\n",
                     "what a trap costs is filed under the guest's HVC");
    expect_in_report(text, " d503201f d503201f 1 0 0 1 4\n", "an interrupt's, under where it came");
    expect_in_report(text, " d503207f d503201f 1 1 5 0 0\n",
                     "what follows Xen's WFI, under the WFI");
    expect_in_report(text, "watch 5 7 6\n", "the image's HVC, under the counter that changed");
    expect_in_report(text, "writes 1\n",
                     "a PCI device's register is distinguished from other memory");
    expect_in_report(text, "turns 2 13\n", "the longest turn has the image's instructions only");
    text = result_of(argv[1], two_guests, "2");
    expect_in_report(text, "window 2\n", "a window is open while all guests work");
    text = result_of(argv[1], separate_programs, "2");
    expect_in_report(text, "window 0\n", "guests that do not meet make no window");
    printf("1..%u\n", tests);
    return failures != 0;
}
