/* SPDX-License-Identifier: MIT */
/* table: the steps of the parser, and the list of partitions. See table.h. */
#include <partition/internal.h>

#include <dragoman/base/check.h>

static bool is_within(struct dgm_partition_extent extent, struct dgm_partition_extent outer)
{
    return extent.blocks > 0 && extent.first >= outer.first &&
           extent.first - outer.first <= outer.blocks &&
           extent.blocks <= outer.blocks - (extent.first - outer.first);
}

void dgm_partition_refuse(struct dgm_partition_table *table, struct dgm_partition_fault fault)
{
    table->state = DGM_PARTITIONS_REFUSED;
    table->step = DGM_PARTITION_STEP_END;
    table->fault = fault;
    table->count = 0;
}

void dgm_partition_accept(struct dgm_partition_table *table, bool gpt)
{
    table->state = DGM_PARTITIONS_READY;
    table->step = DGM_PARTITION_STEP_END;
    table->gpt = gpt;
}

struct dgm_partition *dgm_partition_add(struct dgm_partition_table *table, uint16_t number,
                                        struct dgm_partition_extent extent,
                                        struct dgm_partition_extent within,
                                        struct dgm_partition_fault *fault)
{
    if (!is_within(extent, within)) {
        *fault = (struct dgm_partition_fault){"a partition lies outside of its place", number, 0};
        return NULL;
    }
    for (uint32_t i = 0; i < table->count; i++)
        if (dgm_partition_overlaps(table->partitions[i].extent, extent)) {
            *fault = (struct dgm_partition_fault){
                "partitions overlap, or one lies over a block of the table",
                table->partitions[i].number, number};
            return NULL;
        }
    if (table->count == DGM_PARTITIONS_MAX) {
        *fault = (struct dgm_partition_fault){"more than 128 partitions", number, 0};
        return NULL;
    }
    struct dgm_partition *const partition = &table->partitions[table->count++];

    *partition = (struct dgm_partition){.extent = extent, .number = number};
    return partition;
}

char *dgm_partition_hex(char *at, uint32_t number, unsigned digits)
{
    while (digits-- > 0)
        *at++ = "0123456789abcdef"[number >> 4 * digits & 15];
    return at;
}

void dgm_partition_begin(struct dgm_partition_table *table, struct dgm_partition_disk disk)
{
    dgm_assert(disk.block_bytes == 512 || disk.block_bytes == 4096);
    /* Not the list of partitions, which is long. */
    table->state = DGM_PARTITIONS_READING;
    table->step = DGM_PARTITION_STEP_MBR;
    table->disk_blocks = disk.blocks;
    table->block_bytes = disk.block_bytes;
    table->fault = table->primary = (struct dgm_partition_fault){0};
    table->count = 0;
    table->gpt = table->backup = false;
    if (disk.blocks < 2) {
        table->state = DGM_PARTITIONS_NONE;
        table->step = DGM_PARTITION_STEP_END;
    }
}

bool dgm_partition_wants(const struct dgm_partition_table *table,
                         struct dgm_partition_extent *wanted)
{
    switch (table->step) {
    case DGM_PARTITION_STEP_MBR:
        *wanted = (struct dgm_partition_extent){0, 1};
        return true;
    case DGM_PARTITION_STEP_CHAIN:
        *wanted = (struct dgm_partition_extent){table->chain_block, 1};
        return true;
    case DGM_PARTITION_STEP_PROBE:
        *wanted = (struct dgm_partition_extent){1, 1};
        return true;
    case DGM_PARTITION_STEP_HEADER:
        *wanted = (struct dgm_partition_extent){table->backup ? table->disk_blocks - 1 : 1, 1};
        return true;
    case DGM_PARTITION_STEP_ENTRIES:
        *wanted = dgm_gpt_next_entries(table);
        return true;
    case DGM_PARTITION_STEP_END:
        break;
    }
    return false;
}

void dgm_partition_supply(struct dgm_partition_table *table, const void *bytes)
{
    switch (table->step) {
    case DGM_PARTITION_STEP_MBR:
        dgm_mbr_read(table, bytes);
        break;
    case DGM_PARTITION_STEP_CHAIN:
        dgm_mbr_read_chain(table, bytes);
        break;
    case DGM_PARTITION_STEP_PROBE:
        dgm_gpt_probe(table, bytes);
        break;
    case DGM_PARTITION_STEP_HEADER:
        dgm_gpt_read_header(table, bytes);
        break;
    case DGM_PARTITION_STEP_ENTRIES:
        dgm_gpt_read_entries(table, bytes);
        break;
    case DGM_PARTITION_STEP_END:
        break;
    }
}
