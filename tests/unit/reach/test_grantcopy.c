/* SPDX-License-Identifier: MIT */
/*
 * grantcopy: if these fail, a request succeeds though its data was not copied, one guest's bytes
 * reach another, a status of Xen's gets another meaning, or Xen maps a page once for each op.
 */
#include "copy_rig.h"

#include <dragoman/reach/grantcopy.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>
#include <port/env.h>
#include <reach/internal.h>
#include <sim/hypervisor/hypervisor.h>

#define OTHER 5
#define UNSET 99 /* a value that is no status of ours */

static struct dgm_grantcopy copy;

static int start(void **state)
{
    copy_rig_start(state);
    dgm_hv_domain_add(OTHER, 64);
    dgm_grantcopy_init(&copy);
    return 0;
}

/* The number of ops of the batch that may still succeed, after its commit. */
static uint64_t not_done_after_commit(void)
{
    const uint64_t before = copy.not_done;

    dgm_grantcopy_commit(&copy);
    assert_int_equal(copy.count, 0);
    return copy.not_done - before;
}

static void add_op(domid_t domid, grant_ref_t ref, uint64_t frame, unsigned offset, unsigned bytes,
                   bool to_guest, int *status)
{
    dgm_grantcopy_add(&copy,
                      &(struct dgm_grantcopy_op){.domid = domid,
                                                 .ref = ref,
                                                 .local = {COPY_LOCAL + frame},
                                                 .guest_offset = (uint16_t)offset,
                                                 .local_offset = (uint16_t)offset,
                                                 .bytes = (uint16_t)bytes,
                                                 .to_guest = to_guest},
                      status);
}

static int copy_one(domid_t domid, grant_ref_t ref, uint64_t frame, bool to_guest)
{
    int status = UNSET;

    add_op(domid, ref, frame, 0, 4096, to_guest, &status);
    assert_int_equal(not_done_after_commit(), 0);
    return status;
}

static void fill_page(void *at, unsigned seed)
{
    for (unsigned i = 0; i < 4096; i++)
        ((unsigned char *)at)[i] = (unsigned char)(i * 7 + seed);
}

/* Fails: the bytes are wrong, or are copied in the wrong direction,
 * or more bytes than those are written. */
static void copies_the_named_bytes(void **state)
{
    int in = UNSET, out = UNSET;
    char before[4096], page[4096];

    dgm_hv_grant(COPY_GUEST, 8, 5, false);
    dgm_hv_grant(COPY_GUEST, 9, 6, true); /* read-only: it can be a source */
    fill_page(dgm_hv_page(COPY_GUEST, 5), 1);
    fill_page(dgm_hv_page(COPY_GUEST, 6), 2);
    fill_page(copy_rig_page(0), 3);
    fill_page(copy_rig_page(1), 4);
    memcpy(before, copy_rig_page(1), 4096);
    memcpy(page, dgm_hv_page(COPY_GUEST, 5), 4096);
    add_op(COPY_GUEST, 8, 0, 512, 1024, true, &out);
    add_op(COPY_GUEST, 9, 1, 4095, 1, false, &in);
    assert_int_equal(in, DGM_EAGAIN);
    assert_int_equal(out, DGM_EAGAIN);
    assert_int_equal(not_done_after_commit(), 0);
    assert_int_equal(in, DGM_OK);
    assert_int_equal(out, DGM_OK);
    memcpy(page + 512, copy_rig_page(0) + 512, 1024);
    assert_memory_equal(dgm_hv_page(COPY_GUEST, 5), page, 4096);
    assert_memory_equal(copy_rig_page(1), before, 4095);
    assert_int_equal(copy_rig_page(1)[4095], ((char *)dgm_hv_page(COPY_GUEST, 6))[4095]);
    assert_int_equal(copy.bytes_out, 1024);
    assert_int_equal(copy.bytes_in, 1);
    assert_int_equal(copy.copied, 2);
    assert_int_equal(dgm_hv_stats()->copy_bytes, 1025);
    assert_int_equal(copy_one(COPY_GUEST, 8, 0, false), DGM_OK);
    assert_memory_equal(copy_rig_page(0), page, 4096);
    assert_true(dgm_hv_grant_end(COPY_GUEST, 8)); /* nothing is held */
    assert_true(dgm_hv_grant_end(COPY_GUEST, 9));
}

