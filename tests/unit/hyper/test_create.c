/* SPDX-License-Identifier: MIT */
/*
 * create: if these fail, Xen reads another value than was meant: createdomain has one layout up to
 * Xen 4.18 and another from 4.19 on, and the headers that Dragoman is compiled with have one of
 * them.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/create.h>
#include <dragoman/hyper/hypercall.h>
#include <hyper/internal.h>

#include <xen/domctl.h>
#include <xen/version.h>

static struct {
    uint32_t version;
    long xen;
    struct xen_domctl op;
    uint32_t command;
} rig;

/* In place of those of domain.c and hypercall.c, which are not linked. */
int dgm_domctl(struct xen_domctl *op, uint32_t command, domid_t domid)
{
    rig.op = *op;
    rig.command = command;
    assert_int_equal(domid, 9);
    return DGM_OK;
}

uint32_t dgm_domctl_version(void)
{
    return rig.version;
}

long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    assert_int_equal(op, __HYPERVISOR_xen_version);
    return rig.xen;
}

static uint32_t word(size_t at)
{
    uint32_t value;

    memcpy(&value, rig.op.u.pad + at, sizeof value);
    return value;
}

/* Offsets by the layouts of Xen's public headers, 4.17 and 4.20, written out. */
static void each_layout_of_createdomain(void **state)
{
    static const struct {
        uint32_t version;
        long xen;
        size_t spis;
        uint32_t flags;
    } cases[] = {
        {0x15, 0x40011, 60, 3},     /* 4.17 */
        {0x16, 0x40012, 60, 3},     /* 4.18 */
        {0x17, 0x40013, 64, 3},     /* 4.19 */
        {0x17, 0x40014, 64, 3},     /* 4.20 */
        {0x17, 0x40015, 64, 0x103}, /* 4.21 */
        {0x18, 0x40016, 64, 0x103}, /* 4.22 */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig.version = cases[i].version;
        rig.xen = cases[i].xen;
        assert_int_equal(dgm_domain_create(9, 4), DGM_OK);
        assert_int_equal(rig.command, XEN_DOMCTL_createdomain);
        assert_int_equal(word(20), cases[i].flags);
        assert_int_equal(word(24), 0); /* iommu_opts */
        assert_int_equal(word(28), 4); /* max_vcpus */
        assert_int_equal(word(32), 1023);
        assert_int_equal(word(36), 64); /* max_grant_frames */
        assert_int_equal(word(40), 0);  /* max_maptrack_frames */
        assert_int_equal(word(44), 1);  /* grant_opts */
        for (size_t at = 48; at < sizeof rig.op.u.pad; at += 4)
            assert_int_equal(word(at), at == cases[i].spis ? 1 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_layout_of_createdomain),
    };

    return cmocka_run_group_tests_name("create", tests, NULL, NULL);
}
