/* SPDX-License-Identifier: MIT */
/*
 * front: the guest's half of a disk, simulated in user space
 *
 * For frontends other than Linux's (frontends.c) and for guests that exhaust shared resources
 * (neighbour.c), after Linux's own frontend is unbound from the disk. One disk at a time, with one
 * ring and one event channel, which each connection initialises again.
 */
#ifndef FRONT_H
#define FRONT_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#define FRONT_DISKS_MAX 8
#define FRONT_PAGE      4096u

struct front {
    unsigned disk_count, disks[FRONT_DISKS_MAX]; /* numbers: 51712, ... */
    uint32_t ring_ref, port;                     /* of the ring */
    uint8_t *page[2]; /* the pages that transfer_block() writes and reads */
};

extern struct front front;

/* Defined by the program: ends the present scenario. */
_Noreturn void fail(const char *what);

void front_start(void); /* opens Xen's devices and finds the disks */
void front_use(unsigned disk);

double now_s(void);

/* xenstore */
enum {
    XS_DIRECTORY = 1,
    XS_READ = 2,
    XS_TRANSACTION_START = 6,
    XS_TRANSACTION_END = 7,
    XS_WRITE = 11,
    XS_MKDIR = 12,
    XS_RM = 13
};

/* Returns the reply's length; -1: xenstore returned an error. `value`: NULL except for XS_WRITE. */
int xs(uint32_t type, const char *path, const char *value, char *reply, size_t reply_bytes);
void write_key(const char *key, const char *value);
void remove_key(const char *key);
/* All messages in between are one transaction. False: it met another one, and had no effect. */
void begin_transaction(void);
bool end_transaction(void);
int backend_state(void);
/* Waits for a state of the backend; fails if the backend closes instead. */
void wait_for(int state);

void new_ring(void);
void send_event(void);
/* Reads or writes 8 sectors by one request; the response and an event must come. */
void transfer_block(bool to_disk, uint64_t sector);
/* Sends a request without segments, and returns the status in its response. */
int empty_request(uint8_t operation, uint64_t sector);

#endif
