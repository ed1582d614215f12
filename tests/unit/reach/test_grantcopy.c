/* SPDX-License-Identifier: MIT */
/*
 * grantcopy: if these fail, a request succeeds though its data was not copied, one guest's bytes
 * reach another, an op is retried without end, or Xen maps a page once for each op.
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

/* The number of parked ops after a commit, and after a retry. */
static size_t parked_after_commit(void)
{
    dgm_grantcopy_commit(&copy);
    return copy.parked;
}

static size_t parked_after_retry(void)
{
    dgm_grantcopy_retry(&copy);
    return copy.parked;
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
    assert_int_equal(parked_after_commit(), 0);
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
    assert_int_equal(parked_after_commit(), 0);
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

/* Fails: each segment costs a hypercall, or an empty drain does. */
static void one_hypercall_for_a_batch(void **state)
{
    const uint64_t before = dgm_hypercall_count[__HYPERVISOR_grant_table_op];
    int status[40];

    assert_int_equal(parked_after_commit(), 0);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before);
    for (unsigned i = 0; i < 40; i++) {
        dgm_hv_grant(COPY_GUEST, 8 + i, i, false);
        add_op(COPY_GUEST, 8 + i, i, 0, 4096, i & 1, &status[i]);
    }
    assert_int_equal(parked_after_commit(), 0);
    assert_int_equal(dgm_hypercall_count[__HYPERVISOR_grant_table_op], before + 1);
    assert_int_equal(copy.batches, 1);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(status[i], DGM_OK);
    assert_int_equal(parked_after_commit(), 0);
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
        assert_int_equal(parked_after_commit(), 0);
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
        assert_int_equal(parked_after_commit(), BATCH - at);
        for (unsigned n = 0; n < BATCH; n++) {
            const unsigned i = nth_added(n);

            assert_int_equal(status[i], n < at ? DGM_OK : DGM_EAGAIN);
            is_copied(i, n < at);
            assert_int_equal(dgm_hv_grant_pins(COPY_GUEST, 8 + i), 0);
        }
        dgm_grantcopy_retry(&copy);
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
    assert_int_equal(parked_after_commit(), BATCH);
    for (unsigned tries = 1; tries < DGM_GRANTCOPY_TRIES; tries++) {
        for (unsigned i = 0; i < BATCH; i++)
            assert_int_equal(status[i], DGM_EAGAIN);
        dgm_grantcopy_retry(&copy);
    }
    assert_int_equal(copy.parked, 0);
    for (unsigned i = 0; i < BATCH; i++)
        assert_int_equal(status[i], DGM_EIO); /* no guest's fault */
    assert_int_equal(copy.refused, BATCH);
}

/* --- GNTST_eagain --- */

static unsigned eagain_times;

static int16_t eagain_for_odd(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    unsigned *times = context; /* per reference */
    const grant_ref_t ref = op->source.u.ref;

    return (ref & 1) && times[ref - 8]++ < eagain_times ? GNTST_eagain : 0;
}

/* Fails: a paged-out frame is an I/O error immediately, or is retried without end; or a status goes
 * to another request when parked ops move. */
static void eagain_is_retried_until_it_is_refused(void **state)
{
    static const unsigned times[] = {1, 3, DGM_GRANTCOPY_TRIES - 1, DGM_GRANTCOPY_TRIES, 1000};

    for (unsigned t = 0; t < sizeof times / sizeof times[0]; t++) {
        unsigned seen[BATCH] = {0}, commits = 0;
        int status[BATCH], late = UNSET;
        const bool refused = times[t] >= DGM_GRANTCOPY_TRIES;

        start(NULL);
        eagain_times = times[t];
        grant_batch();
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = seen, .copy = eagain_for_odd});
        add_batch(status);
        assert_int_equal(parked_after_commit(), BATCH / 2);
        for (unsigned i = 0; i < BATCH; i++) {
            assert_int_equal(status[i], i & 1 ? DGM_EAGAIN : DGM_OK);
            is_copied(i, !(i & 1));
        }
        memset(dgm_hv_page(COPY_GUEST, 20), 0x55, 4096);
        dgm_hv_grant(COPY_GUEST, 10, 20, false);
        add_op(COPY_GUEST, 10, 20, 0, 4096, false, &late); /* one more op is parked */
        while (parked_after_retry())
            assert_true(++commits < 20);
        assert_int_equal(late, DGM_OK);
        assert_int_equal(copy_rig_page(20)[7], 0x55);
        assert_int_equal(seen[1], refused ? DGM_GRANTCOPY_TRIES : times[t] + 1);
        for (unsigned i = 0; i < BATCH; i++) {
            assert_int_equal(status[i], (i & 1) && refused ? DGM_EPERM : DGM_OK);
            is_copied(i, !(i & 1) || !refused);
        }
        assert_int_equal(copy.retries, BATCH / 2 * (seen[1] - 1));
        assert_int_equal(copy.refused, refused ? BATCH / 2 : 0);
    }
}

/* Fails: a batch full of parked ops has no room, and adding to it writes beyond it or never
 * ends. */
static void a_full_batch(void **state)
{
    static int status[DGM_GRANTCOPY_BATCH + 1];
    static unsigned seen[2];

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

    eagain_times = UINT32_MAX;
    dgm_hv_set_faults(&(struct dgm_hv_faults){.context = seen, .copy = eagain_for_odd});
    for (unsigned i = 0; i <= DGM_GRANTCOPY_BATCH; i++)
        add_op(COPY_GUEST, 9, i, 0, 512, false, &status[i]);
    assert_int_equal(copy.batches, 2 + DGM_GRANTCOPY_TRIES);
    for (unsigned i = 0; i < DGM_GRANTCOPY_BATCH; i++)
        assert_int_equal(status[i], DGM_EPERM);
    assert_int_equal(status[DGM_GRANTCOPY_BATCH], DGM_EAGAIN);
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
    assert_int_equal(parked_after_commit(), 0);
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
        assert_int_equal(parked_after_commit(), 0);
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
        TEST(one_hypercall_for_a_batch),
        TEST(bad_references),
        TEST(misuse_panics),
        TEST(fail_every_subset_of_a_batch),
        TEST(a_batch_that_stops_in_the_middle),
        TEST(a_hypercall_that_fails),
        TEST(eagain_is_retried_until_it_is_refused),
        TEST(a_full_batch),
        TEST(ops_of_one_page_stay_neighbours),
        TEST(random_batches_beside_plain_copies),
    };

    return cmocka_run_group_tests_name("grantcopy", tests, NULL, NULL);
}
