/* SPDX-License-Identifier: MIT */
/* partition_rig: see partition_rig.h. */
#include "partition_rig.h"

struct partition_rig partition_rig;

void partition_rig_start(struct dgm_partition_disk disk)
{
    memset(&partition_rig, 0, sizeof partition_rig);
    partition_rig.block_bytes = disk.block_bytes;
    partition_rig.blocks = disk.blocks;
    partition_rig.bytes = calloc(disk.blocks, disk.block_bytes);
    assert_non_null(partition_rig.bytes);
}

void partition_rig_stop(void)
{
    free(partition_rig.bytes);
    partition_rig.bytes = NULL;
}

uint8_t *partition_rig_block(uint64_t block)
{
    assert_true(block < partition_rig.blocks);
    return partition_rig.bytes + block * partition_rig.block_bytes;
}

void partition_rig_put(uint8_t *at, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t crc32_of(const uint8_t *bytes, size_t count)
{
    uint32_t sum = UINT32_MAX;

    for (size_t i = 0; i < count; i++) {
        sum ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            sum = sum & 1 ? sum >> 1 ^ 0xedb88320 : sum >> 1;
    }
    return ~sum;
}

/* --- GPT --- */

static uint64_t entry_blocks(void)
{
    return RIG_ENTRIES_BYTES / partition_rig.block_bytes;
}

static uint64_t entries_at(bool backup)
{
    return backup ? partition_rig.blocks - 1 - entry_blocks() : 2;
}

uint8_t *partition_rig_header(bool backup)
{
    return partition_rig_block(backup ? partition_rig.blocks - 1 : 1);
}

uint8_t *partition_rig_entry(unsigned number, bool backup)
{
    return partition_rig_block(entries_at(backup)) + (number - 1) * 128;
}

void partition_rig_seal(bool backup)
{
    uint8_t *header = partition_rig_header(backup);

    partition_rig_put(header + 88, 4, crc32_of(partition_rig_entry(1, backup), RIG_ENTRIES_BYTES));
    partition_rig_put(header + 16, 4, 0);
    partition_rig_put(header + 16, 4, crc32_of(header, 92));
}

static void put_header(bool backup)
{
    uint8_t *header = partition_rig_header(backup);

    memcpy(header, "EFI PART", 8);
    partition_rig_put(header + 8, 4, 0x10000);
    partition_rig_put(header + 12, 4, 92);
    partition_rig_put(header + 24, 8, backup ? partition_rig.blocks - 1 : 1);
    partition_rig_put(header + 32, 8, backup ? 1 : partition_rig.blocks - 1);
    partition_rig_put(header + 40, 8, 2 + entry_blocks());
    partition_rig_put(header + 48, 8, partition_rig.blocks - 2 - entry_blocks());
    partition_rig_put(header + 72, 8, entries_at(backup));
    partition_rig_put(header + 80, 4, RIG_ENTRIES);
    partition_rig_put(header + 84, 4, 128);
    partition_rig_seal(backup);
}

void partition_rig_gpt(void)
{
    partition_rig_mbr(0);
    partition_rig_mbr_add(0, 0, 0xee, 1, (uint32_t)partition_rig.blocks - 1);
    put_header(false);
    put_header(true);
}

void partition_rig_set(unsigned number, bool backup, struct dgm_partition_extent extent,
                       const char *label)
{
    uint8_t *entry = partition_rig_entry(number, backup);

    memcpy(entry, "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4", 16);
    for (unsigned i = 0; i < 16; i++)
        entry[16 + i] = (uint8_t)(0xa0 + i);
    entry[31] = (uint8_t)number;
    partition_rig_put(entry + 32, 8, extent.first);
    partition_rig_put(entry + 40, 8, extent.first + extent.blocks - 1);
    for (unsigned i = 0; i < 36; i++)
        partition_rig_put(entry + 56 + 2 * i, 2, i < strlen(label) ? label[i] : 0);
}

void partition_rig_gpt_add(unsigned number, uint64_t first, uint64_t blocks, const char *label)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        partition_rig_set(number, copy, (struct dgm_partition_extent){first, blocks}, label);
        partition_rig_seal(copy);
    }
}

/* --- MBR --- */

void partition_rig_mbr(uint64_t block)
{
    uint8_t *bytes = partition_rig_block(block);

    memset(bytes, 0, partition_rig.block_bytes);
    partition_rig_put(bytes + 440, 4, 0x1234abcd);
    bytes[510] = 0x55;
    bytes[511] = 0xaa;
}

void partition_rig_mbr_add(uint64_t block, unsigned index, uint8_t type, uint32_t first,
                           uint32_t blocks)
{
    uint8_t *entry = partition_rig_block(block) + 446 + 16 * index;

    entry[4] = type;
    partition_rig_put(entry + 8, 4, first);
    partition_rig_put(entry + 12, 4, blocks);
}

/* --- the parser --- */

static bool is_readable(struct dgm_partition_extent wanted)
{
    if (partition_rig.first_unreadable && wanted.first == 0)
        return false;
    for (unsigned i = 0; i < RIG_UNREADABLE; i++)
        if (partition_rig.unreadable[i] &&
            partition_rig.unreadable[i] - wanted.first < wanted.blocks)
            return false;
    return true;
}

void partition_rig_run(void)
{
    struct dgm_partition_table *table = &partition_rig.table;
    struct dgm_partition_extent wanted;

    memset(table, 0xa5, sizeof *table); /* begin() sets all that is read */
    partition_rig.reads = 0;
    dgm_partition_begin(
        table, (struct dgm_partition_disk){partition_rig.blocks, partition_rig.block_bytes});
    while (dgm_partition_wants(table, &wanted)) {
        const size_t bytes = wanted.blocks * partition_rig.block_bytes;
        uint8_t *copy;

        assert_true(wanted.blocks > 0 && bytes <= 4096);
        assert_true(wanted.first < partition_rig.blocks &&
                    wanted.blocks <= partition_rig.blocks - wanted.first);
        assert_true(++partition_rig.reads < 2000);
        copy = malloc(bytes);
        memcpy(copy, partition_rig_block(wanted.first), bytes);
        dgm_partition_supply(table, is_readable(wanted) ? copy : NULL);
        free(copy);
    }
    assert_true(table->state != DGM_PARTITIONS_READING);
    assert_true(table->state == DGM_PARTITIONS_READY || table->count == 0);
    assert_true((table->state == DGM_PARTITIONS_REFUSED) == (table->fault.what != NULL));
}

const struct dgm_partition *partition_rig_find(unsigned number)
{
    for (uint32_t i = 0; i < partition_rig.table.count; i++)
        if (partition_rig.table.partitions[i].number == number)
            return &partition_rig.table.partitions[i];
    return NULL;
}
