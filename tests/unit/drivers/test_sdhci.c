/* SPDX-License-Identifier: MIT */
/* sdhci: if these fail, an SD card's guest reads or writes the wrong bytes, a 32-bit controller is
 * told an address above 4 GiB, or an error ends a command whose memory is still written. */
#include "sdhci_rig.h"

#include <dragoman/base/check.h>

#define ABOVE    0x200000ull /* machine frames from 8 GiB on */
#define SEGMENTS 512u
#define MS       1000000ull
#define SECOND   1000000000ull

static struct dgm_sdhci sdhci;
static struct dgm_device_env env;

static int attach(void)
{
    env = (struct dgm_device_env){
        .name = "pci 00:01.0",
        .mmio = sd.registers,
        .mmio_bytes = sizeof sd.registers,
        .tag = {.mask = UINT64_MAX, .coherent = true},
        .reactor = &dma_rig.reactor,
        .frames = &dma_rig.frames,
        .p2m = &dma_rig.p2m,
        .irq_bind = sd_irq_bind,
        .dma_stop = sd_dma_stop,
    };
    return dgm_sdhci_start(&sdhci, &env);
}

/* A controller with a card of 1 MiB's worth of data, attached. */
static void start(bool in_blocks, bool adma)
{
    sd_start(0, 64);
    sd_make_card(in_blocks, 7);
    if (!adma)
        sd.capabilities &= ~(1u << 19);
    assert_int_equal(attach(), DGM_OK);
    for (size_t i = 0; i < sizeof sd.data; i++)
        sd.data[i] = (uint8_t)unit_random();
}

static void stop(void)
{
    dgm_sdhci_check(&sdhci);
    dma_rig_stop();
}

/* --- commands --- */

struct ask {
    struct dgm_blk_command blk;
    struct dgm_dma_map map;
    struct dgm_dma_segment segments[SEGMENTS];
    int status; /* 1: not ended */
    unsigned order;
};

static unsigned ended;

static void done(struct dgm_blk_command *command, int status)
{
    struct ask *ask = dgm_container(command, struct ask, blk);

    assert_int_equal(ask->status, 1); /* once */
    assert_false(sd.dma_active);      /* its memory is nobody's any more */
    ask->status = status;
    ask->order = ++ended;
    if (command->op != DGM_BLK_FLUSH)
        dgm_dma_unmap(&dma_rig.dma, &ask->map, status == DGM_OK);
}

/* Maps a prefix of the pieces and submits it; bytes, or a negative status. */
static int submit(struct ask *ask, enum dgm_blk_op op, uint64_t block,
                  const struct dgm_dma_piece *pieces, size_t count, uint64_t skip)
{
    int bytes = 0, status;

    *ask = (struct ask){.status = 1};
    ask->blk.op = op;
    ask->blk.done = done;
    if (op != DGM_BLK_FLUSH) {
        const struct dgm_dma_transfer transfer = {
            .tag = &sdhci.device.tag,
            .pieces = pieces,
            .piece_count = count,
            .skip_bytes = skip,
            .direction = op == DGM_BLK_READ ? DGM_DMA_FROM_DEVICE : DGM_DMA_TO_DEVICE};

        bytes = dgm_dma_map(&dma_rig.dma, &transfer, ask->segments, &ask->map);
        if (bytes < 0)
            return bytes;
        ask->blk.block = block;
        ask->blk.blocks = (uint32_t)bytes / 512;
        ask->blk.segments = ask->map.segments;
        ask->blk.segment_count = ask->map.segment_count;
    }
    status = sdhci.device.ops->submit(&sdhci.device, &ask->blk);
    if (status < 0 && bytes)
        dgm_dma_unmap(&dma_rig.dma, &ask->map, false);
    if (status == DGM_OK)
        sdhci.device.ops->kick(&sdhci.device);
    dgm_sdhci_check(&sdhci);
    return status < 0 ? status : bytes;
}

/* One block to or from our own RAM. */
static int submit_block(struct ask *ask, enum dgm_blk_op op, uint64_t block)
{
    static struct dgm_dma_piece piece = {{RAM + 1}, 512, 512};

    return submit(ask, op, block, &piece, 1, 0);
}

