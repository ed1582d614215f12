/* SPDX-License-Identifier: MIT */
/*
 * sdhci: if these fail, an SD card's guest reads or writes the wrong bytes, or a 32-bit controller
 * is given an address above 4 GiB.
 */
#include "sdhci_rig.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

/* --- descriptors and data --- */

/* Reads a table back byte by byte, as the specification has it. */
static void check_table(const uint8_t *table, const struct dgm_dma_segment *segments,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, table += 8) {
        const uint32_t bytes = (uint32_t)(table[2] | table[3] << 8);
        const uint32_t address = (uint32_t)table[4] | (uint32_t)table[5] << 8 |
                                 (uint32_t)table[6] << 16 | (uint32_t)table[7] << 24;

        assert_int_equal(table[0], i + 1 == count ? 0x23 : 0x21);
        assert_int_equal(table[1], 0);
        assert_int_equal(bytes ? bytes : 65536, segments[i].bytes);
        assert_int_equal(address, dgm_bus_address(segments[i].bus));
    }
}

uint64_t dgm_sdhci_adma(const struct dgm_dma_segment *segments, uint32_t count,
                        uint64_t *descriptors);

/* Fails: the controller gets another address or length than was mapped. */
static void descriptors_against_bytes(void **state)
{
    static struct dgm_dma_segment segments[SD_SEGMENTS];
    static uint64_t table[SD_SEGMENTS];

    for (unsigned round = 0; round < 500; round++) {
        const uint32_t count = 1 + (uint32_t)unit_below(SD_SEGMENTS);
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < count; i++) {
            segments[i].bytes = unit_chance(10) ? 65536 : 4 * (1 + (uint32_t)unit_below(16384));
            segments[i].bus = dgm_bus(unit_chance(10) ? UINT32_MAX - segments[i].bytes + 1ull
                                                      : unit_below((UINT32_MAX - 65536) / 4) * 4);
            bytes += segments[i].bytes;
        }
        assert_int_equal(dgm_sdhci_adma(segments, count, table), bytes);
        check_table((const uint8_t *)table, segments, count);
    }
}

