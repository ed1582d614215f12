/* SPDX-License-Identifier: MIT */
/*
 * attacks: a guest that attacks Dragoman's network through its own interface
 *
 *   attacks
 *
 * Linux's frontend was unbound from the interface and from the disks (task "attacks"). Each attack
 * of attacks/ begins with a new connection, on which a good packet is served; after it the guest
 * connects again, and a good packet must be served again. Meanwhile two honest guests exchange
 * data. Prints a line for each attack:
 *
 *   attack NAME served|refused|closed|harmless | fail NAME: WHAT
 *
 * docs/security.md says what each one tries, and tests/guest/attacks.py compares it with these
 * lines.
 */
#define _GNU_SOURCE
#include <stdio.h>

#include "attacks/attacks.h"
#include "lib/blkfront.h"

/* A new connection, on which a good packet is served. */
static void begin_again(void)
{
    use_device("vif", 0);
    netfront_connect();
    send_good_packet();
}

/* `of`: the attack. `packet`: its number, if it is one of packet_attack(). */
static void attempt(const void *of, unsigned packet)
{
    static const char *const outcomes[] = {"served", "refused", "closed", "harmless"};
    static bool connected; /* by the end of the last one, which did not fail */
    const struct attack *attack = of;

    if (!connected)
        begin_again();
    connected = false;
    if (attack->run)
        attack->run();
    else
        run_packet_attack(packet);
    begin_again();
    connected = true;
    printf("attack %s %s\n", attack->name, outcomes[attack->outcome]);
}

int main(void)
{
    const struct attack *(*const groups[])(unsigned) = {packet_attack, ring_attack, flood_attack};
    const struct attack *attack;

    setvbuf(stdout, NULL, _IOLBF, 0);
    xen_open();
    blkfront_start();
    netfront_start();
    for (unsigned group = 0; group < sizeof groups / sizeof groups[0]; group++)
        for (unsigned i = 0; (attack = groups[group](i)); i++)
            (void)play_scenario(attack->name, attempt, attack, i);
    netfront_close();
    return 0;
}