static void let_work(void)
{
    for (unsigned i = 0; i < 4 * DGM_SDHCI_QUEUE; i++) {
        sd_run(0);
        sd_transfer();
    }
    sd_run(0);
}

static void expect_block_works(void)
{
    static struct ask ask;

    assert_int_equal(submit_block(&ask, DGM_BLK_READ, 5), 512);
    let_work();
    assert_int_equal(ask.status, DGM_OK);
    assert_memory_equal((char *)dgm_env_va(dgm_gfn(RAM + 1)) + 512, sd.data + 5 * 512, 512);
}

/* --- what a card is --- */

/* Fails: a disk has the wrong size, or a card is not found by its serial number. */
static void card_is_described(void **state)
{
    start(true, true);
    assert_int_equal(sdhci.device.blocks, 8 * 1024);
    assert_int_equal(sdhci.device.block_bytes, 512);
    assert_string_equal(sdhci.device.serial, "00c0ffee");
    assert_string_equal(sdhci.device.model, "CARD7 4.2");
    assert_false(sdhci.device.read_only);
    assert_false(sdhci.device.write_cache);
    assert_int_equal(sdhci.device.tag.mask, UINT32_MAX);
    stop();
    start(false, true);
    assert_int_equal(sdhci.device.blocks, 8 << 9);
    stop();
}

/* Fails: a block is looked for at 512 times its place, or at a 512th. */
static void standard_cards_count_in_bytes(void **state)
{
    for (int in_blocks = 0; in_blocks < 2; in_blocks++) {
        start(in_blocks, true);
        expect_block_works();
        assert_int_equal(sd.last_argument, in_blocks ? 5 : 5 * 512);
        stop();
    }
}

/* Fails: a card from before version 2.00, or one that is slow, is not used. */
static void old_and_slow_cards(void **state)
{
    sd_start(0, 8);
    sd_make_card(false, 7);
    sd.old = true;
    sd.not_ready = 50;
    assert_int_equal(attach(), DGM_OK);
    expect_block_works();
    stop();
}

/* Fails: a guest writes to a card that its owner protected. */
static void protected_cards_are_read_only(void **state)
{
    for (unsigned how = 0; how < 3; how++) {
        sd_start(0, 8);
        sd_make_card(true, 7);
        if (how < 2)
            sd_put(sd.csd, 12 + how, 1, 1);
        sd.locked_switch = how == 2;
        assert_int_equal(attach(), DGM_OK);
        assert_true(sdhci.device.read_only);
        stop();
    }
}

/* Fails: the domain does not start, or hangs at its start, for a slot that is of no use. */
static void what_cannot_be_used_is_refused(void **state)
{
    for (unsigned how = 0; how < 14; how++) {
        int expected = DGM_ENODEV;

        sd_start(how == 13 ? 1ull << 30 : 0, 8);
        sd_make_card(true, 7);
        switch (how) {
        case 0:
            sd.inserted = false;
            break;
        case 1:
            sd.mmc = true;
            break;
        case 2:
            sd.gone = true;
            break;
        case 3:
            sd.capabilities &= ~(1u << 22 | 1u << 19);
            expected = DGM_EOPNOTSUPP;
            break;
        case 4:
            sd.capabilities &= ~0xff00u;
            expected = DGM_EOPNOTSUPP;
            break;
        case 5:
            sd.capabilities &= ~(1u << 24);
            expected = DGM_EOPNOTSUPP;
            break;
        case 6:
            sd_put(sd.csd, 126, 2, 2);
            expected = DGM_EOPNOTSUPP;
            break;
        case 7:
            sd_put(sd.csd, 126, 2, 0);
            sd_put(sd.csd, 80, 4, 12);
            expected = DGM_EOPNOTSUPP;
            break;
        case 8:
            sd.all_sticks = true;
            expected = DGM_ETIMEDOUT;
            break;
        case 9:
            sd.clock_sticks = true;
            expected = DGM_ETIMEDOUT;
            break;
        case 10:
            sd.never_ready = true;
            expected = DGM_ETIMEDOUT;
            break;
        case 11:
            sd.irq_status = DGM_ENOSPC;
            expected = DGM_ENOSPC;
            break;
        case 12:
            while (dgm_frames_take_bytes(&dma_rig.frames, 4096))
                ;
            expected = DGM_ENOMEM;
            break;
        case 13:
            expected = DGM_ERANGE;
            break;
        }
        assert_int_equal(attach(), expected);
        assert_true(sdhci.device.failed);
        assert_true(sd.now_ns < 6 * SECOND);
        stop();
    }
}

