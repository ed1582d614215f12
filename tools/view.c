/* SPDX-License-Identifier: MIT */
/* view.c: see view.h. */
#include "view.h"

#include <string.h>

static const char xen_prefix[] = "(XEN) ";
static const char tell_prefix[] = "@dragoman";

/* The byte is none of a prefix: what was held back has to be shown after all. */
static size_t give_up(struct view *view, char *output)
{
    size_t xen_length = strlen(xen_prefix);
    size_t shown = 0;
    if (view->xen_matched > 0 && view->xen_matched < xen_length) {
        memcpy(output, xen_prefix, view->xen_matched);
        shown = view->xen_matched;
    }
    memcpy(output + shown, tell_prefix, view->tell_matched);
    shown += view->tell_matched;
    view->state = VIEW_SHOW;
    return shown;
}

static size_t take_start(struct view *view, char byte, char *output)
{
    size_t xen_length = strlen(xen_prefix);

    if (byte == '\r')
        return 0; /* Xen's own line ends have one before each "\n" and more */
    if (view->tell_matched == 0 && view->xen_matched < xen_length &&
        byte == xen_prefix[view->xen_matched]) {
        view->xen_matched++;
        return 0;
    }
    if ((view->xen_matched == 0 || view->xen_matched == xen_length) &&
        byte == tell_prefix[view->tell_matched]) {
        view->tell_matched++;
        if (view->tell_matched == strlen(tell_prefix))
            view->state = VIEW_HIDE;
        return 0;
    }
    size_t shown = give_up(view, output);
    output[shown++] = byte;
    return shown;
}

size_t view_filter(struct view *view, const char *bytes, size_t count, char *output)
{
    size_t shown = 0;
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            if (view->state == VIEW_START) {
                shown += give_up(view, output + shown);
                output[shown++] = '\r';
            }
            if (view->state == VIEW_SHOW)
                output[shown++] = '\n';
            *view = (struct view){.state = VIEW_START};
        } else if (view->state == VIEW_START) {
            shown += take_start(view, bytes[i], output + shown);
        } else if (view->state == VIEW_SHOW) {
            output[shown++] = bytes[i];
        }
    }
    return shown;
}