/* Fails: wrong bytes go to another guest; a bad reference of either counts as copied. */
static void copies_between_guests(void **state)
{
    struct dgm_grantcopy_between op = {
        .from = {COPY_GUEST, 8, 100}, .to = {OTHER, 3, 7}, .bytes = 9};
    int status[3] = {UNSET, UNSET, UNSET};
    char page[4096];

    dgm_hv_grant(COPY_GUEST, 8, 5, true); /* read-only: the source */
    dgm_hv_grant(OTHER, 3, 6, false);
    fill_page(dgm_hv_page(COPY_GUEST, 5), 1);
    fill_page(dgm_hv_page(OTHER, 6), 2);
    memcpy(page, dgm_hv_page(OTHER, 6), 4096);
    memcpy(page + 7, (char *)dgm_hv_page(COPY_GUEST, 5) + 100, 9);
    dgm_grantcopy_add_between(&copy, &op, &status[0]);
    op.from.ref = 9;
    dgm_grantcopy_add_between(&copy, &op, &status[1]);
    op = (struct dgm_grantcopy_between){{COPY_GUEST, 8, 0}, {OTHER, 4, 0}, 1};
    dgm_grantcopy_add_between(&copy, &op, &status[2]);
    assert_int_equal(not_done_after_commit(), 0);
    assert_int_equal(status[0], DGM_OK);
    assert_int_equal(status[1], DGM_EPERM);
    assert_int_equal(status[2], DGM_EPERM);
    assert_memory_equal(dgm_hv_page(OTHER, 6), page, 4096);
    assert_int_equal(copy.bytes_between, 9);
    assert_int_equal(copy.bytes_in + copy.bytes_out, 0);
    assert_true(dgm_hv_grant_end(COPY_GUEST, 8) && dgm_hv_grant_end(OTHER, 3));
}

/* Fails: each segment costs a hypercall, or an empty drain does. */
static void one_hypercall_for_a_batch(void **state)
{
    const uint64_t before = dgm_hypercall_count[__HYPERVISOR_grant_table_op];
    int status[40];

    assert_int_equal(not_done_after_commit(), 0);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before);
    for (unsigned i = 0; i < 40; i++) {
        dgm_hv_grant(COPY_GUEST, 8 + i, i, false);
        add_op(COPY_GUEST, 8 + i, i, 0, 4096, i & 1, &status[i]);
    }
    assert_int_equal(not_done_after_commit(), 0);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before + 1);
    assert_int_equal(copy.batches, 1);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(status[i], DGM_OK);
    assert_int_equal(not_done_after_commit(), 0);
    assert_int_equal(copy.batches, 1);
}

/* Fails: a hostile frontend's references are accepted; or Xen writes to a read-only frame. */
static void bad_references(void **state)
{
    static const grant_ref_t bad[] = {0, 9, DGM_HV_REFS - 1, DGM_HV_REFS, UINT32_MAX};
    struct gnttab_map_grant_ref map = {
        .host_addr = 0x200000ull << 12, .flags = GNTMAP_host_map, .ref = 10, .dom = COPY_GUEST};

    dgm_hv_grant(COPY_GUEST, 8, 1000, false); /* no such frame */
    assert_int_equal(copy_one(COPY_GUEST, 8, 0, false), DGM_EPERM);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(copy_one(COPY_GUEST, bad[i], 0, i & 1), DGM_EPERM);
    assert_int_equal(copy_one(17, 8, 0, false), DGM_EPERM); /* no such guest */
    dgm_hv_grant(COPY_GUEST, 10, 1, true);
    assert_int_equal(copy_one(COPY_GUEST, 10, 0, true), DGM_EPERM);
    assert_int_equal(copy_one(COPY_GUEST, 10, 0, false), DGM_OK);
    assert_int_equal(copy_one(COPY_GUEST, 10, COPY_FRAMES, false), DGM_EPERM); /* no RAM of ours */
    assert_int_equal(copy.refused, 9);
    assert_int_equal(copy.copied, 1);
    map.flags |= GNTMAP_readonly;
    assert_int_equal(dgm_grant_table_op(GNTTABOP_map_grant_ref, &map, 1), 0);
    assert_int_equal(map.status, GNTST_okay);
    assert_int_equal(copy_one(COPY_GUEST, 10, 0x200000 - COPY_LOCAL, false),
                     DGM_EPERM); /* foreign */
    dgm_hv_domain_destroy(COPY_GUEST);
    assert_int_equal(copy_one(COPY_GUEST, 10, 0, false), DGM_EPERM);
}

