/* SPDX-License-Identifier: MIT */
/*
 * neighbour: exhausts a shared resource without a pause, while another guest runs task "victim"
 *
 *   neighbour xenstore|reconnect|refused|events SECONDS
 *
 * The disks are not Linux's: it was unbound from them (task "neighbour"). Prints the number of
 * rounds, so that a test can check that there were some.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/blkfront.h"
#include "lib/xen.h"

#define LEVELS_MANY 490 /* more than Dragoman's limit */
#define LEVELS_FEW  24

static void make_and_remove_tree(unsigned levels)
{
    char path[2048] = "data/deep";
    size_t length = strlen(path);

    while (levels--) {
        path[length++] = '/';
        path[length++] = 'a';
    }
    path[length] = '\0';
    (void)xs(XS_MKDIR, path, NULL, NULL, 0); /* an error: it has too many levels */
    (void)xs(XS_RM, "data/deep", NULL, NULL, 0);
}

static void deep_trees(void)
{
    make_and_remove_tree(LEVELS_MANY);
    make_and_remove_tree(LEVELS_FEW);
}

static void wait_for_state(int state)
{
    const double end = now_s() + 60;

    while (backend_state() != state)
        if (now_s() > end)
            fail("the backend does not reach a state");
}

static void connect_disk(void)
{
    write_key("state", "1");
    wait_for_state(2);
    new_ring();
    blkfront_write_keys();
    wait_for_state(4);
}

static void close_again(void)
{
    write_key("state", "6");
    wait_for_state(6);
}

static void reconnect_disk(void)
{
    connect_disk();
    transfer_block(false, 0);
    close_again();
}

static void be_refused(void)
{
    write_key("state", "1");
    wait_for_state(2);
    write_key("ring-ref", "30000");
    write_key("event-channel", "900");
    write_key("state", "3");
    wait_for_state(5);
    close_again();
}

static void send_events(void)
{
    for (unsigned i = 0; i < 100; i++)
        send_event(blkfront.port);
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*start)(void), (*round)(void);
    } kinds[] = {
        {"xenstore", NULL, deep_trees},
        {"reconnect", NULL, reconnect_disk},
        {"refused", NULL, be_refused},
        {"events", connect_disk, send_events},
    };
    unsigned kind = 0;
    unsigned long rounds = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while (count == 3 && kind < 4 && strcmp(kinds[kind].name, arguments[1]) != 0)
        kind++;
    if (count != 3 || kind == 4)
        fail("its arguments");
    xen_open();
    blkfront_start();
    use_device("vbd", blkfront.disks[0]);
    close_again();
    if (kinds[kind].start)
        kinds[kind].start();
    for (const double end = now_s() + atof(arguments[2]); now_s() < end; rounds++)
        kinds[kind].round();
    close_again();
    printf("rounds %s %lu\n", kinds[kind].name, rounds);
    return 0;
}
