/* SPDX-License-Identifier: MIT */
/*
 * The parser of ring entries, and the names of virtual disks: pure functions at the limits
 * of their arguments. If one of these fails, a guest gets an operation that it must not have, or is
 * refused one that it may have.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <block/internal.h>

#define SECTORS 4096u

static const struct dgm_blkif_limits disk512 = {SECTORS, 512, 256, true};
static const struct dgm_blkif_limits disk4k = {SECTORS, 4096, 256, true};

static struct blkif_request direct_request(uint8_t operation, uint64_t sector, uint8_t segments)
{
    struct blkif_request request;

    memset(&request, 0xa5, sizeof request);
    request.operation = operation;
    request.nr_segments = segments;
    request.id = 0x1122334455667788;
    request.sector_number = sector;
    for (unsigned i = 0; i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++) {
        request.seg[i].gref = 100 + i;
        request.seg[i].first_sect = 0;
        request.seg[i].last_sect = 7;
    }
    return request;
}

static struct dgm_blkif_request parsed;

static enum dgm_blkback_refusal parse_entry(const void *entry,
                                            const struct dgm_blkif_limits *limits)
{
    memset(&parsed, 0xee, sizeof parsed);
    return dgm_blkif_parse(entry, limits, &parsed);
}

static void direct_is_understood(void **state)
{
    struct blkif_request request = direct_request(BLKIF_OP_WRITE, 16, 11);

    (void)state;
    request.seg[3].first_sect = 2;
    request.seg[3].last_sect = 5;
    assert_int_equal(parse_entry(&request, &disk512), DGM_BLKBACK_ACCEPTED);
    assert_int_equal(parsed.id, 0x1122334455667788);
    assert_int_equal(parsed.operation, BLKIF_OP_WRITE);
    assert_int_equal(parsed.sector, 16);
    assert_int_equal(parsed.segment_count, 11);
    assert_int_equal(parsed.bytes, (10 * 8 + 4) * 512);
    assert_false(parsed.indirect);
}

static void indirect_is_understood(void **state)
{
    struct blkif_request_indirect request;
    _Alignas(8) uint8_t entry[sizeof(union dgm_blkif_entry)] = {0};

    (void)state;
    memset(&request, 0, sizeof request);
    request.operation = BLKIF_OP_INDIRECT;
    request.indirect_op = BLKIF_OP_READ;
    request.nr_segments = 256;
    request.id = 9;
    request.sector_number = 8;
    request.indirect_grefs[0] = 77;
    memcpy(entry, &request, sizeof request);
    assert_int_equal(parse_entry(entry, &disk512), DGM_BLKBACK_ACCEPTED);
    assert_true(parsed.indirect);
    assert_int_equal(parsed.operation, BLKIF_OP_READ);
    assert_int_equal(parsed.id, 9);
    assert_int_equal(parsed.indirect_ref, 77);
    assert_int_equal(parsed.segment_count, 256);

    request.nr_segments = 257;
    memcpy(entry, &request, sizeof request);
    assert_int_equal(parse_entry(entry, &disk512), DGM_BLKBACK_SEGMENTS_TOO_MANY);
    assert_int_equal(parsed.operation, BLKIF_OP_READ); /* the response echoes the inner one */
    request.nr_segments = 0;
    memcpy(entry, &request, sizeof request);
    assert_int_equal(parse_entry(entry, &disk512), DGM_BLKBACK_SEGMENTS_NONE);
    request.nr_segments = 1;
    for (unsigned op = 2; op < 256; op++) { /* an indirect of an indirect too */
        request.indirect_op = (uint8_t)op;
        memcpy(entry, &request, sizeof request);
        assert_int_equal(parse_entry(entry, &disk512), DGM_BLKBACK_OPERATION_UNKNOWN);
        assert_int_equal(parsed.operation, op);
    }
}

