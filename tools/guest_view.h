/* SPDX-License-Identifier: MIT */
/*
 * guest_view.h: the part of the console that the user of an interactive run sees.
 *
 * Two things are removed: the "(XEN) " that Xen puts before every line, also before those of the
 * guest that has the input focus, and the guest's "@dragoman" lines, which are for the host. The
 * filter works byte by byte, so that a prompt is shown immediately although its line has no end
 * yet. It holds back only bytes that may still become one of the two, nine at most.
 */
#ifndef DRAGOMAN_TOOLS_GUEST_VIEW_H
#define DRAGOMAN_TOOLS_GUEST_VIEW_H

#include <stddef.h>

struct guest_view {
    size_t xen_matched;    /* bytes of "(XEN) " seen at the start of this line */
    size_t report_matched; /* bytes of "@dragoman" seen after it */
    enum { VIEW_START, VIEW_SHOW, VIEW_HIDE } state;
};

/*
 * Copies what the user sees to output, which has room for 2 * count + 16 bytes; returns the number
 * of bytes.
 */
size_t guest_view_filter(struct guest_view *view, const char *bytes, size_t count, char *output);

#endif
