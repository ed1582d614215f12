/* SPDX-License-Identifier: MIT */
/*
 * nvme_prp: if these fail, a disk reads or writes other bytes than those of the request.
 *
 * The twin follows PRP entries byte by byte as NVMe 1.4, 4.3 tells a controller to, and every
 * byte's address is compared with what the segments say.
 */
#include "unit.h"

#include <drivers/nvme/internal.h>

#define PAGE         4096u
#define LIST_ENTRIES 256u
#define LIST_BUS     0x12345800ull

static struct dgm_dma_segment segments[300];
static uint64_t list[LIST_ENTRIES];
static uint64_t prp[2];

static uint64_t describe_segments(const struct dgm_dma_segment *from, uint32_t count,
                                  uint32_t *used)
{
    struct nvme_prp into = {
        .list = list, .list_bus = dgm_bus(LIST_BUS), .list_entries = LIST_ENTRIES};

    dgm_nvme_prp(&into, from, count);
    memcpy(prp, into.prp, sizeof prp);
    *used = into.list_used;
    return into.bytes;
}

/* Bus address of byte `at`, as a controller finds it. */
static uint64_t address_by_twin(uint32_t total, uint32_t at)
{
    const uint32_t first = PAGE - prp[0] % PAGE; /* bytes of the first page */

    if (at < first)
        return prp[0] + at;

    const uint32_t page = (at - first) / PAGE; /* after the first */
    const bool listed = total > first + PAGE;

    if (listed)
        assert_int_equal(prp[1], LIST_BUS);

    const uint64_t entry = listed ? list[page] : prp[1];

    assert_int_equal(entry % PAGE, 0);
    return entry + (at - first) % PAGE;
}

/*
 * Segments over pages that are scattered or neighbours, as the gap rule has them; `together` in a
 * hundred are merged with the one before.
 */
static uint32_t make_segments(uint32_t offset, uint32_t bytes, unsigned together)
{
    uint32_t count = 0;
    uint64_t page = 0x100000;

    for (uint32_t skip = offset; bytes > 0; skip = 0) {
        const uint32_t here = bytes < PAGE - skip ? bytes : PAGE - skip;

        if (count > 0 && unit_chance(together)) {
            page++;
            segments[count - 1].bytes += here;
        } else {
            page += 2 + unit_below(1000);
            segments[count].bus = dgm_bus(page * PAGE + skip);
            segments[count++].bytes = here;
        }
        bytes -= here;
    }
    return count;
}

static void check_every_byte(uint32_t offset, uint32_t bytes, unsigned together, uint32_t step)
{
    const uint32_t count = make_segments(offset, bytes, together);
    uint32_t used;

    memset(list, 0xff, sizeof list);
    assert_int_equal(describe_segments(segments, count, &used), bytes);

    const uint32_t pages = (offset + bytes + PAGE - 1) / PAGE;

    assert_int_equal(used, pages > 2 ? pages - 1 : 0);
    for (uint32_t i = used; i < LIST_ENTRIES; i++)
        assert_true(list[i] == UINT64_MAX || (pages == 2 && i == 0));

    uint32_t at = 0;

    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t in = 0; in < segments[i].bytes; in += step, at += step) {
            if (address_by_twin(bytes, at) != dgm_bus_address(segments[i].bus) + in)
                fail_msg("offset %u bytes %u: byte %u is elsewhere", offset, bytes, at);
        }
    }
}

/* Fails: some offset or length of a small transfer is described wrong. */
static void every_offset_and_length(void **state)
{
    unit_seed();
    for (uint32_t offset = 0; offset < PAGE; offset += 4) {
        for (uint32_t bytes = 512; bytes <= 3 * PAGE + 512; bytes += 512)
            check_every_byte(offset, bytes, 30, 4);
    }
}

/* Fails: one, two or three pages, where the form of the entries changes, or a full list. */
static void page_counts(void **state)
{
    for (uint32_t pages = 1; pages <= 256; pages++) {
        check_every_byte(0, pages * PAGE, 0, 1);
        check_every_byte(0, pages * PAGE, 100, 4);
        check_every_byte(PAGE - 512, pages * PAGE, 50, 4);
        check_every_byte(512, pages * PAGE - 512, 50, 4);
    }
    check_every_byte(2048, 256 * PAGE, 0, 1); /* 257 pages: the list is full */
}

/* Fails: segments that PRPs cannot express reach the device as something else. */
static void asserts_the_gap_rule(void **state)
{
    static const struct dgm_dma_segment bad[][2] = {
        {{{0x1000}, 512}, {{0x3000}, 4096}},           /* the first ends within a page */
        {{{0x1000}, 4096}, {{0x3200}, 512}},           /* the second starts within one */
        {{{0x1002}, 4094}, {{0x3000}, 4096}},          /* not on a dword */
        {{{0x1000}, 4096}, {{0x3000}, 0}},             /* no bytes */
        {{{UINT64_MAX - 0xfff}, 0x2000}, {{0}, 4096}}, /* wraps at the end of the address space */
    };
    uint32_t used;

    for (volatile size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_panic(describe_segments(bad[i], 2, &used));
    expect_panic(describe_segments(bad[0], 0, &used));
    make_segments(512, 257 * PAGE, 0);
    expect_panic(describe_segments(segments, 258, &used));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_offset_and_length),
        cmocka_unit_test(page_counts),
        cmocka_unit_test(asserts_the_gap_rule),
    };

    return cmocka_run_group_tests_name("nvme_prp", tests, NULL, NULL);
}