static void known_operations_only(void **state)
{
    (void)state;
    for (unsigned op = 0; op < 256; op++) {
        struct blkif_request request = direct_request((uint8_t)op, 0, 1);
        const enum dgm_blkback_refusal refusal = parse_entry(&request, &disk512);

        assert_int_equal(parsed.id, request.id);
        if (op == BLKIF_OP_READ || op == BLKIF_OP_WRITE) {
            assert_int_equal(refusal, DGM_BLKBACK_ACCEPTED);
        } else if (op == BLKIF_OP_WRITE_BARRIER || op == BLKIF_OP_DISCARD) {
            assert_int_equal(refusal, DGM_BLKBACK_OPERATION_NOT_OFFERED);
            assert_int_equal(dgm_blkif_status(refusal), BLKIF_RSP_EOPNOTSUPP);
        } else if (op == BLKIF_OP_FLUSH_DISKCACHE) {
            assert_int_equal(refusal, DGM_BLKBACK_FLUSH_WITH_DATA);
            assert_int_equal(dgm_blkif_status(refusal), BLKIF_RSP_ERROR);
        } else if (op != BLKIF_OP_INDIRECT) {
            assert_int_equal(refusal, DGM_BLKBACK_OPERATION_UNKNOWN);
            assert_int_equal(dgm_blkif_status(refusal), BLKIF_RSP_EOPNOTSUPP);
        }
    }

    struct blkif_request flush = direct_request(BLKIF_OP_FLUSH_DISKCACHE, 0, 0);

    assert_int_equal(parse_entry(&flush, &disk512), DGM_BLKBACK_ACCEPTED);
    assert_int_equal(parsed.bytes, 0);
}

static void a_read_only_disk_refuses_writes(void **state)
{
    const struct dgm_blkif_limits limits = {SECTORS, 512, 256, false};
    struct blkif_request request = direct_request(BLKIF_OP_WRITE, 0, 1);

    (void)state;
    assert_int_equal(parse_entry(&request, &limits), DGM_BLKBACK_READ_ONLY);
    request.operation = BLKIF_OP_READ;
    assert_int_equal(parse_entry(&request, &limits), DGM_BLKBACK_ACCEPTED);
}

static void segment_counts(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 256; n++) {
        struct blkif_request request = direct_request(BLKIF_OP_READ, 0, (uint8_t)n);
        const enum dgm_blkback_refusal expected = n == 0   ? DGM_BLKBACK_SEGMENTS_NONE
                                                  : n > 11 ? DGM_BLKBACK_SEGMENTS_TOO_MANY
                                                           : DGM_BLKBACK_ACCEPTED;

        assert_int_equal(parse_entry(&request, &disk512), expected);
    }
}

/* All 65536 pairs of first and last sector. */
static void segment_bounds(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned last = 0; last < 256; last++) {
            struct blkif_request request = direct_request(BLKIF_OP_READ, 0, 2);
            const bool good = first <= last && last <= 7;

            request.seg[1].first_sect = (uint8_t)first;
            request.seg[1].last_sect = (uint8_t)last;
            assert_int_equal(parse_entry(&request, &disk512),
                             good ? DGM_BLKBACK_ACCEPTED : DGM_BLKBACK_SEGMENT_BOUNDS);
            if (good)
                assert_int_equal(parsed.bytes, (8 + last - first + 1) * 512);
        }
    }
}