/* Fails: an impossible range of a request is accepted. */
static void misuse_panics(void **state)
{
    int status;

    expect_panic(add_op(COPY_GUEST, 8, 0, 0, 0, false, &status));
    expect_panic(add_op(COPY_GUEST, 8, 0, 4096, 1, false, &status));
    expect_panic(add_op(COPY_GUEST, 8, 0, 4095, 2, false, &status));
    expect_panic(add_op(COPY_GUEST, 8, 0, 1, 4096, false, &status));
    assert_int_equal(copy.count, 0);
}

/* --- every subset of a batch fails --- */

#define BATCH 8u

static int16_t refuse_subset(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    const unsigned *subset = context;

    return *subset >> (op->source.u.ref - 8) & 1 ? GNTST_general_error : 0;
}

/* The op that is added as the n-th: not in the order of the references. */
static unsigned nth_added(unsigned n)
{
    return (n * 5 + 3) % BATCH;
}

static void add_batch(int *status)
{
    for (unsigned i = 0; i < BATCH; i++) {
        const unsigned at = nth_added(i);

        status[at] = UNSET;
        memset(dgm_hv_page(COPY_GUEST, at), (int)(0x10 + at), 4096);
        memset(copy_rig_page(at), 0xee, 4096);
        add_op(COPY_GUEST, 8 + at, at, 0, 4096, false, &status[at]);
    }
}

static void grant_batch(void)
{
    for (unsigned i = 0; i < BATCH; i++)
        dgm_hv_grant(COPY_GUEST, 8 + i, i, false);
}

static void is_copied(unsigned i, bool copied)
{
    assert_int_equal(copy_rig_page(i)[0] & 0xff, copied ? 0x10 + i : 0xee);
    assert_int_equal(copy_rig_page(i)[4095] & 0xff, copied ? 0x10 + i : 0xee);
}

/* Fails: as in XSA-361, an error of one op is ignored, or attributed to another. */
static void fail_every_subset_of_a_batch(void **state)
{
    uint64_t refused = 0;

    grant_batch();
    for (unsigned subset = 0; subset < 1u << BATCH; subset++) {
        int status[BATCH];

        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &subset, .copy = refuse_subset});
        add_batch(status);
        assert_int_equal(not_done_after_commit(), 0);
        for (unsigned i = 0; i < BATCH; i++) {
            const bool failed = subset >> i & 1;

            assert_int_equal(status[i], failed ? DGM_EPERM : DGM_OK);
            is_copied(i, !failed);
            refused += failed;
        }
        assert_int_equal(copy.refused, refused);
        assert_int_equal(copy.copied + refused, (subset + 1) * BATCH);
        assert_int_equal(copy.bytes_in, copy.copied * 4096);
    }
}

/* --- a hypercall fails as a whole, or stops in the middle --- */

static long refuse_call(void *context, uint64_t nth, unsigned op, unsigned command)
{
    return DGM_ENOSYS;
}

static bool cut_at_op(void *context, uint64_t nth)
{
    const uint64_t *at = context;

    return nth == *at;
}

/* Fails: a status that Xen did not write counts as success (0 is GNTST_okay), or as an error of the
 * guest's. */
static void a_batch_that_stops_in_the_middle(void **state)
{
    for (uint64_t at = 0; at <= BATCH; at++) {
        int status[BATCH];

        start(NULL);
        grant_batch();
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &at, .cut = cut_at_op});
        add_batch(status);
        assert_int_equal(not_done_after_commit(), BATCH - at);
        for (unsigned n = 0; n < BATCH; n++) {
            const unsigned i = nth_added(n);

            assert_int_equal(status[i], n < at ? DGM_OK : DGM_EIO);
            is_copied(i, n < at);
            assert_int_equal(dgm_hv_grant_pins(COPY_GUEST, 8 + i), 0);
        }
        dgm_hv_set_faults(NULL);
        add_batch(status); /* copies the same bytes */
        dgm_grantcopy_commit(&copy);
        for (unsigned i = 0; i < BATCH; i++) {
            assert_int_equal(status[i], DGM_OK);
            is_copied(i, true);
        }
    }
}

