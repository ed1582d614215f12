/* SPDX-License-Identifier: MIT */
/*
 * view.h: what the user of an interactive run sees of the console.
 *
 * Xen begins every line with "(XEN) ", also those of the guest that has the input; and the guest's
 * "@dragoman" lines are for the host. Both are taken out of the stream here, byte by byte, so that
 * a prompt shows at once although its line has no end yet. Only the bytes that may still become one
 * of the two are held back, nine at most.
 */
#ifndef DRAGOMAN_TOOLS_VIEW_H
#define DRAGOMAN_TOOLS_VIEW_H

#include <stddef.h>

struct view {
    size_t xen_matched;  /* bytes of "(XEN) " seen at the start of this line */
    size_t tell_matched; /* bytes of "@dragoman" seen after it */
    enum { VIEW_START, VIEW_SHOW, VIEW_HIDE } state;
};

/* Copies what is to be seen to output, which has room for 2 * count + 16 bytes;
 * returns how many. */
size_t view_filter(struct view *view, const char *bytes, size_t count, char *output);

#endif
