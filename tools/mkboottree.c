/* SPDX-License-Identifier: MIT */
/*
 * mkboottree: guest configurations in xl.cfg syntax -> the device tree that Xen boots from.
 *
 * The command line only; the work is in guestcfg.c (reading) and boottree.c (writing). Output: the
 * tree, and the load plan, one line "ADDRESS SIZE PATH" per file that has to lie in memory.
 */
#include <errno.h>
#include <getopt.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boottree.h"
#include "say.h"

static const char help[] =
    "Usage: mkboottree --board BOARD.dtb --domain IMAGE --output BOOT.dtb [OPTION]... "
    "GUEST.cfg...\n"
    "\n"
    "Makes the device tree from which Xen starts Dragoman and its guests.\n"
    "\n"
    "  --board FILE       the board's device tree blob\n"
    "  --domain FILE      Dragoman's image, which becomes Dom0\n"
    "  --output FILE      the tree that is made\n"
    "  --plan FILE        where to write the load plan, lines of \"ADDRESS SIZE PATH\"\n"
    "                     (default: standard output)\n"
    "  --base ADDRESS     where in memory the files begin (default: 144 MiB into its first bank)\n"
    "  --xen-args TEXT    Xen's command line\n"
    "  --dom0-args TEXT   Dragoman's command line\n"
    "  --when-idle WHAT   what Dragoman does after the last guest: poweroff or stay (default)\n"
    "  --help             this text\n"
    "\n"
    "GUEST.cfg is in the syntax of xl.cfg(5); docs/configuration.md tells what it may hold.\n"
    "The order of the files is the order of the domain numbers, from 1.\n";

struct options {
    struct machine_config machine;
    const char *output_path;
    const char *plan_path;
};

static uint64_t parse_address(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || value == 0 || value % 4096 != 0)
        die_usage("--base '%s' is not an address (a multiple of 4096, such as 0x48000000)", text);
    return value;
}

static void parse_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"board", required_argument, NULL, 'b'},
        {"domain", required_argument, NULL, 'd'},
        {"output", required_argument, NULL, 'o'},
        {"plan", required_argument, NULL, 'p'},
        {"base", required_argument, NULL, 'a'},
        {"xen-args", required_argument, NULL, 'x'},
        {"dom0-args", required_argument, NULL, '0'},
        {"when-idle", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        switch (option) {
        case 'b':
            options->machine.board_path = optarg;
            break;
        case 'd':
            options->machine.domain_path = optarg;
            break;
        case 'o':
            options->output_path = optarg;
            break;
        case 'p':
            options->plan_path = optarg;
            break;
        case 'a':
            options->machine.base_address = parse_address(optarg);
            break;
        case 'x':
            options->machine.xen_args = optarg;
            break;
        case '0':
            options->machine.domain_args = optarg;
            break;
        case 'w':
            options->machine.when_idle = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            exit(0);
        default:
            die_usage("the command line is wrong");
        }
    }
    if (options->machine.board_path == NULL || options->machine.domain_path == NULL ||
        options->output_path == NULL)
        die_usage("--board, --domain and --output are all needed");
    if (strcmp(options->machine.when_idle, "poweroff") != 0 &&
        strcmp(options->machine.when_idle, "stay") != 0)
        die_usage("--when-idle '%s' is neither poweroff nor stay", options->machine.when_idle);
    if (argc - optind > GUEST_COUNT_MAX)
        die("%d guests; the domain serves at most %d", argc - optind, GUEST_COUNT_MAX);
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
    struct options options = {
        .machine = {.xen_args = "", .domain_args = "", .when_idle = "stay"},
    };

    say_tool_name("mkboottree");
    parse_options(&options, argc, argv);
    size_t guest_count = (size_t)(argc - optind);
    for (size_t i = 0; i < guest_count; i++)
        guest_config_read(&guests[i], argv[optind + (int)i]);
    guest_configs_check(guests, guest_count);

    void *tree = boot_tree_make(&options.machine, guests, guest_count, &plan);
    must_write_file(options.output_path, tree, fdt_totalsize(tree));
    write_plan(&plan, options.plan_path);
    return 0;
}