static void a_hypercall_that_fails(void **state)
{
    int status[BATCH];

    grant_batch();
    add_batch(status); /* leaves "okay" in the statuses of the batch */
    dgm_grantcopy_commit(&copy);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = refuse_call});
    add_batch(status);
    assert_int_equal(not_done_after_commit(), BATCH);
    for (unsigned i = 0; i < BATCH; i++)
        assert_int_equal(status[i], DGM_EIO); /* no guest's fault */
    assert_int_equal(copy.refused, 0);
}

/* --- every status --- */

static int16_t status_for_odd(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    const int16_t *status = context;

    return op->source.u.ref & 1 ? *status : 0;
}

static int expected_of(int16_t status)
{
    switch (status) {
    case GNTST_eagain:
        return DGM_EAGAIN;
    case GNTST_no_space:
    case GNTST_no_device_space:
        return DGM_ENOSPC;
    case GNTST_general_error:
    case GNTST_bad_domain:
    case GNTST_bad_gntref:
    case GNTST_bad_page:
        return DGM_EPERM;
    default:
        return DGM_EIO;
    }
}

/* Fails: a page that is paged in is a guest's fault, or a guest's fault is retried; or one op's
 * status is another's. */
static void every_status(void **state)
{
    for (int16_t refusal = -1; refusal >= GNTST_no_space - 3; refusal--) {
        const int expected = expected_of(refusal);
        const uint64_t refused = copy.refused;
        int status[BATCH];

        grant_batch();
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &refusal, .copy = status_for_odd});
        add_batch(status);
        assert_int_equal(not_done_after_commit(),
                         dgm_grantcopy_may_succeed(expected) ? BATCH / 2 : 0);
        assert_int_equal(copy.refused - refused, expected == DGM_EPERM ? BATCH / 2 : 0);
        for (unsigned i = 0; i < BATCH; i++) {
            assert_int_equal(status[i], i & 1 ? expected : DGM_OK);
            is_copied(i, !(i & 1));
        }
    }
}

/* Fails: a full batch has no room, and adding to it writes beyond it or loses an op. */
static void a_full_batch(void **state)
{
    static int status[DGM_GRANTCOPY_BATCH + 1];
    int16_t refusal = GNTST_eagain;

    dgm_hv_grant(COPY_GUEST, 8, 0, false);
    dgm_hv_grant(COPY_GUEST, 9, 1, false);
    for (unsigned i = 0; i < DGM_GRANTCOPY_BATCH; i++)
        add_op(COPY_GUEST, 8, i, 0, 512, false, &status[i]);
    assert_int_equal(copy.batches, 0);
    add_op(COPY_GUEST, 8, 0, 512, 512, false, &status[DGM_GRANTCOPY_BATCH]);
    assert_int_equal(copy.batches, 1);
    assert_int_equal(copy.count, 1);
    dgm_grantcopy_commit(&copy);
    for (unsigned i = 0; i <= DGM_GRANTCOPY_BATCH; i++)
        assert_int_equal(status[i], DGM_OK);

    dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &refusal, .copy = status_for_odd});
    for (unsigned i = 0; i <= DGM_GRANTCOPY_BATCH; i++)
        add_op(COPY_GUEST, 9, i, 0, 512, false, &status[i]);
    assert_int_equal(copy.batches, 3);
    assert_int_equal(copy.not_done, DGM_GRANTCOPY_BATCH);
    assert_int_equal(not_done_after_commit(), 1);
    for (unsigned i = 0; i <= DGM_GRANTCOPY_BATCH; i++)
        assert_int_equal(status[i], DGM_EAGAIN);
}

/* --- order --- */

/* Fails: Xen maps a guest's page for each op, although the ops of one page were added one after
 * another. */
