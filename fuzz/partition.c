/* SPDX-License-Identifier: MIT */
/*
 * fuzz partition: a disk's partition table, hostile in every field, with right and wrong checksums
 *
 * Properties: the parser ends after a bounded number of reads, all within the disk; a table that is
 * accepted has only partitions within the disk, disjoint, beside the blocks that the table itself
 * lies in, with different numbers, a whole label and a whole UUID; a selector that is accepted
 * means what it says.
 */
#include "lib/feed.h"

#include <partition_rig.h>

#include <dragoman/partition/selector.h>

static uint64_t blocks;

static uint64_t any_block(struct feed *feed)
{
    switch (feed_below(feed, 4)) {
    case 0:
        return feed_take(feed, 8);
    case 1:
        return blocks - 40 + feed_below(feed, 48);
    case 2:
        return feed_below(feed, 40);
    default:
        return feed_below(feed, blocks);
    }
}

/* A field of a header, an entry or an MBR. */
static void change_field(struct feed *feed)
{
    static const uint8_t fields[] = {0, 8, 12, 16, 24, 32, 40, 48, 72, 80, 84, 88};
    const bool backup = feed_chance(feed, 64);
    const unsigned number = 1 + feed_below(feed, RIG_ENTRIES);
    uint8_t *field;
    unsigned bytes;

    switch (feed_below(feed, 4)) {
    case 0:
        field = partition_rig_header(backup) + fields[feed_below(feed, sizeof fields)];
        bytes = feed_chance(feed, 128) ? 4 : 8;
        partition_rig_put(field, bytes, any_block(feed));
        break;
    case 1:
        field = partition_rig_entry(number, backup) + 32 + 8 * feed_below(feed, 2);
        partition_rig_put(field, 8, any_block(feed));
        break;
    case 2:
        feed_copy(feed, partition_rig_entry(number, backup), 128);
        break;
    default:
        feed_copy(feed, partition_rig_block(feed_below(feed, blocks)) + 446, 66);
        break;
    }
}

static void add_to_mbr(struct feed *feed, uint64_t chain)
{
    const uint64_t block = feed_chance(feed, 128) ? chain : 0;
    const unsigned slot = feed_below(feed, 4);
    const uint8_t type = feed_chance(feed, 128) ? 5 : (uint8_t)feed_take(feed, 1);
    const uint32_t first = (uint32_t)any_block(feed);

    partition_rig_mbr_add(block, slot, type, first, (uint32_t)feed_below(feed, 1000));
}

static void make_table(struct feed *feed)
{
    struct dgm_partition_extent extent;
    uint64_t chain = 0;
    unsigned number;

    for (unsigned steps = feed_below(feed, 24); steps > 0; steps--)
        switch (feed_below(feed, 8)) {
        case 0:
            partition_rig_gpt();
            break;
        case 1:
        case 2:
            number = 1 + feed_below(feed, RIG_ENTRIES);
            extent.first = 2 + feed_below(feed, blocks);
            extent.blocks = 1 + feed_below(feed, 20);
            for (unsigned copy = 0; copy < 2; copy++)
                partition_rig_set(number, copy, extent, "label");
            break;
        case 3:
            partition_rig_mbr(chain = feed_below(feed, blocks));
            break;
        case 4:
            partition_rig_mbr(0);
            break;
        case 5:
            add_to_mbr(feed, chain);
            break;
        case 6:
            change_field(feed);
            break;
        default:
            partition_rig_seal(feed_chance(feed, 128));
            break;
        }
    for (unsigned i = 0; i < RIG_UNREADABLE && feed_chance(feed, 16); i++)
        partition_rig.unreadable[i] = any_block(feed);
    partition_rig.first_unreadable = feed_chance(feed, 4);
}

/* Whole characters, of at most four bytes. */
static bool is_utf8(const char *text)
{
    while (*text) {
        const uint8_t lead = (uint8_t)*text++;
        unsigned more = lead < 0x80    ? 0
                        : lead >= 0xf0 ? 3
                        : lead >= 0xe0 ? 2
                        : lead >= 0xc2 ? 1
                                       : 9;

        for (; more > 0; more--)
            if (((uint8_t)*text++ & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static void check_partition(const struct dgm_partition_table *table,
                            const struct dgm_partition *partition)
{
    const struct dgm_partition_extent extent = partition->extent;

    fuzz_check(extent.blocks > 0 && extent.first >= (table->gpt ? 3 : 1));
    fuzz_check(extent.first < blocks && extent.blocks <= blocks - extent.first);
    if (table->gpt)
        fuzz_check(extent.first + extent.blocks < blocks);
    fuzz_check(partition->number <= (table->gpt ? 1024 : 4 + DGM_PARTITIONS_MAX));
    fuzz_check(strlen(partition->label) < sizeof partition->label && is_utf8(partition->label));
    fuzz_check(strlen(partition->uuid) == (table->gpt         ? 36
                                           : table->signature ? 11
                                                              : 0) ||
               partition->number == 0);
    for (uint32_t i = 0; &table->partitions[i] < partition; i++) {
        fuzz_check(!dgm_partition_overlaps(table->partitions[i].extent, extent));
        fuzz_check(table->partitions[i].number != partition->number || partition->number == 0);
    }
}

static void check_selector(struct feed *feed)
{
    static const char *const starts[] = {":part=", ":label=", ":uuid=", ":range=", "partuuid:", ""};
    char text[160] = "nvme0";
    const char *rest;
    struct dgm_partition_selector selector;

    strcat(text, starts[feed_below(feed, 6)]);
    feed_copy(feed, text + strlen(text), feed_below(feed, 120));
    text[sizeof text - 1] = '\0';
    fuzz_check(dgm_partition_split(text) <= strlen(text));
    rest = text + dgm_partition_split(text);
    if (!dgm_partition_select(rest, &selector))
        return;
    fuzz_check((selector.by == DGM_PARTITION_WHOLE) == (*rest == '\0'));
    if (selector.by == DGM_PARTITION_BY_RANGE)
        fuzz_check(selector.bytes > 0 && selector.first_byte + selector.bytes >= selector.bytes);
    for (uint32_t i = 0; i < partition_rig.table.count; i++)
        if (dgm_partition_is_selected(&selector, &partition_rig.table.partitions[i]))
            fuzz_check(partition_rig.table.partitions[i].number > 0);
}

void run_input(struct feed *feed)
{
    blocks = 80 + feed_below(feed, 200);
    partition_rig_start((struct dgm_partition_disk){blocks, feed_chance(feed, 32) ? 4096 : 512});
    make_table(feed);
    for (unsigned copy = 0; copy < 2; copy++)
        if (!feed_chance(feed, 32))
            partition_rig_seal(copy);
    partition_rig_run();
    for (uint32_t i = 0; i < partition_rig.table.count; i++)
        check_partition(&partition_rig.table, &partition_rig.table.partitions[i]);
    check_selector(feed);
    partition_rig_stop();
}
