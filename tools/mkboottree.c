/* SPDX-License-Identifier: MIT */
/*
 * mkboottree: makes the device tree that Xen boots from, from guest configurations in xl.cfg
 * syntax.
 *
 * This file is the command line and the output; guest_config.c reads the configurations and
 * boot_tree.c builds the tree. Output: the tree, and the load plan, one line "ADDRESS SIZE PATH"
 * for each file that must be in memory when Xen starts.
 */
#include <ctype.h>
#include <errno.h>
#include <libfdt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "boot_tree.h"
#include "message.h"
#include "must.h"
#include "options.h"
#include "output_files.h"

static const char usage[] =
    "Usage: mkboottree --board BOARD.dtb --domain IMAGE --output BOOT.dtb [OPTION]... "
    "GUEST.cfg...\n"
    "\n"
    "Makes the device tree from which Xen starts Dragoman and its guests.\n";

static const char notes[] =
    "GUEST.cfg is in the syntax of xl.cfg(5); docs/configuration.md lists the keys.\n"
    "The order of the files is the order of the domain numbers, from 1.\n";

struct command_line {
    struct machine_config machine;
    const char *output_path;
    const char *plan_path;
};

/* strtoull() from a digit on: without blanks, and without the signs that it would accept. */
static unsigned long long read_size(const char *text, char **end)
{
    *end = (char *)text;
    errno = isdigit((unsigned char)*text) ? 0 : EINVAL;
    return errno == 0 ? strtoull(text, end, 0) : 0;
}

static void take_base(void *context, const char *text)
{
    struct command_line *line = context;
    char *end;

    unsigned long long value = read_size(text, &end);
    if (errno != 0 || *end != '\0' || value == 0 || value % 4096 != 0)
        die_usage("--base '%s' is not an address (a multiple of 4096, such as 0x48000000)", text);
    line->machine.base_address = value;
}

/* "START:SIZE"; the size may end with K, M or G. */
static void take_range(struct range_options *ranges, const char *option, const char *text)
{
    char *end;
    struct memory_range range;

    range.start = read_size(text, &end);
    bool good = errno == 0 && *end == ':';
    range.size = read_size(good ? end + 1 : end, &end);
    good = good && errno == 0 && range.size != 0;
    unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    end += shift != 0;
    good = good && *end == '\0' && range.size <= UINT64_MAX >> shift;
    range.size <<= good ? shift : 0;
    if (!good || range.size > UINT64_MAX - range.start)
        die_usage("%s '%s' is not START:SIZE (such as 0x40000000:2G)", option, text);
    if (ranges->count == RANGE_OPTION_MAX)
        die_usage("%s may be given at most %d times", option, RANGE_OPTION_MAX);
    ranges->ranges[ranges->count++] = range;
}

static void take_memory(void *context, const char *text)
{
    struct command_line *line = context;
    struct range_options *memory = &line->machine.memory;

    take_range(memory, "--memory", text);
    const struct memory_range *last = &memory->ranges[memory->count - 1];
    for (const struct memory_range *bank = memory->ranges; bank < last; bank++)
        if (bank->start < last->start + last->size && last->start < bank->start + bank->size)
            die_usage("--memory '%s' overlaps another --memory", text);
}

static void take_avoid(void *context, const char *text)
{
    struct command_line *line = context;
    take_range(&line->machine.avoid, "--avoid", text);
}

/* "nvme=2" */
static void take_controllers(void *context, const char *text)
{
    struct machine_config *machine = &((struct command_line *)context)->machine;
    struct controller_kind kind = {.count = 0};
    const size_t length = strcspn(text, "=");
    const char *number = text[length] == '=' ? text + length + 1 : "";
    const size_t digits = strspn(number, "0123456789");

    if ((strncmp(text, "nvme=", 5) != 0 && strncmp(text, "sd=", 3) != 0) || digits < 1 ||
        digits > 3 || number[digits] != '\0' || (digits > 1 && number[0] == '0'))
        die_usage("--controllers '%s' is not KIND=NUMBER (nvme or sd, such as nvme=2)", text);
    snprintf(kind.name, sizeof kind.name, "%.*s", (int)length, text);
    kind.count = (unsigned)strtoul(number, NULL, 10);
    for (size_t i = 0; i < machine->kind_count; i++)
        if (strcmp(machine->kinds[i].name, kind.name) == 0)
            die_usage("--controllers %s is given twice", kind.name);
    if (machine->kind_count == KIND_COUNT_MAX)
        die_usage("--controllers may be given at most %d times", KIND_COUNT_MAX);
    machine->kinds[machine->kind_count++] = kind;
}