/* Fails: one command that goes wrong at the start hangs it, or is taken for a good one. */
static void any_command_of_the_start_may_fail(void **state)
{
    static const enum sd_fault faults[] = {SD_SILENT, SD_CRC, SD_NOTHING};

    for (size_t f = 0; f < 3; f++) {
        unsigned nth = 1;
        int status;

        do {
            sd_start(0, 8);
            sd_make_card(true, 7);
            sd.fault = faults[f];
            sd.fault_at = nth;
            status = attach();
            assert_true(sd.now_ns < 6 * SECOND);
            assert_int_equal(status == DGM_OK, sd.fault_at > 0);
            if (status == DGM_OK) {
                sd.fault = SD_NO_FAULT;
                expect_block_works();
            }
            stop();
        } while (status != DGM_OK && ++nth < 100);
        assert_int_equal(nth, 12); /* so many commands does a good card get, less one */
    }
}

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
        assert_int_equal(address, segments[i].bus.n);
    }
}

uint64_t dgm_sdhci_adma(const struct dgm_dma_segment *segments, uint32_t count,
                        uint64_t *descriptors);

/* Fails: the controller is told another address or length than was mapped. */
static void descriptors_against_bytes(void **state)
{
    static struct dgm_dma_segment segments[SEGMENTS];
    static uint64_t table[SEGMENTS];

    for (unsigned round = 0; round < 500; round++) {
        const uint32_t count = 1 + (uint32_t)unit_below(SEGMENTS);
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < count; i++) {
            segments[i].bytes = unit_chance(10) ? 65536 : 4 * (1 + (uint32_t)unit_below(16384));
            segments[i].bus.n = unit_chance(10) ? UINT32_MAX - segments[i].bytes + 1ull
                                                : unit_below((UINT32_MAX - 65536) / 4) * 4;
            bytes += segments[i].bytes;
        }
        assert_int_equal(dgm_sdhci_adma(segments, count, table), bytes);
        check_table((const uint8_t *)table, segments, count);
    }
}

/* Fails: an address that the controller would cut off is told. */
static void what_cannot_be_told_is_asserted(void **state)
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
static void transfer(enum dgm_blk_op op, uint64_t block, const struct dgm_dma_piece *pieces,
                     size_t count)
{
    static struct ask ask;
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += pieces[i].bytes;
    for (uint64_t at = 0; at < total;) {
        const int bytes = submit(&ask, op, block + at / 512, pieces, count, at);

        assert_true(bytes > 0);
        let_work();
        assert_int_equal(ask.status, DGM_OK);
        at += (uint64_t)bytes;
    }
    for (size_t i = 0; i < count; block += pieces[i++].bytes / 512)
        assert_memory_equal(piece_va(&pieces[i]), sd.data + block * 512, pieces[i].bytes);
}

/* Fails: data of a guest above 4 GiB are wrong, or a page below is copied for nothing. */
static void what_is_beyond_reach_bounces(void **state)
{
    unit_seed();
    for (unsigned adma = 0; adma < 2; adma++) {
        uint64_t above = 0, below = 0;
        dgm_gfn_t high[32], low[32];

        start(true, adma);
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
                    if (pieces[j].gfn.n == pieces[i].gfn.n)
                        pieces[i].gfn = dgm_gfn(RAM + 10 + i);
                pieces[i].offset = (uint16_t)(first * 512);
                pieces[i].bytes = (uint16_t)(512 * (1 + unit_below(8 - first)));
                if (dgm_p2m_lookup(&dma_rig.p2m, pieces[i].gfn).n >= 0x100000)
                    above += pieces[i].bytes;
                else
                    below += pieces[i].bytes;
                for (size_t b = 0; b < pieces[i].bytes; b++)
                    piece_va(&pieces[i])[b] = (uint8_t)unit_random();
            }
            transfer(unit_chance(50) ? DGM_BLK_READ : DGM_BLK_WRITE, unit_below(1900), pieces,
                     count);
        }
        assert_int_equal(dma_rig.dma.bytes_bounced_reach, above);
        assert_int_equal(dma_rig.dma.bytes_foreign + dma_rig.dma.bytes_local, below);
        assert_int_equal(dma_rig.dma.bytes_bounced_gap + dma_rig.dma.bytes_bounced_line, 0);
        stop();
    }
}

