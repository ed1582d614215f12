/* SPDX-License-Identifier: MIT */
/*
 * options.h: the command line of a host tool, described by one table.
 *
 * The same table defines the accepted options and the output of --help, so the two cannot disagree.
 * --help is always accepted.
 */
#ifndef DRAGOMAN_TOOLS_OPTIONS_H
#define DRAGOMAN_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* One option. Exactly one of the last three members is set. */
struct tool_option {
    const char *name;     /* "board", for --board */
    const char *argument; /* "FILE"; NULL for an option without argument */
    const char *help;     /* for --help; further lines after "\n" */

    const char **text;                                 /* receives the argument */
    bool *flag;                                        /* is set to true; no argument */
    void (*take)(void *context, const char *argument); /* is called with the argument */
};

struct tool_options {
    const char *usage; /* the text of --help before the options */
    const char *notes; /* and after them; may be NULL */
    const struct tool_option *options;
    size_t count;
    void *context; /* for take() */
};

/*
 * Reads the options of the command line; wrong ones end the tool with status 2, --help with 0.
 * Returns the index in argv of the first operand. "--" ends the options.
 */
int options_read(const struct tool_options *options, int argc, char **argv);

#endif