/* Xen truncates a longer command line silently. */
static void check_arguments(const char *option, const char *text)
{
    if (strlen(text) > COMMAND_LINE_LENGTH_MAX)
        die_usage("%s has %zu characters; Xen takes at most %d", option, strlen(text),
                  COMMAND_LINE_LENGTH_MAX);
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            die_usage("%s holds a control character (0x%02x)", option, (unsigned char)*at);
}

/* Returns the index in argv of the first guest configuration. */
static int read_command_line(struct command_line *line, int argc, char **argv)
{
    struct machine_config *machine = &line->machine;
    const struct tool_option options[] = {
        {"board", "FILE", "the board's device tree blob", .text = &machine->board_path},
        {"domain", "FILE", "Dragoman's image, which becomes Dom0", .text = &machine->domain_path},
        {"output", "FILE", "the tree to write", .text = &line->output_path},
        {"plan", "FILE",
         "the load plan to write, lines of \"ADDRESS SIZE PATH\"\n(default: standard output)",
         .text = &line->plan_path},
        {"memory", "START:SIZE",
         "the board's memory, in place of the tree's memory nodes;\nfor a board whose firmware "
         "fills them in. May be given again",
         .take = take_memory},
        {"base", "ADDRESS",
         "the lowest address for files (default: 144 MiB into the\nlowest memory)",
         .take = take_base},
        {"avoid", "START:SIZE",
         "memory for no file: where the boot loader puts Xen and the\ntree, for instance. May be "
         "given again. The tree's own\nreserved ranges are always avoided",
         .take = take_avoid},
        {"controllers", "KIND=NUMBER",
         "how many controllers of a kind (nvme, sd) the machine has, such as\nnvme=2: disks named "
         "by position "
         "are refused when one of\nthem is missing. May be given again",
         .take = take_controllers},
        {"xen-args", "TEXT",
         "Xen's command line (default: dom0_mem=16M\ndom0_max_vcpus=1 dom0_vcpus_pin "
         "console=dtuart)",
         .text = &machine->xen_args},
        {"dom0-args", "TEXT", "Dragoman's command line", .text = &machine->domain_args},
        {"when-idle", "ACTION",
         "what Dragoman does after the last guest: poweroff or stay\n(default)",
         .text = &machine->when_idle},
    };
    const struct tool_options all = {usage, notes, options, sizeof options / sizeof options[0],
                                     line};
    int first = options_read(&all, argc, argv);

    if (machine->board_path == NULL || machine->domain_path == NULL || line->output_path == NULL)
        die_usage("--board, --domain and --output are all needed");
    if (strcmp(machine->when_idle, "poweroff") != 0 && strcmp(machine->when_idle, "stay") != 0)
        die_usage("--when-idle '%s' is neither poweroff nor stay", machine->when_idle);
    check_arguments("--xen-args", machine->xen_args);
    check_arguments("--dom0-args", machine->domain_args);
    if (argc - first > GUEST_COUNT_MAX)
        die("%d guests; the domain serves at most %d", argc - first, GUEST_COUNT_MAX);
    return first;
}

/* True if two names mean the same file; a file that does not exist yet is identified by its
 * directory. */
static bool is_same_file(const char *one, const char *other)
{
    char paths[2][PATH_MAX];
    const char *names[2] = {one, other};

    for (int i = 0; i < 2; i++) {
        char directory[PATH_MAX];
        if (realpath(names[i], paths[i]) != NULL)
            continue;
        const char *slash = strrchr(names[i], '/');
        snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - names[i]) + 1 : 1,
                 slash ? names[i] : ".");
        char real[PATH_MAX];
        if (realpath(directory, real) == NULL)
            return strcmp(one, other) == 0;
        if (snprintf(paths[i], sizeof paths[i], "%s/%s", real, slash ? slash + 1 : names[i]) >=
            (int)sizeof paths[i])
            return false;
    }
    struct stat status[2];
    if (stat(paths[0], &status[0]) == 0 && stat(paths[1], &status[1]) == 0)
        return status[0].st_dev == status[1].st_dev && status[0].st_ino == status[1].st_ino;
    return strcmp(paths[0], paths[1]) == 0;
}

