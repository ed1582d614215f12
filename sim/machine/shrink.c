/* SPDX-License-Identifier: MIT */
/*
 * shrink: finds a small run that still fails, greedily
 *
 * Each kind of fault draws from its own stream, so leaving out one changes little else. The final
 * failure need not be the first one; it is a failure nevertheless.
 */
#include <sim/machine/runner.h>

static bool still_fails(const struct sim_options *options, FILE **output)
{
    struct child *child = idle_child();
    struct sim_result result;
    bool ok = true;

    start_child(child, options);
    (void)finish_child(&ok, &result);
    if (!ok) {
        if (*output)
            fclose(*output);
        *output = child->output;
        return true;
    }
    fclose(child->output);
    return false;
}

/* Fewer kinds of fault, fewer guests, fewer requests, as long as the run fails. */
void shrink_run(struct sim_options options)
{
    FILE *output = NULL;
    bool smaller = true;

    if (options.guests == 0)
        options.guests = plan_guests(options.seed);

    while (smaller) {
        smaller = false;
        for (unsigned i = 0; i < SIM_FAULTS; i++) {
            struct sim_options less = options;

            less.without |= 1u << i;
            if (less.without != options.without && still_fails(&less, &output)) {
                options = less;
                smaller = true;
            }
        }
        for (unsigned guests = 1; guests < options.guests; guests++) {
            struct sim_options less = options;

            less.guests = guests;
            if (still_fails(&less, &output)) {
                options = less;
                smaller = true;
            }
        }
        for (uint64_t requests = options.requests / 8; requests < options.requests;
             requests += options.requests / 8 + 1) {
            struct sim_options less = options;

            less.requests = requests;
            if (requests && still_fails(&less, &output)) {
                options = less;
                smaller = true;
                break;
            }
        }
    }
    printf("\nthe smallest that fails:\n");
    if (output)
        print_output(output);
    print_command(&options);
}
