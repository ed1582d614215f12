/* SPDX-License-Identifier: MIT */
/* output_files.c: see output_files.h. */
#include "output_files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message.h"
#include "must.h"

/* The files under their temporary names; for atexit(), which passes no argument. */
static char *unfinished[OUTPUT_FILE_MAX];

static void remove_unfinished(void)
{
    for (size_t i = 0; i < OUTPUT_FILE_MAX; i++)
        if (unfinished[i] != NULL)
            unlink(unfinished[i]);
}

static void write_unfinished(const struct output_file *file, char **name)
{
    char *path = must_format("%s.new.%ld", file->path, (long)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd < 0)
        die("cannot write %s: %s", file->path, strerror(errno));
    *name = path;
    bool written = write_whole(fd, file->data, file->size) && fsync(fd) == 0;
    int error = errno;
    if (close(fd) != 0 && written) {
        written = false;
        error = errno;
    }
    if (!written)
        die("cannot write %s: %s", file->path, strerror(error));
}

void output_files_write(const struct output_file *files, size_t count)
{
    sigset_t all, before;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    atexit(remove_unfinished);
    for (size_t i = 0; i < count; i++)
        write_unfinished(&files[i], &unfinished[i]);
    for (size_t i = 0; i < count; i++) {
        if (rename(unfinished[i], files[i].path) != 0)
            die("cannot write %s: %s", files[i].path, strerror(errno));
        unfinished[i] = NULL;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
}
