/* SPDX-License-Identifier: MIT */
/*
 * replay: runs a fuzz target on saved inputs, without a fuzzer
 *
 *   replay NAME PATH...    PATH: a file, or a directory of files
 *
 * One TAP line for all inputs together. They run in a child; if it dies, the line names the input
 * that killed it.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *count, char ***arguments);

/* The child's progress; the parent reads it if the child has died. */
static struct progress {
    unsigned inputs;
    char path[4096];
} * progress;

static void run_file(const char *path)
{
    static uint8_t buffer[1 << 20];
    FILE *file = fopen(path, "rb");

    snprintf(progress->path, sizeof progress->path, "%s", path);
    if (!file) {
        perror(path);
        exit(2);
    }
    const size_t bytes = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    /* Of the exact size, so that a read beyond the end is found. */
    uint8_t *const data = malloc(bytes ? bytes : 1);
    memcpy(data, buffer, bytes);
    LLVMFuzzerTestOneInput(data, bytes);
    free(data);
    progress->inputs++;
}

static void run_path(const char *path)
{
    struct dirent **entries;
    const int count = scandir(path, &entries, NULL, alphasort);

    if (count < 0) {
        run_file(path);
        return;
    }
    for (int i = 0; i < count; i++) {
        char name[4096];

        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            run_file(name);
        free(entries[i]);
    }
    free(entries);
}

int main(int count, char **arguments)
{
    int status = 0;

    if (count < 3) {
        fprintf(stderr, "Usage: %s NAME PATH...\n", arguments[0]);
        return 2;
    }
    progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED)
        return 2;
    LLVMFuzzerInitialize(&count, &arguments);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        alarm(600); /* an input that never ends */
        for (int i = 2; i < count; i++)
            run_path(arguments[i]);
        exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        printf("not ok fuzz %s: %s (see above)\n", arguments[1], progress->path);
        return 1;
    }
    if (progress->inputs == 0) {
        printf("not ok fuzz %s: no inputs\n", arguments[1]);
        return 1;
    }
    printf("ok fuzz %s: %u inputs\n", arguments[1], progress->inputs);
    return 0;
}
