/* SPDX-License-Identifier: MIT */
/* maptrack: if these fail, guests get more slots than Xen has mappings, so that one can take the
 * mappings of another; or fewer than they could have. */
#include "unit.h"

#include <hyper/internal.h>

#define DEFAULT (1024u * 256 - 1)

static const struct {
    const char *arguments;
    uint64_t mappings;
} cases[] = {
    {"", DEFAULT},
    {"console=dtuart dom0_mem=16M", DEFAULT},
    {"gnttab_max_maptrack_frames=1", 255},
    {"dom0_mem=16M gnttab_max_maptrack_frames=2 sync_console", 511},
    {"gnttab_max_maptrack_frames=2 gnttab_max_maptrack_frames=1", 255},
    {"gnttab_max_maptrack_frames=0x10\tsync_console", 16 * 256 - 1},
    {"gnttab_max_maptrack_frames=010", 8 * 256 - 1},
    {"gnttab_max_maptrack_frames=0", 0},
    /* Xen ignores these. */
    {"gnttab_max_maptrack_frames=", DEFAULT},
    {"gnttab_max_maptrack_frames", DEFAULT},
    {"gnttab_max_maptrack_frames=1x", DEFAULT},
    {"gnttab_max_maptrack_frames=-1", DEFAULT},
    {"gnttab_max_maptrack_frames=99999999999999999999", DEFAULT},
    {"xgnttab_max_maptrack_frames=1", DEFAULT},
    {"name=gnttab_max_maptrack_frames=1", DEFAULT},
    {"gnttab_max_maptrack_frames=3 gnttab_max_maptrack_frames=no", 3 * 256 - 1},
};

static void by_arguments(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(dgm_maptrack_by_arguments(cases[i].arguments), cases[i].mappings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
