/* SPDX-License-Identifier: MIT */
/* boot_facts.c: see boot_facts.h. */
#include "boot_facts.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t monotonic_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static unsigned long elapsed_ms(const struct boot_facts *facts)
{
    return (unsigned long)((monotonic_now_ns() - facts->start_ns) / 1000000u);
}

void boot_facts_show(struct boot_facts *facts, const char *format, ...)
{
    facts->shown_ns = monotonic_now_ns();
    if (facts->quiet)
        return;
    unsigned long ms = elapsed_ms(facts);
    va_list arguments;
    fprintf(stderr, "%4lu.%lu s  ", ms / 1000, ms % 1000 / 100);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs(facts->raw_terminal ? "\r\n" : "\n", stderr);
}

/* The text after the prefix, or NULL. */
static const char *text_after(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

/* Handles a guest's report; the words are those of guest/init and guest/tasks. */
static void take_guest_report(struct boot_facts *facts, int guest, const char *words)
{
    const char *rest;
    fprintf(facts->results, "guest %d %s\n", guest, words);
    if ((rest = text_after(words, "started ")) != NULL)
        boot_facts_show(facts, "guest %d: Linux %s is up", guest, rest);
    else if ((rest = text_after(words, "disk ")) != NULL)
        boot_facts_show(facts, "guest %d: has a disk: %s sectors", guest, rest);
    else if ((rest = text_after(words, "task ")) != NULL)
        boot_facts_show(facts, "guest %d: starts its task: %s", guest, rest);
    else if ((rest = text_after(words, "progress ")) != NULL)
        boot_facts_show(facts, "guest %d: %s", guest, rest);
    else if ((rest = text_after(words, "mounted ")) != NULL)
        boot_facts_show(facts, "guest %d: %s mounted, writing", guest, rest);
    else if ((rest = text_after(words, "written ")) != NULL)
        boot_facts_show(facts, "guest %d: %s bytes written and synced, reading back", guest, rest);
    else if ((rest = text_after(words, "sum ")) != NULL)
        boot_facts_show(facts, "guest %d: read back the same: %.21s...", guest, rest);
    else if ((rest = text_after(words, "fail ")) != NULL)
        boot_facts_show(facts, "guest %d: FAILED: %s", guest, rest);
    else if (strcmp(words, "shell") == 0)
        facts->shell_ready = true;
    else if (strcmp(words, "done") == 0)
        facts->shell_done = facts->shell_ready;
}

/* "2 (web) rebooted" is the end of a guest; "2 (web): ..." is another line about it. */
static void take_guest_end(struct boot_facts *facts, const char *words)
{
    char *label;
    long guest = strtol(words, &label, 10);
    const char *how = strstr(label, ") ");

    if (label == words || strncmp(label, " (", 2) != 0 || how == NULL)
        return;
    how += 2;
    fprintf(facts->results, "gone %ld %s\n", guest, how);
    boot_facts_show(facts, "guest %ld: %s", guest, how);
}

static void take_domain_line(struct boot_facts *facts, const char *text)
{
    const char *words = text_after(text, "dragoman: ");
    const char *rest;
    if (words == NULL)
        return;
    if (!facts->domain_started) {
        facts->domain_started = true;
        fprintf(facts->results, "phase domain %lu\n", elapsed_ms(facts));
        boot_facts_show(facts, "Dragoman runs as Dom0");
    }
    if (text_after(words, "counter ") != NULL) {
        fprintf(facts->results, "%s\n", words);
    } else if ((rest = text_after(words, "guest ")) != NULL) {
        take_guest_end(facts, rest);
    } else if ((rest = text_after(words, "end ")) != NULL) {
        facts->ended = strcmp(rest, "poweroff") == 0 || strcmp(rest, "reboot") == 0;
        fprintf(facts->results, "%s\n", words);
        boot_facts_show(facts, "Dragoman ends: %s", rest);
    } else if ((rest = text_after(words, "panic")) != NULL) {
        facts->crashed = true;
        rest += strspn(rest, ": ");
        fprintf(facts->results, "panic %s\n", rest);
        boot_facts_show(facts, "Dragoman panicked: %s", rest);
    }
}

static void xen_panicked(struct boot_facts *facts, const char *text)
{
    facts->crashed = true;
    fprintf(facts->results, "xen-panic %s\n", text);
    boot_facts_show(facts, "Xen panicked: %s", text);
}

static void take_xen_line(struct boot_facts *facts, const char *text)
{
    const char *rest;
    if (facts->in_xen_panic) {
        facts->in_xen_panic = false;
        xen_panicked(facts, text);
    } else if (!facts->xen_started && (rest = text_after(text, "Xen version ")) != NULL) {
        facts->xen_started = true;
        fprintf(facts->results, "phase xen %lu\n", elapsed_ms(facts));
        boot_facts_show(facts, "Xen %.*s runs", (int)strcspn(rest, " "), rest);
    } else if ((rest = text_after(text, "*** Serial input to ")) != NULL) {
        const char *number = text_after(rest, "DOM");
        facts->focus = number != NULL ? atoi(number) : -1;
        facts->focus_changes++;
    } else if (text_after(text, "Panic on CPU") != NULL) {
        facts->crashed = true;
        facts->in_xen_panic = true; /* the reason is on the next line */
    } else if (strstr(text, "Dom0 crashed") != NULL || strstr(text, "domain 0 crashed") != NULL) {
        xen_panicked(facts, text);
    }
}

void boot_facts_take_line(void *context, const struct console_line *line)
{
    struct boot_facts *facts = context;
    const char *words = text_after(line->text, "@dragoman ");

    /* Lines of the guest with the input focus have no prefix: they look like Xen's or the
     * domain's. */
    int guest = line->speaker == SPEAKER_GUEST ? line->guest : facts->focus;
    if (words != NULL && guest > 0)
        take_guest_report(facts, guest, words);
    else if (line->speaker == SPEAKER_DOMAIN)
        take_domain_line(facts, line->text);
    else if (line->speaker == SPEAKER_XEN)
        take_xen_line(facts, line->text);
    fflush(facts->results);
}