/* Fails: a request larger than the bounce pool is refused instead of being done in parts. */
static void two_buffers_are_enough(void **state)
{
    struct dgm_dma_piece pieces[64];

    sd_start(0, 2);
    sd_make_card(true, 7);
    assert_int_equal(attach(), DGM_OK);
    for (unsigned i = 0; i < 64; i++)
        pieces[i] = (struct dgm_dma_piece){dma_rig_foreign(i, ABOVE + i), 0, 4096};
    transfer(DGM_BLK_READ, 3, pieces, 64);
    assert_int_equal(dma_rig.dma.bytes_bounced_reach, 64 * 4096);
    stop();
}

/* Fails: an SDMA transfer stops at a multiple of 512 KiB, and nobody goes on. */
static void sdma_crosses_no_boundary(void **state)
{
    struct dgm_dma_piece pieces[8];

    start(true, false);
    for (unsigned i = 0; i < 8; i++)
        pieces[i] = (struct dgm_dma_piece){dma_rig_foreign(i, 0x8007c + i), 0, 4096};
    transfer(DGM_BLK_READ, 9, pieces, 8);
    transfer(DGM_BLK_WRITE, 99, pieces, 8);
    assert_int_equal(dma_rig.dma.maps, 4); /* each in two, at the boundary, and not in eight */
    stop();
}

/* --- the queue --- */

static unsigned woken;

static void wake(struct dgm_task *task)
{
    woken++;
}

/* Fails: a full queue loses a command, or whoever waits is forgotten, or the order changes. */
static void queue_fills_and_empties(void **state)
{
    static struct ask asks[DGM_SDHCI_QUEUE + 1];
    struct dgm_task waiter = {.run = wake};

    start(true, true);
    ended = 0;
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        assert_true(submit_block(&asks[i], i % 3 == 2 ? DGM_BLK_FLUSH : DGM_BLK_WRITE, i) >= 0);
    assert_int_equal(submit_block(&asks[DGM_SDHCI_QUEUE], DGM_BLK_READ, 0), DGM_EAGAIN);
    dgm_waiters_add(&sdhci.device.waiters, &waiter);
    woken = 0;
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        assert_int_equal(asks[i].status, 1); /* nothing ends inside submit or kick */
    let_work();
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++) {
        assert_int_equal(asks[i].status, DGM_OK);
        assert_int_equal(asks[i].order, i + 1);
    }
    assert_int_equal(woken, 1);
    expect_block_works();
    stop();
}

/* Fails: news that arrives while other news is taken brings no message (MSI), and is not seen. */
static void messages_are_not_missed(void **state)
{
    static struct ask asks[DGM_SDHCI_QUEUE];

    start(true, true);
    sd.quick = sd.edge = true;
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        submit_block(&asks[i], DGM_BLK_READ, i);
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        sd_run(0);
    for (unsigned i = 0; i < DGM_SDHCI_QUEUE; i++)
        assert_int_equal(asks[i].status, DGM_OK);
    assert_int_equal(sdhci.interrupts_lost, 0);

    submit_block(&asks[0], DGM_BLK_READ, 0);
    sd_run(0);
    sd.at_clear = 1u << 7; /* the card is taken out */
    sd_run(0);
    assert_int_equal(asks[0].status, DGM_OK);
    assert_int_equal(sdhci.recoveries, 1);
    sd_run(SECOND);
    stop();
}

/* --- a device beside the caches --- */

static size_t cleaned;

static void cache_clean(const void *va, size_t bytes)
{
    if (va == sdhci.descriptors)
        cleaned += bytes;
}

static void cache_clean_invalidate(const void *va, size_t bytes)
{
}

/* Fails: a controller that does not look into the caches reads the last transfer's descriptors. */
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

    start(true, true);
    dgm_sim_attach(&machine);
    sdhci.device.tag.coherent = false;
    cleaned = 0;
    transfer(DGM_BLK_READ, 9, pieces, 2);
    assert_int_equal(cleaned, 16);
    stop();
}