/* Fails: the controller is given an address that it would truncate. */
static void unreachable_segments_are_asserted(void **state)
{
    uint64_t table[1];
    const struct dgm_dma_segment bad[] = {
        {{1ull << 32}, 512}, {{0xfffffe04}, 512}, {{0x1000}, 65540}, {{0x1002}, 512}, {{0x1000}, 0},
    };

    for (volatile size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_panic(dgm_sdhci_adma(&bad[i], 1, table));
}

static uint8_t *piece_va(const struct dgm_dma_piece *piece)
{
    return (uint8_t *)dgm_env_va(piece->gfn) + piece->offset;
}

/* A whole request: commands over prefixes, until all is done. */
static void sd_transfer_all(enum dgm_blk_op op, uint64_t block, const struct dgm_dma_piece *pieces,
                            size_t count)
{
    static struct sd_job job;
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += pieces[i].bytes;
    for (uint64_t at = 0; at < total;) {
        const int bytes = sd_submit(&job, op, block + at / 512, pieces, count, at);

        assert_true(bytes > 0);
        sd_let_work();
        assert_int_equal(job.status, DGM_OK);
        at += (uint64_t)bytes;
    }
    for (size_t i = 0; i < count; block += pieces[i++].bytes / 512)
        assert_memory_equal(piece_va(&pieces[i]), sd.data + block * 512, pieces[i].bytes);
}

/* Fails: data of a guest above 4 GiB are wrong, or a page below is copied without need. */
static void what_is_beyond_reach_bounces(void **state)
{
    unit_seed();
    for (unsigned adma = 0; adma < 2; adma++) {
        uint64_t above = 0, below = 0;
        dgm_gfn_t high[32], low[32];

        sd_start_card(true, adma);
        for (unsigned i = 0; i < 32; i++) {
            high[i] = dma_rig_foreign(i, ABOVE + 2 * i);
            low[i] = dma_rig_foreign(64 + i, 0x80000 + i);
        }
        for (unsigned round = 0; round < 200; round++) {
            struct dgm_dma_piece pieces[16];
            const size_t count = 1 + unit_below(16);

            for (size_t i = 0; i < count; i++) {
                const bool is_high = unit_chance(50);
                const uint32_t first = (uint32_t)unit_below(8);

                pieces[i].gfn = is_high ? high[unit_below(16) * 2 + i % 2] : low[unit_below(32)];
                for (size_t j = 0; j < i; j++)
                    if (dgm_gfn_equal(pieces[j].gfn, pieces[i].gfn))
                        pieces[i].gfn = dgm_gfn(RAM + 10 + i);
                pieces[i].offset = (uint16_t)(first * 512);
                pieces[i].bytes = (uint16_t)(512 * (1 + unit_below(8 - first)));
                if (dgm_mfn_number(dgm_p2m_lookup(&dma_rig.p2m, pieces[i].gfn)) >= 0x100000)
                    above += pieces[i].bytes;
                else
                    below += pieces[i].bytes;
                for (size_t b = 0; b < pieces[i].bytes; b++)
                    piece_va(&pieces[i])[b] = (uint8_t)unit_random();
            }
            const bool read = unit_chance(50);

            sd_transfer_all(read ? DGM_BLK_READ : DGM_BLK_WRITE, unit_below(1900), pieces, count);
        }
        assert_int_equal(dma_rig.dma.bytes_bounced_reach, above);
        assert_int_equal(dma_rig.dma.bytes_foreign + dma_rig.dma.bytes_local, below);
        assert_int_equal(dma_rig.dma.bytes_bounced_gap + dma_rig.dma.bytes_bounced_line, 0);
        sd_stop();
    }
}

/* Fails: a request larger than the bounce pool is refused instead of being done in parts. */
static void two_buffers_are_enough(void **state)
{
    struct dgm_dma_piece pieces[64];

    sd_start(0, 2);
    sd_make_card(true, 7);
    assert_int_equal(sd_attach(), DGM_OK);
    for (unsigned i = 0; i < 64; i++)
        pieces[i] = (struct dgm_dma_piece){dma_rig_foreign(i, ABOVE + i), 0, 4096};
    sd_transfer_all(DGM_BLK_READ, 3, pieces, 64);
    assert_int_equal(dma_rig.dma.bytes_bounced_reach, 64 * 4096);
    sd_stop();
}

/* Fails: an SDMA transfer stops at a multiple of 512 KiB, and is not continued. */
static void sdma_crosses_no_boundary(void **state)
{
    struct dgm_dma_piece pieces[8];

    sd_start_card(true, false);
    for (unsigned i = 0; i < 8; i++)
        pieces[i] = (struct dgm_dma_piece){dma_rig_foreign(i, 0x8007c + i), 0, 4096};
    sd_transfer_all(DGM_BLK_READ, 9, pieces, 8);
    sd_transfer_all(DGM_BLK_WRITE, 99, pieces, 8);
    assert_int_equal(dma_rig.dma.maps, 4); /* each in two, at the boundary, and not in eight */
    sd_stop();
}

/* --- the queue --- */

static unsigned woken;

static void count_wake(struct dgm_task *task)
{
    woken++;
}

/* Fails: a full queue loses a command, or a waiter is not woken, or the order changes. */
static void queue_fills_and_empties(void **state)
{
    static struct sd_job jobs[DGM_SDHCI_QUEUE + 1];
    struct dgm_task waiter = {.run = count_wake};

    sd_start_card(true, true);
    sd_ended = 0;
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        assert_true(sd_submit_block(&jobs[i], i % 3 == 2 ? DGM_BLK_FLUSH : DGM_BLK_WRITE, i) >= 0);
    assert_int_equal(sd_submit_block(&jobs[DGM_SDHCI_QUEUE], DGM_BLK_READ, 0), DGM_EAGAIN);
    dgm_waiters_add(&sd_disk.device.waiters, &waiter);
    woken = 0;
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        assert_int_equal(jobs[i].status, 1); /* nothing ends inside submit or kick */
    sd_let_work();
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++) {
        assert_int_equal(jobs[i].status, DGM_OK);
        assert_int_equal(jobs[i].order, i + 1);
    }
    assert_int_equal(woken, 1);
    sd_block_works();
    sd_stop();
}

