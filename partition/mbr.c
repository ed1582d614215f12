/* SPDX-License-Identifier: MIT */
/*
 * mbr: the partition table in block 0, and the chain of logical partitions
 *
 * Each block of the chain has a logical partition, whose place counts from that block, and the
 * place of the next block, which counts from the start of the extended partition. A block of the
 * chain is entered into the list of partitions like a partition: so a loop, and a partition over a
 * block of the chain, are overlaps, and the chain ends when the list is full.
 */
#include <partition/internal.h>

#define SIGNATURE_AT    440 /* of the disk; part of the partitions' UUIDs */
#define ENTRIES_AT      446
#define ENTRY_BYTES     16
#define ENTRIES         4
#define MARK_AT         510 /* 55 aa */
#define FIRST_LOGICAL   5
#define TYPE_PROTECTIVE 0xee /* the disk has a GPT */

struct entry {
    uint8_t status, type;
    uint32_t first, blocks;
};

static struct entry entry_of(const uint8_t *block, unsigned index)
{
    const uint8_t *at = block + ENTRIES_AT + index * ENTRY_BYTES;

    return (struct entry){
        .status = at[0], .type = at[4], .first = dgm_le32(at + 8), .blocks = dgm_le32(at + 12)};
}

static bool is_used(struct entry entry)
{
    return entry.type != 0 && entry.blocks != 0;
}

static bool is_extended(struct entry entry)
{
    return is_used(entry) && (entry.type == 0x05 || entry.type == 0x0f || entry.type == 0x85);
}

/* A file system's first block may have the mark too, but hardly four such status bytes. */
static bool is_mbr(const uint8_t *block)
{
    if (block[MARK_AT] != 0x55 || block[MARK_AT + 1] != 0xaa)
        return false;
    for (unsigned i = 0; i < ENTRIES; i++)
        if (entry_of(block, i).status & 0x7f)
            return false;
    return true;
}

static bool is_protective(const uint8_t *block)
{
    for (unsigned i = 0; i < ENTRIES; i++)
        if (entry_of(block, i).type == TYPE_PROTECTIVE)
            return true;
    return false;
}

/* False: the table was refused. */
static bool add_partition(struct dgm_partition_table *table, uint16_t number,
                          struct dgm_partition_extent extent, struct dgm_partition_extent within)
{
    struct dgm_partition_fault fault;
    struct dgm_partition *partition = dgm_partition_add(table, number, extent, within, &fault);

    if (!partition) {
        dgm_partition_refuse(table, fault);
        return false;
    }
    if (table->signature && number) {
        char *at = dgm_partition_hex(partition->uuid, table->signature, 8);

        *at++ = '-';
        at = dgm_partition_hex(at, number, 2);
        *at = '\0';
    }
    return true;
}

/* --- block 0 --- */

/* False: the table was refused. */
static bool add_primary(struct dgm_partition_table *table, uint16_t number, struct entry entry)
{
    const struct dgm_partition_extent behind_table = {1, table->disk_blocks - 1},
                                      extent = {entry.first, entry.blocks};

    if (!is_used(entry))
        return true;
    if (!add_partition(table, number, extent, behind_table))
        return false;
    if (!is_extended(entry))
        return true;
    if (table->extended.blocks) {
        dgm_partition_refuse(table,
                             (struct dgm_partition_fault){"two extended partitions", number, 0});
        return false;
    }
    table->extended = extent;
    return true;
}

/* An extended partition is no partition: its place was only needed to find overlaps with it. */
static void remove_extended(struct dgm_partition_table *table)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < table->count; i++)
        if (table->partitions[i].extent.first != table->extended.first)
            table->partitions[kept++] = table->partitions[i];
    table->count = kept;
}

void dgm_mbr_read(struct dgm_partition_table *table, const uint8_t *block)
{
    if (!block) {
        dgm_partition_refuse(table, (struct dgm_partition_fault){"block 0 cannot be read", 0, 0});
        return;
    }
    if (!is_mbr(block)) {
        table->step = DGM_PARTITION_STEP_PROBE;
        return;
    }
    if (is_protective(block)) {
        dgm_gpt_begin(table, false);
        return;
    }
    table->signature = dgm_le32(block + SIGNATURE_AT);
    table->extended = (struct dgm_partition_extent){0, 0};
    for (unsigned i = 0; i < ENTRIES; i++)
        if (!add_primary(table, (uint16_t)(1 + i), entry_of(block, i)))
            return;
    if (table->extended.blocks == 0) {
        dgm_partition_accept(table, false);
        return;
    }
    remove_extended(table);
    table->chain_block = table->extended.first;
    table->logical = FIRST_LOGICAL;
    table->step = DGM_PARTITION_STEP_CHAIN;
}

/* --- the chain --- */

/* The block that the chain leads to; 0: it ends here. */
static uint64_t next_in_chain(const struct dgm_partition_table *table, const uint8_t *block)
{
    for (unsigned i = 0; i < ENTRIES; i++)
        if (is_extended(entry_of(block, i)))
            return table->extended.first + entry_of(block, i).first;
    return 0;
}

/* False: the table was refused. */
static bool add_logical(struct dgm_partition_table *table, const uint8_t *block)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        const struct entry entry = entry_of(block, i);

        if (is_used(entry) && !is_extended(entry) &&
            !add_partition(
                table, table->logical++,
                (struct dgm_partition_extent){table->chain_block + entry.first, entry.blocks},
                table->extended))
            return false;
    }
    return true;
}

void dgm_mbr_read_chain(struct dgm_partition_table *table, const uint8_t *block)
{
    if (!block || block[MARK_AT] != 0x55 || block[MARK_AT + 1] != 0xaa) {
        dgm_partition_refuse(table, (struct dgm_partition_fault){
                                        "a block of the extended partition cannot be read, or is "
                                        "no partition table",
                                        table->logical, 0});
        return;
    }
    if (!add_partition(table, 0, (struct dgm_partition_extent){table->chain_block, 1},
                       table->extended) ||
        !add_logical(table, block))
        return;
    table->chain_block = next_in_chain(table, block);
    if (table->chain_block == 0)
        dgm_partition_accept(table, false);
    else if (table->chain_block - table->extended.first >= table->extended.blocks)
        dgm_partition_refuse(table,
                             (struct dgm_partition_fault){
                                 "the chain of logical partitions leaves the extended one", 0, 0});
}
