/* SPDX-License-Identifier: MIT */
/*
 * xen: what every frontend that is simulated in user space needs of Xen: xenstore, granted pages,
 * event channels
 *
 * One device at a time; Linux's own frontend is unbound from it. Everything that the kernel refuses
 * ends the present scenario with fail().
 */
#ifndef XEN_H
#define XEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

#define XEN_PAGE 4096u

void xen_open(void); /* opens Xen's devices in /dev/xen */
double now_s(void);

/* --- xenstore --- */

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
/* All messages in between are one transaction. False: it met another one, and had no effect. */
void begin_transaction(void);
bool end_transaction(void);
void give_up_transaction(void); /* it has no effect */

/* The device whose keys the functions below write and read: "vbd" or "vif", and its number. */
void use_device(const char *type, unsigned number);
void write_key(const char *key, const char *value);
void write_number(const char *key, uint32_t number);
void remove_key(const char *key);
int backend_state(void);
/* Waits for a state of the backend; fails if the backend closes instead. */
void wait_for(int state);

/* --- granted pages --- */

struct granted {
    uint8_t *page;
    uint32_t ref;
    uint64_t index; /* the kernel's name of it */
};

/* Grants a zeroed page to a domain. */
struct granted grant_page(unsigned domid, bool writable);
/* The reference is invalid afterwards, as soon as no other domain has it mapped. */
void revoke_page(struct granted *granted);

/* --- event channels with Dom0 --- */

uint32_t new_port(void);
void close_port(uint32_t port); /* 0: none */
void send_event(uint32_t port);
/* Takes the pending events, after a short wait for one. Returns how many came for the port. */
unsigned take_events(uint32_t port);

#endif
