/* SPDX-License-Identifier: MIT */
/* guest_view.c: see guest_view.h. */
#include "guest_view.h"

#include <string.h>

static const char xen_prefix[] = "(XEN) ";
static const char report_prefix[] = "@dragoman";

/* Outputs the bytes that were held back, because the line begins with neither prefix. */
static size_t show_held_back(struct guest_view *view, char *output)
{
    size_t xen_length = strlen(xen_prefix);
    size_t shown = 0;
    if (view->xen_matched > 0 && view->xen_matched < xen_length) {
        memcpy(output, xen_prefix, view->xen_matched);
        shown = view->xen_matched;
    }
    memcpy(output + shown, report_prefix, view->report_matched);
    shown += view->report_matched;
    view->state = VIEW_SHOW;
    return shown;
}

static size_t filter_line_start(struct guest_view *view, char byte, char *output)
{
    size_t xen_length = strlen(xen_prefix);

    if (byte == '\r')
        return 0; /* Xen ends its own lines with "\r\n" */
    if (view->report_matched == 0 && view->xen_matched < xen_length &&
        byte == xen_prefix[view->xen_matched]) {
        view->xen_matched++;
        return 0;
    }
    if ((view->xen_matched == 0 || view->xen_matched == xen_length) &&
        byte == report_prefix[view->report_matched]) {
        view->report_matched++;
        if (view->report_matched == strlen(report_prefix))
            view->state = VIEW_HIDE;
        return 0;
    }
    size_t shown = show_held_back(view, output);
    output[shown++] = byte;
    return shown;
}

size_t guest_view_filter(struct guest_view *view, const char *bytes, size_t count, char *output)
{
    size_t shown = 0;
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            if (view->state == VIEW_START) {
                shown += show_held_back(view, output + shown);
                output[shown++] = '\r';
            }
            if (view->state == VIEW_SHOW)
                output[shown++] = '\n';
            *view = (struct guest_view){.state = VIEW_START};
        } else if (view->state == VIEW_START) {
            shown += filter_line_start(view, bytes[i], output + shown);
        } else if (view->state == VIEW_SHOW) {
            output[shown++] = bytes[i];
        }
    }
    return shown;
}
