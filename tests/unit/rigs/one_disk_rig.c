/* SPDX-License-Identifier: MIT */
/* one_disk_rig: see one_disk_rig.h */
#include "one_disk_rig.h"

struct model_disk disk;
struct dgm_blkback back;
struct front front;

void one_disk_start(struct one_disk_options options)
{
    vbd_start(options.vbd);
    model_start(&disk, options.blocks ? options.blocks : 8192,
                options.block_bytes ? options.block_bytes : 512);
    front_guest_start(1);
    front_init(&front, 1, "xvda");
    assert_int_equal(vbd_share_plain(&back, 1, "xvda", &disk.dev, !options.readonly), DGM_OK);
}

void one_disk_connect(struct one_disk_options options)
{
    one_disk_start(options);
    front_connect(&front);
}

void one_disk_stop(void)
{
    vbd_end(&back);
    model_stop(&disk);
    vbd_stop();
}

int one_disk_setup(void **state)
{
    one_disk_connect((struct one_disk_options){0});
    return 0;
}

int one_disk_teardown(void **state)
{
    front_close(&front);
    one_disk_stop();
    return 0;
}
