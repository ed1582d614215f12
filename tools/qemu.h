/* SPDX-License-Identifier: MIT */
/*
 * qemu.h: QEMU as a child process, with its serial line on a socket.
 *
 * The child has its own process group, so that the terminal's Ctrl-C does not reach it, and the
 * kernel kills it when this tool ends in any way.
 */
#ifndef DRAGOMAN_TOOLS_QEMU_H
#define DRAGOMAN_TOOLS_QEMU_H

#include <stdbool.h>
#include <sys/types.h>

struct qemu {
    pid_t pid;
    int line_fd; /* this tool's end of the serial line */
};

/* Runs the command (argv, ends with NULL), or ends the tool with a message. */
void qemu_start(struct qemu *qemu, char **command);

/*
 * Waits for the end of the child and returns its wait status. `ending`: it closed the serial line,
 * so it is expected to end by itself; otherwise it gets SIGTERM, so that it closes its images, and
 * is killed if it does not end.
 */
int qemu_stop(struct qemu *qemu, bool ending);

#endif
