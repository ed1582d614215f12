/* SPDX-License-Identifier: MIT */
/* frontends.h: the scenarios of frontends.c */
#ifndef FRONTENDS_H
#define FRONTENDS_H

#include <stdbool.h>

struct scenario {
    const char *name;
    /*
     * The keys that the frontend writes; %r is the ring's reference, %p the event channel's port. A
     * key without value is removed.
     */
    const char *keys;
    /*
     * Its steps: k writes the keys, f only the first, l the others, 0 to 8 write that state, x
     * writes a state that is no number, n starts an empty ring with a new event channel, e removes
     * the key event-channel. W waits for the backend's InitWait, C for its Closed, and I does I/O
     * as soon as it is Connected. R waits until it is Closing: it refuses, or the frontend closes.
     * t begins a transaction of xenstore, T ends it, A gives it up. O sends other operations than
     * reads and writes. F fills the ring with requests, and takes no response. D removes all keys.
     */
    const char *steps;
    bool logs; /* the backend logs a line */
};

#define PLAIN "ring-ref=%r;event-channel=%p"
#define WINDOWS                                                                                    \
    "target-id=0;feature-surprise-remove=1;feature-online-resize=1;feature-large-sector-size=1;"

static const struct scenario scenarios[] = {
    /* The keys of the ring that Linux's backend accepts since 2021. */
    {"plain", PLAIN, "k3I4I", false},
    {"page_order_0", "ring-page-order=0;ring-ref0=%r;event-channel=%p", "k3I4I", false},
    {"page_order_0_old_ref", "ring-page-order=0;" PLAIN, "k3I4I", false},
    {"page_order_0_both_refs", "ring-page-order=0;ring-ref0=%r;" PLAIN, "k3I4I", false},
    {"one_queue", "multi-queue-num-queues=1;" PLAIN, "k3I4I", false},
    {"one_queue_below_queue_0",
     "multi-queue-num-queues=1;queue-0/ring-ref=%r;queue-0/event-channel=%p", "k3I4I", false},
    {"one_queue_page_order_0",
     "multi-queue-num-queues=1;ring-page-order=0;ring-ref0=%r;event-channel=%p", "k3I4I", false},
    {"one_queue_page_order_0_below_queue_0",
     "multi-queue-num-queues=1;ring-page-order=0;queue-0/ring-ref0=%r;queue-0/event-channel=%p",
     "k3I4I", false},
    {"persistent", "feature-persistent=1;" PLAIN, "k3I4I", false},
    /* Numbers as sscanf() reads them. */
    {"blanks_before", "ring-ref=  %r;event-channel=\t%p", "k3I4I", false},
    {"plus_sign", "ring-ref=+%r;event-channel=+%p", "k3I4I", false},
    {"leading_zeros", "ring-ref=00%r;event-channel=0%p", "k3I4I", false},
    {"text_after", "ring-ref=%r trailing;event-channel=%p\n", "k3I4I", false},
    {"forms_of_0_and_1",
     "ring-page-order= 00;multi-queue-num-queues=+1;ring-ref0=%r;event-channel=%p", "k3I4I", false},
    /* Protocols of 64-bit layouts. */
    {"protocol_arm", "protocol=arm-abi;" PLAIN, "k3I4I", false},
    {"protocol_x86_64", "protocol=x86_64-abi;" PLAIN, "k3I4I", false},
    /*
     * Other systems, some as their sources show them (FreeBSD, OpenBSD, U-Boot, Windows): mini-os,
     * GRUB and U-Boot write all keys and their state at once, and U-Boot leaves the device to
     * Linux; Windows closes first what it finds; BSD and Windows add keys of their own, and send
     * operations that are not offered.
     */
    {"mini_os", "protocol=arm-abi;" PLAIN, "tk4TIO", false},
    {"grub_stays_initialised", "protocol=arm-abi;" PLAIN, "k3IO6C1W", false},
    {"uboot_then_linux", "protocol=arm-abi;" PLAIN, "tk4TI5R6C1WDnk3I4I", false},
    {"windows", "protocol=x86_64-abi;" WINDOWS PLAIN, "5R6Cn1WtkT3I4IO", false},
    {"freebsd",
     "max-requests=32;max-request-segments=11;max-request-size=45056;protocol=arm-abi;" PLAIN,
     "k3I4IO", false},
    {"netbsd", "protocol=arm-abi;feature-persistent=1;" PLAIN, "tkT3I4IO", false},
    {"openbsd", "ring-ref=%r;event-channel=%p;protocol=x86_64-abi", "k3I4IO", false},
    /* Orders of states. */
    {"connected_at_once", PLAIN, "k4I", false},
    {"initialised_twice", PLAIN, "k3I3I4I", false},
    {"connected_twice", PLAIN, "k3I4I4I", false},
    {"initialised_again_restarts", PLAIN, "k3I4Ink3I4I", false},
    {"initialising_again_restarts", PLAIN, "k3I4I1Wnk3I4I", false},
    {"restarts_twice", PLAIN, "k3I4Ink3I4Ink3I4I", false},
    {"initialising_three_times", PLAIN, "11Wk3I4I", false},
    {"leaves_before_its_keys", PLAIN, "5n6C1Wk3I4I", false},
    {"leaves_before_connecting", PLAIN, "k5n6C1Wk3I4I", false},
    {"closing_and_again", PLAIN, "k3I4I5n6C1Wk3I4I", false},
    {"closed_and_again", PLAIN, "k3I4I6Cn1Wk3I4I", false},
    {"closed_three_times", PLAIN, "k3I4I5566C6n1Wk3I4I", false},
    {"a_backends_state_first", PLAIN, "k2n3I4I", true},
    {"no_state_then_again", PLAIN, "kxC1Wk3I4I", true},
    {"event_channel_late", PLAIN, "ke3R6C1Wk3I4I", true},
    /* Keys and states in other orders, and in several transactions. */
    {"event_channel_first", "event-channel=%p;ring-ref=%r", "k3I4I", false},
    {"a_transaction_for_each_key", PLAIN, "tfTtlT3I4I", false},
    {"state_first_in_the_transaction", PLAIN, "t3kTI4I", false},
    {"initialising_between_the_keys", PLAIN, "f1Wl3I4I", false},
    {"gives_up_a_transaction", PLAIN, "tk3Atk3TI4I", false},
    {"keys_again_while_connected", PLAIN, "k3I4Ik4I", false},
    {"keys_after_initialised", PLAIN, "3Rk6C1W3I4I", true},
    {"keys_after_connected", PLAIN, "4Rk6C1W4I", true},
    {"one_key_after_initialised", PLAIN, "f3Rl6C1W3I4I", true},
    /* Responses that are never taken. */
    {"takes_no_responses", PLAIN, "k3I4FFF6Cn1Wk3I4I", false},
    {"takes_no_responses_and_restarts", PLAIN, "k3I4FF1Wnk3I4I", false},
    /* Wrong keys: each is refused with a log line that names the key. */
    {"no_ring_ref", "event-channel=%p", "k3R", true},
    {"ring_ref_no_number", "ring-ref=abc;event-channel=%p", "k3R", true},
    {"ring_ref_negative", "ring-ref=-8;event-channel=%p", "k3R", true},
    {"ring_ref_too_large", "ring-ref=4294967304;event-channel=%p", "k3R", true},
    {"ring_ref_not_granted", "ring-ref=30000;event-channel=%p", "k3R", true},
    {"no_event_channel", "ring-ref=%r", "k3R", true},
    {"event_channel_unbound", "ring-ref=%r;event-channel=900", "k3R", true},
    {"page_order_3", "ring-page-order=3;ring-ref0=%r;ring-ref1=%r;event-channel=%p", "k3R", true},
    {"page_order_1_without_ref", "ring-page-order=1;ring-ref0=%r;event-channel=%p", "k3R", true},
    {"page_order_1_one_ref", "ring-page-order=1;ring-ref0=%r;ring-ref1=%r;event-channel=%p", "k3R",
     true},
    {"page_order_0_without_ref", "ring-page-order=0;event-channel=%p", "k3R", true},
    {"ref0_without_page_order", "ring-ref0=%r;event-channel=%p", "k3R", true},
    {"below_queue_0_without_queues", "queue-0/ring-ref=%r;queue-0/event-channel=%p", "k3R", true},
    {"event_channel_above_queue_0", "multi-queue-num-queues=1;queue-0/ring-ref=%r;event-channel=%p",
     "k3R", true},
    {"two_queues", "multi-queue-num-queues=2;" PLAIN, "k3R", true},
    {"no_queues", "multi-queue-num-queues=0;" PLAIN, "k3R", true},
    {"protocol_x86_32", "protocol=x86_32-abi;" PLAIN, "k3R", true},
    {"protocol_unknown", "protocol=pdp11-abi;" PLAIN, "k3R", true},
};

/*
 * The parts of which frontends.c makes every combination that Linux's backend accepts. The ring's
 * keys are at the top or below queue-0; "" is a part that is missing.
 */
static const char *const orders[] = {"", "ring-page-order=0;"};
static const char *const refs[] = {"ring-ref", "ring-ref0"}; /* one of them, or both */
static const char *const queues[] = {"", "multi-queue-num-queues=1;"};
static const char *const extras[] = {
    "",
    "protocol=arm-abi;",
    "protocol=x86_64-abi;feature-persistent=0;",
    "feature-persistent=1;",
};

#endif