static void ranges_within_the_disk(void **state)
{
    static const struct {
        uint64_t sector;
        bool good;
    } cases[] = {
        {0, true},
        {SECTORS - 8, true},
        {SECTORS - 7, false},
        {SECTORS, false},
        {SECTORS + 1, false},
        {UINT32_MAX, false},
        {UINT64_MAX - 7, false}, /* + 8 is 0 */
        {UINT64_MAX - 8, false},
        {UINT64_MAX, false},
        {1ull << 63, false},
        {1ull << 55, false}, /* * 512 is 0 */
        {(1ull << 55) + 8, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct blkif_request request = direct_request(BLKIF_OP_READ, cases[i].sector, 1);

        assert_int_equal(parse_entry(&request, &disk512),
                         cases[i].good ? DGM_BLKBACK_ACCEPTED : DGM_BLKBACK_OUT_OF_RANGE);
    }

    const struct dgm_blkif_limits tiny = {4, 512, 256, true}; /* less than the request's length */
    struct blkif_request request = direct_request(BLKIF_OP_READ, 0, 1);

    assert_int_equal(parse_entry(&request, &tiny), DGM_BLKBACK_OUT_OF_RANGE);
}

/* A disk of 4096-byte blocks: the range must be whole blocks; its segments need not be. */
static void blocks_of_4096(void **state)
{
    struct blkif_request request = direct_request(BLKIF_OP_WRITE, 8, 2);

    (void)state;
    assert_int_equal(parse_entry(&request, &disk4k), DGM_BLKBACK_ACCEPTED);
    for (unsigned off = 1; off < 8; off++) {
        request.sector_number = 8 + off;
        assert_int_equal(parse_entry(&request, &disk4k), DGM_BLKBACK_UNALIGNED);
    }
    request.sector_number = 8;
    request.seg[1].last_sect = 6;
    assert_int_equal(parse_entry(&request, &disk4k), DGM_BLKBACK_UNALIGNED);
    request.seg[0].first_sect = 5; /* 3 + 5 sectors */
    request.seg[1].last_sect = 4;
    assert_int_equal(parse_entry(&request, &disk4k), DGM_BLKBACK_ACCEPTED);
    assert_int_equal(parsed.bytes, 4096);
}

static void every_refusal_has_a_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DGM_BLKBACK_REFUSALS; i++)
        assert_true(strlen(dgm_blkback_refusal_name((enum dgm_blkback_refusal)i)) > 3);
}

static void vdev_names(void **state)
{
    static const struct {
        const char *name;
        uint32_t number; /* 0: refused */
    } cases[] = {
        {"xvda", 51712},
        {"xvdb", 51728},
        {"xvdp", 51952},
        {"xvda1", 51713},
        {"xvda15", 51727},
        {"xvda16", 1u << 28 | 16},
        {"xvdq", 1u << 28 | 16 << 8},
        {"xvdz3", 1u << 28 | 25 << 8 | 3},
        {"xvdaa", 1u << 28 | 26 << 8},
        {"xvdba", 1u << 28 | 52 << 8},
        {"xvdaaa", 1u << 28 | 702 << 8},
        {"xvda255", 1u << 28 | 255},
        {"xvda256", 0},
        {"xvda0", 0},
        {"xvda01", 0},
        {"xvd", 0},
        {"xvd1", 0},
        {"", 0},
        {"xv", 0},
        {"hda", 0},
        {"sda", 0},
        {"xvda/1", 0},
        {"xvda1a", 0},
        {"xvdA", 0},
        {"xvda ", 0},
        {"xvdzzzzzzzzzzzzzzzzzzzzzzzzzzz", 0},
        {"xvda99999999999999999999999", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t number = 0;
        const int status = dgm_blkback_vdev_number(cases[i].name, &number);

        assert_int_equal(status, cases[i].number ? DGM_OK : DGM_EINVAL);
        if (cases[i].number)
            assert_int_equal(number, cases[i].number);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(direct_is_understood),
        cmocka_unit_test(indirect_is_understood),
        cmocka_unit_test(known_operations_only),
        cmocka_unit_test(a_read_only_disk_refuses_writes),
        cmocka_unit_test(segment_counts),
        cmocka_unit_test(segment_bounds),
        cmocka_unit_test(ranges_within_the_disk),
        cmocka_unit_test(blocks_of_4096),
        cmocka_unit_test(every_refusal_has_a_name),
        cmocka_unit_test(vdev_names),
    };

    return cmocka_run_group_tests_name("blkback_request", tests, NULL, NULL);
}