static struct ask chained[8];
static unsigned chain_at;

static void done_and_next(struct dgm_blk_command *command, int status)
{
    done(command, status);
    if (++chain_at < 8) {
        submit_block(&chained[chain_at], DGM_BLK_READ, chain_at);
        chained[chain_at].blk.done = done_and_next;
    }
}

/* Fails: a completion that submits the next command confuses the queue. */
static void completions_may_submit(void **state)
{
    start(true, true);
    chain_at = 0;
    submit_block(&chained[0], DGM_BLK_READ, 0);
    chained[0].blk.done = done_and_next;
    let_work();
    assert_int_equal(chain_at, 8);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(chained[i].status, DGM_OK);
    stop();
}

/* --- errors --- */

static void expect_fault(enum sd_fault fault, int expected)
{
    static struct ask asks[3];

    for (enum dgm_blk_op op = DGM_BLK_READ; op <= DGM_BLK_WRITE; op++) {
        const uint64_t recoveries = sdhci.recoveries;

        for (unsigned i = 0; i < 3; i++)
            submit_block(&asks[i], op, i);
        sd.fault = fault;
        sd.fault_index = op == DGM_BLK_READ ? 18 : 25;
        for (unsigned i = 0; i < 30; i++) {
            let_work();
            sd_run(SECOND);
        }
        assert_int_equal(asks[0].status, expected);
        assert_int_equal(asks[1].status, DGM_OK);
        assert_int_equal(asks[2].status, DGM_OK);
        assert_int_equal(sdhci.recoveries - recoveries, expected != DGM_OK);
        assert_int_equal(sdhci.state, DGM_SDHCI_LIVE);
        assert_int_equal(sdhci.interrupts_idle, 0); /* none while recovering */
        expect_block_works();
    }
}

/* Fails: an error is taken for success, takes the next command along,
 * or leaves the card unusable. */
static void errors_end_one_command(void **state)
{
    start(true, true);
    expect_fault(SD_SILENT, DGM_ETIMEDOUT);
    expect_fault(SD_CRC, DGM_EIO);
    expect_fault(SD_DATA_SILENT, DGM_ETIMEDOUT);
    expect_fault(SD_DATA_CRC, DGM_EIO);
    expect_fault(SD_ADMA, DGM_EIO);
    expect_fault(SD_CARD_ERROR, DGM_EIO);
    expect_fault(SD_STOP_ERROR, DGM_EIO);
    expect_fault(SD_STOP_BEYOND, DGM_OK);
    assert_int_equal(sd.resets, 1); /* the lines were enough each time */
    assert_int_equal(sdhci.device.errors, 14);
    assert_int_equal(sdhci.device.timeouts, 4);
    expect_fault(SD_NOTHING, DGM_ETIMEDOUT);
    expect_fault(SD_UNTOLD, DGM_OK);
    assert_int_equal(sdhci.interrupts_lost, 2);
    stop();
}

/* Fails: lines that cannot be reset, or a card that does not stop, are the end. */
static void whole_reset_when_lines_are_not_enough(void **state)
{
    for (unsigned how = 0; how < 3; how++) {
        static struct ask asks[2];

        start(true, true);
        submit_block(&asks[0], DGM_BLK_WRITE, 0);
        submit_block(&asks[1], DGM_BLK_READ, 1);
        sd.reset_sticks = how == 0;
        sd.stays_busy = how == 1;
        sd.mute = how == 2;
        sd.fault = SD_DATA_CRC;
        sd.fault_index = 25;
        sd_run(0);
        sd_transfer();
        sd_run(0);
        if (how == 0)
            sd_raise(1u << 20); /* it goes on complaining, but nobody listens */
        sd_run(3 * SECOND);
        assert_int_equal(asks[0].status, DGM_EIO);
        assert_int_equal(sdhci.interrupts_idle, 0);
        sd.reset_sticks = sd.stays_busy = sd.mute = false;
        sd_run(3 * SECOND);
        let_work();
        assert_int_equal(asks[1].status, DGM_OK);
        assert_int_equal(sdhci.resets, 1);
        assert_int_equal(sd.resets, 2);
        expect_block_works();
        stop();
    }
}

