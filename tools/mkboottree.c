/* SPDX-License-Identifier: MIT */
/*
 * mkboottree: makes the device tree that Xen boots from, from guest configurations in xl.cfg
 * syntax.
 *
 * This file is the command line and the output; guestcfg.c reads the configurations and boottree.c
 * builds the tree. Output: the tree, and the load plan, one line "ADDRESS SIZE PATH" for each file
 * that must be in memory when Xen starts.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boottree.h"
#include "message.h"
#include "must.h"
#include "options.h"

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

static void take_base(void *context, const char *text)
{
    struct command_line *line = context;
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || value == 0 || value % 4096 != 0)
        die_usage("--base '%s' is not an address (a multiple of 4096, such as 0x48000000)", text);
    line->machine.base_address = value;
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
        {"base", "ADDRESS",
         "the first address for files (default: 144 MiB into the\nfirst bank of memory)",
         .take = take_base},
        {"xen-args", "TEXT", "Xen's command line", .text = &machine->xen_args},
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
    if (argc - first > GUEST_COUNT_MAX)
        die("%d guests; the domain serves at most %d", argc - first, GUEST_COUNT_MAX);
    return first;
}

static void write_plan(const struct load_plan *plan, const char *path)
{
    FILE *file = path != NULL ? fopen(path, "w") : stdout;
    if (file == NULL)
        die("cannot write %s: %s", path, strerror(errno));
    for (size_t i = 0; i < plan->module_count; i++)
        fprintf(file, "0x%llx %llu %s\n", (unsigned long long)plan->modules[i].address,
                (unsigned long long)plan->modules[i].size, plan->modules[i].path);
    if (ferror(file) || (path != NULL ? fclose(file) : fflush(file)) != 0)
        die("cannot write the load plan: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    static struct guest_config guests[GUEST_COUNT_MAX];
    static struct load_plan plan;
    struct command_line line = {
        .machine = {.xen_args = "", .domain_args = "", .when_idle = "stay"},
    };

    message_tool_name("mkboottree");
    int first = read_command_line(&line, argc, argv);
    size_t guest_count = (size_t)(argc - first);
    for (size_t i = 0; i < guest_count; i++)
        guest_config_read(&guests[i], argv[first + (int)i]);
    guest_configs_check(guests, guest_count);

    void *tree = boot_tree_make(&line.machine, guests, guest_count, &plan);
    must_write_file(line.output_path, tree, fdt_totalsize(tree));
    write_plan(&plan, line.plan_path);
    return 0;
}
