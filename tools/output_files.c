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

/* Exchanges two names, in one step where the file system has it, else in three. 0 or an errno. */
static int exchange_names(const char *one, const char *other)
{
    if (renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0)
        return 0;
    if (errno != EINVAL)
        return errno;
    char *aside = must_format("%s.old", one);
    if (rename(other, aside) != 0)
        return errno;
    if (rename(one, other) != 0) {
        int error = errno;
        rename(aside, other);
        return error;
    }
    return rename(aside, one) == 0 ? 0 : errno;
}

enum outcome {
    FILE_KEPT,    /* its name means what it did */
    FILE_CREATED, /* there was none of its name */
    FILE_REPLACED /* the former one has the temporary name */
};

static int put_in_place(const char *name, const char *path, enum outcome *outcome)
{
    int error = exchange_names(name, path);

    if (error == ENOENT) {
        *outcome = FILE_CREATED;
        error = rename(name, path) == 0 ? 0 : errno;
    } else {
        *outcome = FILE_REPLACED;
    }
    if (error != 0)
        *outcome = FILE_KEPT;
    return error;
}

/* Gives the former file its name again. */
static void put_back(const char *name, const char *path, enum outcome outcome)
{
    int error = 0;

    if (outcome == FILE_CREATED)
        error = unlink(path) == 0 ? 0 : errno;
    else if (outcome == FILE_REPLACED)
        error = exchange_names(name, path);
    if (error != 0)
        message_warn("cannot restore %s: %s", path, strerror(error));
}

void output_files_write(const struct output_file *files, size_t count)
{
    enum outcome outcomes[OUTPUT_FILE_MAX];
    sigset_t all, before;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    atexit(remove_unfinished);
    for (size_t i = 0; i < count; i++)
        write_unfinished(&files[i], &unfinished[i]);
    for (size_t i = 0; i < count; i++) {
        int error = put_in_place(unfinished[i], files[i].path, &outcomes[i]);
        if (error == 0)
            continue;
        for (size_t done = i; done-- > 0;)
            put_back(unfinished[done], files[done].path, outcomes[done]);
        die("cannot write %s: %s", files[i].path, strerror(error));
    }
    remove_unfinished();
    memset(unfinished, 0, sizeof unfinished);
    sigprocmask(SIG_SETMASK, &before, NULL);
}
