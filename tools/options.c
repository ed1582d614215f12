/* SPDX-License-Identifier: MIT */
/* options.c: see options.h. The work is getopt_long's. */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "must.h"

enum {
    /* getopt_long returns the index of an option plus this, beyond all characters. */
    FIRST_OPTION = 256,
    HELP_COLUMN = 22,
};

static void print_option(const char *name, const char *argument, const char *help)
{
    int width = printf("  --%s%s%s", name, argument ? " " : "", argument ? argument : "");

    if (width > HELP_COLUMN - 2) {
        putchar('\n');
        width = 0;
    }
    while (help != NULL) {
        const char *line_end = strchr(help, '\n');
        int length = line_end ? (int)(line_end - help) : (int)strlen(help);
        printf("%*s%.*s\n", HELP_COLUMN - width, "", length, help);
        help = line_end ? line_end + 1 : NULL;
        width = 0;
    }
}

static void print_help(const struct tool_options *options)
{
    fputs(options->usage, stdout);
    putchar('\n');
    for (size_t i = 0; i < options->count; i++)
        print_option(options->options[i].name, options->options[i].argument,
                     options->options[i].help);
    print_option("help", NULL, "this text");
    if (options->notes != NULL)
        printf("\n%s", options->notes);
}

int options_read(const struct tool_options *options, int argc, char **argv)
{
    struct option *known = must_alloc((options->count + 2) * sizeof *known);

    for (size_t i = 0; i < options->count; i++)
        known[i] = (struct option){
            .name = options->options[i].name,
            .has_arg = options->options[i].argument ? required_argument : no_argument,
            .val = FIRST_OPTION + (int)i,
        };
    known[options->count] = (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};

    for (int value; (value = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        if (value == 'h') {
            print_help(options);
            exit(0);
        }
        if (value < FIRST_OPTION)
            die_usage("the command line is wrong (the cause is above)");
        const struct tool_option *option = &options->options[value - FIRST_OPTION];
        if (option->text != NULL)
            *option->text = optarg;
        else if (option->flag != NULL)
            *option->flag = true;
        else
            option->take(options->context, optarg);
    }
    free(known);
    return optind;
}
