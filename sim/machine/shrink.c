/* SPDX-License-Identifier: MIT */
/*
 * shrink: the smallest run that still fails, found greedily
 *
 * Chance comes in streams of their own, so a kind of trouble that is left out changes little else.
 * What fails in the end need not be what failed first; it is a failure nonetheless.
 */
#include <sim/machine/runner.h>

static bool still_fails(const struct sim_options *options, FILE **said)
{
    struct child *child = idle_child();
    struct sim_result result;
    bool ok = true;

    start(child, options);
    (void)finish(&ok, &result);
    if (!ok) {
        if (*said)
            fclose(*said);
        *said = child->said;
        return true;
    }
    fclose(child->said);
    return false;
}

/* Greedy: fewer kinds of trouble, fewer guests, fewer requests, as long as something fails. */
void shrink(struct sim_options options)
{
    FILE *said = NULL;
    bool smaller = true;

    while (smaller) {
        smaller = false;
        for (unsigned i = 0; i < SIM_FAULTS; i++) {
            struct sim_options less = options;

            less.without |= 1u << i;
            if (less.without != options.without && still_fails(&less, &said)) {
                options = less;
                smaller = true;
            }
        }
        for (unsigned guests = 1; guests < options.guests; guests++) {
            struct sim_options less = options;

            less.guests = guests;
            if (still_fails(&less, &said)) {
                options = less;
                smaller = true;
            }
        }
        for (uint64_t requests = options.requests / 8; requests < options.requests;
             requests += options.requests / 8 + 1) {
            struct sim_options less = options;

            less.requests = requests;
            if (requests && still_fails(&less, &said)) {
                options = less;
                smaller = true;
                break;
            }
        }
    }
    printf("\nthe smallest that fails:\n");
    if (said)
        show(said);
    print_command(&options);
}