static void check_output(const char *option, const char *path, const char *input)
{
    struct stat status;

    if (input != NULL && is_same_file(path, input))
        die("%s %s would overwrite %s, which is read; give another name", option, path, input);
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        die("%s %s is not a regular file; give another name", option, path);
}

/* Checks that no output is an input, and that the two outputs differ. */
static void check_outputs(const struct command_line *line, const struct guest_config *guests,
                          size_t guest_count)
{
    const struct {
        const char *option, *path;
    } outputs[] = {{"--output", line->output_path}, {"--plan", line->plan_path}};

    if (line->plan_path != NULL && is_same_file(line->output_path, line->plan_path))
        die("--output and --plan are the same file, %s; give two names", line->plan_path);
    for (size_t o = 0; o < sizeof outputs / sizeof outputs[0]; o++) {
        if (outputs[o].path == NULL)
            continue;
        check_output(outputs[o].option, outputs[o].path, line->machine.board_path);
        check_output(outputs[o].option, outputs[o].path, line->machine.domain_path);
        for (size_t i = 0; i < guest_count; i++) {
            check_output(outputs[o].option, outputs[o].path, guests[i].file);
            check_output(outputs[o].option, outputs[o].path, guests[i].kernel);
            check_output(outputs[o].option, outputs[o].path, guests[i].ramdisk);
        }
    }
}

/* Checks Dragoman's image, whose header has the length of the file. */
static void check_domain(struct machine_config *machine)
{
    const char *path = machine->domain_path;
    struct kernel_image image;
    const char *wrong = kernel_image_read(&image, path);

    if (wrong == NULL && image.gzipped)
        wrong = "is gzipped; unpack it first";
    if (wrong == NULL && image.memory_bytes != image.file_bytes)
        wrong = "is not Dragoman's image, or was cut: its header says another size than it has";
    if (wrong != NULL)
        die("--domain %s %s", path, wrong);
    machine->domain_bytes = image.file_bytes;
}

static const char *plan_text(const struct load_plan *plan)
{
    const char *text = "";

    for (size_t i = 0; i < plan->module_count; i++) {
        if (strchr(plan->modules[i].path, '\n') != NULL)
            die("the path %s holds a line end, which a line of the load plan cannot hold",
                plan->modules[i].path);
        text = must_format("%s0x%llx %llu %s\n", text, (unsigned long long)plan->modules[i].address,
                           (unsigned long long)plan->modules[i].size, plan->modules[i].path);
    }
    return text;
}

int main(int argc, char **argv)
{
    static struct guest_config guests[GUEST_COUNT_MAX];
    static struct load_plan plan;
    struct command_line line = {
        .machine = {.xen_args = "dom0_mem=16M dom0_max_vcpus=1 dom0_vcpus_pin console=dtuart",
                    .domain_args = "",
                    .when_idle = "stay"},
    };

    message_tool_name("mkboottree");
    int first = read_command_line(&line, argc, argv);
    size_t guest_count = (size_t)(argc - first);
    for (size_t i = 0; i < guest_count; i++)
        guest_config_read(&guests[i], argv[first + (int)i]);
    guest_configs_check(guests, guest_count);
    for (size_t i = 0; i < line.machine.kind_count; i++)
        guest_configs_check_positions(guests, guest_count, line.machine.kinds[i].name,
                                      line.machine.kinds[i].count);
    check_domain(&line.machine);
    check_outputs(&line, guests, guest_count);

    void *tree = boot_tree_make(&line.machine, guests, guest_count, &plan);
    const char *text = plan_text(&plan);
    const struct output_file files[] = {
        {line.output_path, tree, fdt_totalsize(tree)},
        {line.plan_path, text, strlen(text)},
    };
    /* First, since what was printed cannot be undone: no tree without its plan. */
    if (line.plan_path == NULL && (fputs(text, stdout) < 0 || fflush(stdout) != 0))
        die("cannot write the load plan: %s", strerror(errno));
    output_files_write(files, line.plan_path != NULL ? 2 : 1);
    return 0;
}
