/* SPDX-License-Identifier: MIT */
/* qemu.c: see qemu.h. */
#include "qemu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "message.h"

enum {
    /* The time from QEMU's closing of the line, or from SIGTERM, to its end: it writes its images
     * back. */
    END_WAIT_MS = 10000,
    POLL_MS = 20,
};

void qemu_start(struct qemu *qemu, char **command)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        die("cannot make the serial line: %s", strerror(errno));
    qemu->pid = fork();
    if (qemu->pid < 0)
        die("cannot start QEMU: %s", strerror(errno));
    if (qemu->pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pair[1], STDIN_FILENO);
        dup2(pair[1], STDOUT_FILENO);
        close(pair[0]);
        close(pair[1]);
        execvp(command[0], command);
        fprintf(stderr, "machine: cannot run %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    setpgid(qemu->pid, qemu->pid); /* also here: the child may be late */
    close(pair[1]);
    qemu->line_fd = pair[0];
}

/* False when QEMU still runs after the time. */
static bool wait_for_end(const struct qemu *qemu, int *status)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};

    for (int waited_ms = 0; waited_ms <= END_WAIT_MS; waited_ms += POLL_MS) {
        if (waitpid(qemu->pid, status, WNOHANG) == qemu->pid)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

int qemu_stop(struct qemu *qemu, bool ending)
{
    int status = 0;

    if (ending && wait_for_end(qemu, &status))
        return status;
    kill(-qemu->pid, SIGTERM); /* and the programs that it started */
    if (wait_for_end(qemu, &status))
        return status;
    kill(-qemu->pid, SIGKILL);
    while (waitpid(qemu->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}