/* Fails: commands to a dead, missing or exchanged card never end, end with success, or end while
 * their memory can still be written. */
static void the_end_is_an_error_for_all(void **state)
{
    for (unsigned how = 0; how < 6; how++) {
        static struct ask asks[5];

        start(true, true);
        for (unsigned i = 0; i < 5; i++)
            submit_block(&asks[i], i == 3 ? DGM_BLK_FLUSH : DGM_BLK_READ, i);
        sd_run(0);
        assert_true(sd.transfer);
        switch (how) {
        case 0: /* taken out */
            sd.inserted = false;
            sd_raise(1u << 7);
            break;
        case 1: /* taken out, and nobody says so */
            sd.inserted = false;
            sd.struck = SD_NOTHING;
            break;
        case 2: /* another in its place */
            sd.card_state = 0;
            sd.rca = 0;
            sd.mute = true;
            sd_put(sd.cid, 24, 32, 1);
            sd_raise(1u << 7);
            break;
        case 3: /* the controller left the bus */
            sd.gone = true;
            break;
        case 4: /* nothing can be reset */
            sd.reset_sticks = sd.all_sticks = true;
            sd_raise(1u << 21);
            break;
        case 5: /* the card comes back no more */
            sd.never_ready = sd.mute = true;
            sd_raise(1u << 21);
            break;
        }
        sd_run(30 * SECOND);
        assert_true(sdhci.device.failed);
        assert_true(sd.cut_off);
        for (unsigned i = 0; i < 5; i++)
            assert_true(asks[i].status == DGM_EIO || (i == 0 && asks[i].status == DGM_ETIMEDOUT));
        assert_int_equal(submit_block(&asks[0], DGM_BLK_READ, 0), DGM_EIO);
        assert_int_equal(sdhci.device.waiters.count, 0);
        stop();
    }
}

/* Fails: a command is given to a card that is still busy,
 * or such a card is waited for without end. */
static void a_busy_card_is_waited_for(void **state)
{
    static struct ask ask;

    start(true, true);
    sd.busy_looks = 20;
    submit_block(&ask, DGM_BLK_WRITE, 1);
    sd_run(0);
    assert_false(sd.transfer);
    sd_run(200 * MS);
    sd_transfer();
    sd_run(0);
    assert_int_equal(ask.status, DGM_OK);

    sd.busy_looks = UINT32_MAX;
    submit_block(&ask, DGM_BLK_WRITE, 1);
    sd_run(60 * SECOND);
    assert_int_equal(ask.status, DGM_ETIMEDOUT);
    sd.busy_looks = 0;
    expect_block_works();
    stop();
}

/* Fails: an interrupt of a neighbour on the line, or one without a command, does harm. */
static void stray_interrupts(void **state)
{
    start(true, true);
    sd.irq->handle(sd.irq);
    assert_int_equal(sdhci.interrupts_idle, 1);
    sd_raise(1u << 1);
    sd_run(0);
    assert_int_equal(sdhci.bogus, 1);
    expect_block_works();
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(card_is_described),
        cmocka_unit_test(standard_cards_count_in_bytes),
        cmocka_unit_test(old_and_slow_cards),
        cmocka_unit_test(protected_cards_are_read_only),
        cmocka_unit_test(what_cannot_be_used_is_refused),
        cmocka_unit_test(any_command_of_the_start_may_fail),
        cmocka_unit_test(descriptors_against_bytes),
        cmocka_unit_test(what_cannot_be_told_is_asserted),
        cmocka_unit_test(what_is_beyond_reach_bounces),
        cmocka_unit_test(two_buffers_are_enough),
        cmocka_unit_test(sdma_crosses_no_boundary),
        cmocka_unit_test(queue_fills_and_empties),
        cmocka_unit_test(messages_are_not_missed),
        cmocka_unit_test(descriptors_leave_the_caches),
        cmocka_unit_test(completions_may_submit),
        cmocka_unit_test(errors_end_one_command),
        cmocka_unit_test(whole_reset_when_lines_are_not_enough),
        cmocka_unit_test(the_end_is_an_error_for_all),
        cmocka_unit_test(a_busy_card_is_waited_for),
        cmocka_unit_test(stray_interrupts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
