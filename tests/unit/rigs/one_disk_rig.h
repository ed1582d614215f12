/* SPDX-License-Identifier: MIT */
/* one_disk_rig: guest 1 with one disk, xvda in mode map, on top of vbd_rig */
#ifndef ONE_DISK_RIG_H
#define ONE_DISK_RIG_H

#include "vbd_rig.h"

extern struct model_disk disk;
extern struct dgm_blkback back;
extern struct front front; /* not connected yet */

struct one_disk_options {
    struct vbd_options vbd;
    uint64_t blocks;      /* 0: 8192 */
    uint32_t block_bytes; /* 0: 512 */
    bool readonly;
};

void one_disk_start(struct one_disk_options options);

/* The same, and the frontend connects. */
void one_disk_connect(struct one_disk_options options);

/* The frontend has closed. */
void one_disk_stop(void);

/* A test of a connected frontend with the disk as above; the frontend closes at the end. */
#define ONE_DISK_TEST(test) cmocka_unit_test_setup_teardown(test, one_disk_setup, one_disk_teardown)
int one_disk_setup(void **state);
int one_disk_teardown(void **state);

#endif