/* Fails: status that is set while other status is taken causes no message (MSI), and is lost. */
static void messages_are_not_missed(void **state)
{
    static struct sd_job jobs[DGM_SDHCI_QUEUE];

    sd_start_card(true, true);
    sd.quick = sd.edge = true;
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        sd_submit_block(&jobs[i], DGM_BLK_READ, i);
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        sd_run(0);
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        assert_int_equal(jobs[i].status, DGM_OK);
    assert_int_equal(sd_disk.interrupts_lost, 0);

    sd_submit_block(&jobs[0], DGM_BLK_READ, 0);
    sd_run(0);
    sd.at_clear = 1u << 7; /* the card is taken out */
    sd_run(0);
    assert_int_equal(jobs[0].status, DGM_OK);
    assert_int_equal(sd_disk.recoveries, 1);
    sd_run(SECOND);
    sd_stop();
}

/* --- a controller that does not see the caches --- */

static size_t cleaned;

static void cache_clean(const void *va, size_t bytes)
{
    if (va == sd_disk.descriptors)
        cleaned += bytes;
}

static void cache_clean_invalidate(const void *va, size_t bytes)
{
}

/* Fails: a controller that does not see the caches reads the last transfer's descriptors. */
static void descriptors_leave_the_caches(void **state)
{
    static const struct dgm_sim_machine machine = {
        .hypercall = dgm_hv_hypercall,
        .mmio_read = sd_read,
        .mmio_write = sd_write,
        .cache_clean = cache_clean,
        .cache_clean_invalidate = cache_clean_invalidate,
    };
    struct dgm_dma_piece pieces[2] = {{{RAM + 10}, 0, 4096}, {{RAM + 12}, 0, 4096}};

    sd_start_card(true, true);
    dgm_sim_attach(&machine);
    sd_disk.device.tag.coherent = false;
    cleaned = 0;
    sd_transfer_all(DGM_BLK_READ, 9, pieces, 2);
    assert_int_equal(cleaned, 16);
    sd_stop();
}

static struct sd_job chained[8];
static unsigned chain_at;

static void done_and_next(struct dgm_blk_command *command, int status)
{
    sd_done(command, status);
    if (++chain_at < 8) {
        sd_submit_block(&chained[chain_at], DGM_BLK_READ, chain_at);
        chained[chain_at].blk.done = done_and_next;
    }
}

/* Fails: a completion that submits the next command confuses the queue. */
static void completions_may_submit(void **state)
{
    sd_start_card(true, true);
    chain_at = 0;
    sd_submit_block(&chained[0], DGM_BLK_READ, 0);
    chained[0].blk.done = done_and_next;
    sd_let_work();
    assert_int_equal(chain_at, 8);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(chained[i].status, DGM_OK);
    sd_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_against_bytes),
        cmocka_unit_test(unreachable_segments_are_asserted),
        cmocka_unit_test(what_is_beyond_reach_bounces),
        cmocka_unit_test(two_buffers_are_enough),
        cmocka_unit_test(sdma_crosses_no_boundary),
        cmocka_unit_test(queue_fills_and_empties),
        cmocka_unit_test(messages_are_not_missed),
        cmocka_unit_test(descriptors_leave_the_caches),
        cmocka_unit_test(completions_may_submit),
    };

    return cmocka_run_group_tests_name("sdhci", tests, NULL, NULL);
}
