/* SPDX-License-Identifier: MIT */
/* main: the command line of `./dragoman sim`. See docs/simulator.md. */
#include <sim/machine/runner.h>

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "Usage: ./dragoman sim [OPTION]...\n"
    "\n"
    "Runs Dragoman's library on a simulated Xen with simulated disks and guests, one of them "
    "hostile.\n"
    "Everything follows from the seed.\n"
    "\n"
    "  --seed N          the first seed (default 1); alone: this seed only\n"
    "  --seeds FROM-TO   these seeds\n"
    "  --minutes M       one seed after another for M minutes\n"
    "  --requests R      requests per seed (default 2000)\n"
    "  --guests G        1 to 32 (default: drawn, mostly 3); the second one is hostile\n"
    "  --without KIND    leave out one kind of fault (may be repeated): map, unmap, batch,\n"
    "                    channel, error, silence, fatal, gone, line, death, restart, hostile, "
    "cache,\n"
    "                    scarce, copy, again, unwritten, disks, stall, call, network\n"
    "  --mode MODE       how all guests' frames are reached: map, copy, identity, auto, "
    "persistent\n"
    "                    (default: drawn for each guest)\n"
    "  --network         in each seed, not only in some, each guest has a vif too, on one switch\n"
    "                    with a network card\n"
    "  --power           faulty disks lose their power, and what their cache held\n"
    "  --shrink          after a failure: look for a smaller run that fails too\n"
    "  --nth KIND        fail the n-th, n = 1, 2, ...: hypercall, command or reset\n"
    "  --steady DxF      one guest keeps D reads in flight, of F whole frames each; no faults: for "
    "counting\n"
    "  --fairness[=TEXT] a guest's reads with 1, 15 and 31 neighbours of each kind (whose name\n"
    "                    contains TEXT)\n"
    "  --jobs N          how many at a time (default: the CPUs)\n"
    "  --verbose         every event as it happens, and the library's log\n";

static _Noreturn void usage_error(const char *what, const char *value)
{
    fprintf(stderr, "dragoman sim: %s '%s'\nTry './dragoman sim --help'.\n", what, value);
    exit(2);
}

static uint64_t parse_number(const char *text, uint64_t most)
{
    char *end;
    const unsigned long long value = strtoull(text, &end, 0);

    if (end == text || *end || value > most)
        usage_error("not a number in range:", text);
    return value;
}

static enum sim_nth nth_kind(const char *text)
{
    static const char *const names[] = {"", "hypercall", "command", "reset"};

    for (unsigned i = 1; i < 4; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum sim_nth)i;
    usage_error("not one of hypercall, command, reset:", text);
}

static uint32_t fault_bit(const char *text)
{
    for (unsigned i = 0; i < SIM_FAULTS; i++)
        if (strcmp(text, sim_fault_names[i]) == 0)
            return 1u << i;
    usage_error("no such kind of fault:", text);
}

static enum sim_mode mode_named(const char *text)
{
    for (unsigned i = 0; i < SIM_MODES; i++)
        if (strcmp(text, sim_mode_names[i]) == 0)
            return (enum sim_mode)i;
    usage_error("no such mode:", text);
}

/* clang-format off */
static const struct option long_options[] = {
    {"seed", required_argument, NULL, 's'},
    {"seeds", required_argument, NULL, 'S'},
    {"minutes", required_argument, NULL, 'm'},
    {"requests", required_argument, NULL, 'r'},
    {"guests", required_argument, NULL, 'g'},
    {"without", required_argument, NULL, 'w'},
    {"network", no_argument, NULL, 'N'},
    {"power", no_argument, NULL, 'P'},
    {"shrink", no_argument, NULL, 'k'},
    {"nth", required_argument, NULL, 'n'},
    {"steady", required_argument, NULL, 'd'},
    {"fairness", optional_argument, NULL, 'f'},
    {"jobs", required_argument, NULL, 'j'},
    {"verbose", no_argument, NULL, 'v'},
    {"mode", required_argument, NULL, 'p'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};
/* clang-format on */

struct command_line {
    struct sim_options options;
    uint64_t to; /* 0: not given */
    double minutes;
    bool shrinking;
    const char *fairness; /* part of the neighbours' names; NULL: no measurement */
};

static void seeds_from_to(struct command_line *command, char *text)
{
    char *dash = strchr(text, '-');

    if (!dash)
        usage_error("not FROM-TO:", text);
    *dash = 0;
    command->options.seed = parse_number(text, UINT64_MAX);
    command->to = parse_number(dash + 1, UINT64_MAX);
}

static void parse_steady(struct sim_options *options, char *text)
{
    char *by = strchr(text, 'x');

    if (!by)
        usage_error("not DEPTHxFRAMES:", text);
    *by = 0;
    options->steady_depth = (unsigned)parse_number(text, FRONT_REQUESTS);
    options->steady_frames = (unsigned)parse_number(by + 1, 32);
    if (options->steady_depth * options->steady_frames == 0 ||
        options->steady_depth * options->steady_frames > GUEST_DATA_FRAMES)
        usage_error("not in the guest's memory:", by + 1);
}

static void take_option(struct command_line *command, int option, char *value)
{
    struct sim_options *options = &command->options;

    switch (option) {
    case 's':
        options->seed = parse_number(value, UINT64_MAX);
        break;
    case 'S':
        seeds_from_to(command, value);
        break;
    case 'm':
        command->minutes = strtod(value, NULL);
        break;
    case 'r':
        options->requests = parse_number(value, 100000000);
        break;
    case 'g':
        options->guests = (unsigned)parse_number(value, SIM_GUESTS_MAX);
        break;
    case 'w':
        options->without |= fault_bit(value);
        break;
    case 'p':
        options->mode = mode_named(value);
        break;
    case 'N':
        options->network = true;
        break;
    case 'P':
        options->power = true;
        break;
    case 'k':
        command->shrinking = true;
        break;
    case 'n':
        options->nth_kind = nth_kind(value);
        break;
    case 'd':
        parse_steady(options, value);
        break;
    case 'f':
        command->fairness = value ? value : "";
        break;
    case 'j':
        runner_jobs = (unsigned)parse_number(value, CHILDREN_MAX - 1);
        break;
    case 'v':
        options->verbose = true;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        fputs("Try './dragoman sim --help'.\n", stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct command_line command = {.options = {.seed = 1, .requests = 2000}};
    int option;

    runner_jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
        take_option(&command, option, optarg);
    if (optind < argc)
        usage_error("what is", argv[optind]);
    if (runner_jobs == 0)
        usage_error("not a number in range:", "0");
    if (command.fairness)
        return run_fairness(command.options, command.fairness);
    if (command.options.nth_kind != NTH_NONE)
        return run_nth(command.options);
    if (command.to == 0)
        command.to = command.minutes > 0 ? UINT64_MAX : command.options.seed;
    return run_seeds(command.options, command.to,
                     clock_s() + (command.minutes > 0 ? command.minutes * 60 : 1e9),
                     command.shrinking);
}
