/* SPDX-License-Identifier: MIT */
/* story.c: see story.h. */
#include "story.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t story_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static unsigned long story_ms(const struct story *story)
{
    return (unsigned long)((story_now_ns() - story->start_ns) / 1000000u);
}

void story_tell(const struct story *story, const char *format, ...)
{
    if (story->quiet)
        return;
    unsigned long ms = story_ms(story);
    va_list arguments;
    fprintf(stderr, "%4lu.%lu s  ", ms / 1000, ms % 1000 / 100);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static const char *after(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

/* A guest's own words; the vocabulary is in guest/init and guest/tasks. */
static void take_guest_words(struct story *story, int guest, const char *words)
{
    const char *rest;
    fprintf(story->results, "guest %d %s\n", guest, words);
    if ((rest = after(words, "started ")) != NULL)
        story_tell(story, "guest %d: Linux %s is up", guest, rest);
    else if ((rest = after(words, "disk ")) != NULL)
        story_tell(story, "guest %d: has a disk: %s sectors", guest, rest);
    else if ((rest = after(words, "mounted ")) != NULL)
        story_tell(story, "guest %d: %s mounted, writing", guest, rest);
    else if ((rest = after(words, "written ")) != NULL)
        story_tell(story, "guest %d: %s bytes written and synced, reading back", guest, rest);
    else if ((rest = after(words, "sum ")) != NULL)
        story_tell(story, "guest %d: read back the same: %.21s...", guest, rest);
    else if ((rest = after(words, "fail ")) != NULL)
        story_tell(story, "guest %d: FAILED: %s", guest, rest);
    else if (strcmp(words, "shell") == 0)
        story->shell_ready = true;
    else if (strcmp(words, "done") == 0)
        story->shell_done = story->shell_ready;
}

static void take_domain_line(struct story *story, const char *text)
{
    const char *words = after(text, "dragoman: ");
    const char *rest;
    if (words == NULL)
        return;
    if (!story->domain_started) {
        story->domain_started = true;
        fprintf(story->results, "phase domain %lu\n", story_ms(story));
        story_tell(story, "Dragoman runs as Dom0");
    }
    if (after(words, "counter ") != NULL) {
        fprintf(story->results, "%s\n", words);
    } else if ((rest = after(words, "end ")) != NULL) {
        story->ended = strcmp(rest, "poweroff") == 0;
        fprintf(story->results, "%s\n", words);
        story_tell(story, "Dragoman ends: %s", rest);
    } else if ((rest = after(words, "panic")) != NULL) {
        story->crashed = true;
        rest += strspn(rest, ": ");
        fprintf(story->results, "panic %s\n", rest);
        story_tell(story, "Dragoman PANICS: %s", rest);
    }
}

static void take_xen_line(struct story *story, const char *text)
{
    const char *rest;
    if (!story->xen_started && (rest = after(text, "Xen version ")) != NULL) {
        story->xen_started = true;
        fprintf(story->results, "phase xen %lu\n", story_ms(story));
        story_tell(story, "Xen %.*s runs", (int)strcspn(rest, " "), rest);
    } else if ((rest = after(text, "*** Serial input to ")) != NULL) {
        const char *number = after(rest, "DOM");
        story->focus = number != NULL ? atoi(number) : -1;
        story->focus_changes++;
    } else if (after(text, "Panic on CPU") != NULL || strstr(text, "Dom0 crashed") != NULL ||
               strstr(text, "domain 0 crashed") != NULL) {
        story->crashed = true;
        fprintf(story->results, "xen-panic %s\n", text);
        story_tell(story, "Xen: %s", text);
    }
}

void story_take_line(void *context, const struct console_line *line)
{
    struct story *story = context;
    const char *words = after(line->text, "@dragoman ");

    /* The guest with the input focus is not named: its lines look like Xen's or the domain's. */
    int guest = line->speaker == SPEAKER_GUEST ? line->guest : story->focus;
    if (words != NULL && guest > 0)
        take_guest_words(story, guest, words);
    else if (line->speaker == SPEAKER_DOMAIN)
        take_domain_line(story, line->text);
    else if (line->speaker == SPEAKER_XEN)
        take_xen_line(story, line->text);
    fflush(story->results);
}