static void ops_of_one_page_stay_neighbours(void **state)
{
    static int status[DGM_GRANTCOPY_BATCH];

    for (unsigned i = 0; i < 16; i++) {
        dgm_hv_grant(COPY_GUEST, 8 + i, i, false);
        dgm_hv_grant(OTHER, 8 + i, i, false);
    }
    /* 2 guests x 16 references, the higher ones first, 8 pieces of each. */
    for (unsigned i = 0; i < 256; i++) {
        const unsigned page = 31 - i / 8;

        add_op(page & 1 ? COPY_GUEST : OTHER, 8 + page / 2, page, i % 8 * 256, 256, page & 2,
               &status[i]);
    }
    assert_int_equal(not_done_after_commit(), 0);
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(status[i], DGM_OK);
    assert_int_equal(dgm_hv_stats()->copy_switches, 32 * 2); /* a guest's page and one of ours */
    assert_int_equal(dgm_hv_stats()->copy_ops, 256);
}

/* Fails: a batch loses an op, or mixes up whose status is whose, for some number of ops or some
 * order. */
static void random_batches_beside_plain_copies(void **state)
{
    static int status[COPY_FRAMES];
    static struct {
        domid_t domid;
        grant_ref_t ref;
        unsigned guest_offset, local_offset, bytes;
    } op[COPY_FRAMES];
    uint64_t copied = 0;
    const uint64_t seed = unit_seed();

    print_message("# seed %llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < 40; i++) {
        dgm_hv_grant(COPY_GUEST, 8 + i, i, i & 1);
        dgm_hv_grant(OTHER, 8 + i, i, i & 1);
        fill_page(dgm_hv_page(COPY_GUEST, i), i);
        fill_page(dgm_hv_page(OTHER, i), i + 100);
    }
    for (unsigned round = 0; round < 200; round++) {
        const unsigned count = (unsigned)unit_below(round < 100 ? 20 : COPY_FRAMES + 1);

        for (unsigned i = 0; i < count; i++) { /* each into a frame of its own */
            op[i].domid = unit_chance(50) ? COPY_GUEST : OTHER;
            op[i].ref = 8 + (grant_ref_t)unit_below(44); /* some are not granted */
            op[i].guest_offset = (unsigned)unit_below(4096);
            op[i].local_offset = (unsigned)unit_below(4096);
            op[i].bytes = 1 + (unsigned)unit_below(4096 - (op[i].guest_offset > op[i].local_offset
                                                               ? op[i].guest_offset
                                                               : op[i].local_offset));
            memset(copy_rig_page(i), 0xee, 4096);
            dgm_grantcopy_add(
                &copy,
                &(struct dgm_grantcopy_op){.domid = op[i].domid,
                                           .ref = op[i].ref,
                                           .local = {COPY_LOCAL + i},
                                           .guest_offset = (uint16_t)op[i].guest_offset,
                                           .local_offset = (uint16_t)op[i].local_offset,
                                           .bytes = (uint16_t)op[i].bytes},
                &status[i]);
        }
        assert_int_equal(not_done_after_commit(), 0);
        for (unsigned i = 0; i < count; i++) {
            char expected[4096];

            memset(expected, 0xee, 4096);
            assert_int_equal(status[i], op[i].ref < 48 ? DGM_OK : DGM_EPERM);
            if (op[i].ref < 48) {
                memcpy(expected + op[i].local_offset,
                       (char *)dgm_hv_page(op[i].domid, op[i].ref - 8) + op[i].guest_offset,
                       op[i].bytes);
                copied++;
            }
            assert_memory_equal(copy_rig_page(i), expected, 4096);
        }
        assert_int_equal(copy.copied, copied);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, copy_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(copies_the_named_bytes),
        TEST(copies_between_guests),
        TEST(one_hypercall_for_a_batch),
        TEST(bad_references),
        TEST(misuse_panics),
        TEST(fail_every_subset_of_a_batch),
        TEST(a_batch_that_stops_in_the_middle),
        TEST(a_hypercall_that_fails),
        TEST(every_status),
        TEST(a_full_batch),
        TEST(ops_of_one_page_stay_neighbours),
        TEST(random_batches_beside_plain_copies),
    };

    return cmocka_run_group_tests_name("grantcopy", tests, NULL, NULL);
}
