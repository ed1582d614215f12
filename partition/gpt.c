/* SPDX-License-Identifier: MIT */
/*
 * gpt: a GUID partition table: a header, and an array of entries with its own checksum
 *
 * The entries are read in chunks; no chunk is kept. Whether they are damaged is known after the
 * last one, so a fault in an entry counts only then: entries with a wrong checksum are damaged, and
 * the backup is read; those with the right one were made so, and the table is refused.
 */
#include <partition/internal.h>

#include <dragoman/base/check.h>

#include <string.h>

#define HEADER_BYTES_MIN 92u
#define ENTRY_BYTES_MIN  128u
#define ENTRIES_MAX      1024u
#define LABEL_UNITS      36u

/* CRC-32 as of IEEE 802.3, four bits at a time. */
static uint32_t checksum_add(uint32_t sum, const uint8_t *bytes, size_t count)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

    for (size_t i = 0; i < count; i++) {
        sum ^= bytes[i];
        sum = sum >> 4 ^ table[sum & 15];
        sum = sum >> 4 ^ table[sum & 15];
    }
    return sum;
}

static uint64_t entries_bytes(const struct dgm_partition_table *table)
{
    return (uint64_t)table->header.entry_count * table->header.entry_bytes;
}

static uint64_t blocks_of(const struct dgm_partition_table *table, uint64_t bytes)
{
    return (bytes + table->block_bytes - 1) / table->block_bytes;
}

/* This copy of the table is damaged: the backup is read, or the table refused. */
static void give_copy_up(struct dgm_partition_table *table, const char *what)
{
    const struct dgm_partition_fault fault = {what, 0, 0};

    if (table->backup) {
        dgm_partition_refuse(table, fault);
        return;
    }
    table->primary = fault;
    dgm_gpt_begin(table, true);
}

void dgm_gpt_begin(struct dgm_partition_table *table, bool backup)
{
    table->backup = backup;
    table->count = 0;
    table->step = DGM_PARTITION_STEP_HEADER;
}

static bool has_signature(const uint8_t *block)
{
    return memcmp(block, "EFI PART", 8) == 0;
}

void dgm_gpt_probe(struct dgm_partition_table *table, const uint8_t *block)
{
    if (!block || has_signature(block)) {
        dgm_partition_refuse(table,
                             (struct dgm_partition_fault){block ? "a GPT without its protective MBR"
                                                                : "block 1 cannot be read",
                                                          0, 0});
        return;
    }
    table->state = DGM_PARTITIONS_NONE;
    table->step = DGM_PARTITION_STEP_END;
}

/* --- the header --- */

/* Why a header whose checksum is right cannot be used; NULL: it can. Sets table->header. */
static const char *read_fields(struct dgm_partition_table *table, const uint8_t *block)
{
    const uint64_t own_block = table->backup ? table->disk_blocks - 1 : 1;
    uint64_t blocks;

    table->header.first_usable = dgm_le64(block + 40);
    table->header.last_usable = dgm_le64(block + 48);
    table->header.entries_block = dgm_le64(block + 72);
    table->header.entry_count = dgm_le32(block + 80);
    table->header.entry_bytes = dgm_le32(block + 84);
    table->header.checksum = dgm_le32(block + 88);
    if (dgm_le64(block + 24) != own_block)
        return "the header is that of another block";
    if (table->header.first_usable < 2 || table->header.first_usable > table->header.last_usable ||
        table->header.last_usable >= table->disk_blocks - 1)
        return "the usable blocks are not within the disk";
    if (table->header.entry_count == 0 || table->header.entry_count > ENTRIES_MAX)
        return "no entries, or more than 1024";
    if (table->header.entry_bytes < ENTRY_BYTES_MIN ||
        table->header.entry_bytes > DGM_PARTITION_CHUNK_BYTES ||
        (table->header.entry_bytes & (table->header.entry_bytes - 1)))
        return "the size of an entry";
    blocks = blocks_of(table, entries_bytes(table));
    if (table->header.entries_block < 2 || table->header.entries_block >= table->disk_blocks ||
        blocks > table->disk_blocks - table->header.entries_block ||
        dgm_partition_overlaps((struct dgm_partition_extent){table->header.entries_block, blocks},
                               (struct dgm_partition_extent){table->header.first_usable,
                                                             table->header.last_usable -
                                                                 table->header.first_usable + 1}))
        return "the entries are not within the disk, or lie over usable blocks";
    return NULL;
}

static bool is_header_intact(const struct dgm_partition_table *table, const uint8_t *block)
{
    static const uint8_t zero[4];
    const uint32_t bytes = dgm_le32(block + 12);
    uint32_t sum;

    if (bytes < HEADER_BYTES_MIN || bytes > table->block_bytes)
        return false;
    sum = checksum_add(UINT32_MAX, block, 16);
    sum = checksum_add(sum, zero, 4); /* in place of the checksum itself */
    return ~checksum_add(sum, block + 20, bytes - 20) == dgm_le32(block + 16);
}

void dgm_gpt_read_header(struct dgm_partition_table *table, const uint8_t *block)
{
    const char *what;

    if (!block)
        what = "the header cannot be read";
    else if (!has_signature(block))
        what = "there is no header";
    else if (!is_header_intact(table, block))
        what = "the header's checksum is wrong";
    else
        what = read_fields(table, block);
    if (what) {
        give_copy_up(table, what);
        return;
    }
    table->entries_read = 0;
    table->checksum = UINT32_MAX;
    table->entry_fault = (struct dgm_partition_fault){0};
    table->step = DGM_PARTITION_STEP_ENTRIES;
}

/* --- the entries --- */

struct dgm_partition_extent dgm_gpt_next_entries(const struct dgm_partition_table *table)
{
    const uint64_t left = entries_bytes(table) - table->entries_read;

    return (struct dgm_partition_extent){
        table->header.entries_block + table->entries_read / table->block_bytes,
        blocks_of(table, left < DGM_PARTITION_CHUNK_BYTES ? left : DGM_PARTITION_CHUNK_BYTES)};
}

/* The first three groups of a GUID are little-endian numbers. */
static void copy_uuid(char *text, const uint8_t *guid)
{
    text = dgm_partition_hex(text, dgm_le32(guid), 8);
    *text++ = '-';
    text = dgm_partition_hex(text, dgm_le16(guid + 4), 4);
    *text++ = '-';
    text = dgm_partition_hex(text, dgm_le16(guid + 6), 4);
    for (unsigned i = 8; i < 16; i++) {
        if (i == 8 || i == 10)
            *text++ = '-';
        text = dgm_partition_hex(text, guid[i], 2);
    }
    *text = '\0';
}

/* From UTF-16; half of a surrogate pair becomes U+FFFD. */
static void copy_label(char *text, const uint8_t *units)
{
    for (unsigned i = 0; i < LABEL_UNITS; i++) {
        uint32_t code = dgm_le16(units + 2 * i);
        const uint32_t next = i + 1 < LABEL_UNITS ? dgm_le16(units + 2 * i + 2) : 0;

        if (code == 0)
            break;
        if (code >> 10 == 0x36 && next >> 10 == 0x37) {
            code = 0x10000 + ((code & 0x3ff) << 10 | (next & 0x3ff));
            i++;
        } else if (code >> 11 == 0x1b) {
            code = 0xfffd;
        }
        if (code < 0x80) {
            *text++ = (char)code;
            continue;
        }
        if (code < 0x800) {
            *text++ = (char)(0xc0 | code >> 6);
        } else {
            if (code < 0x10000) {
                *text++ = (char)(0xe0 | code >> 12);
            } else {
                *text++ = (char)(0xf0 | code >> 18);
                *text++ = (char)(0x80 | (code >> 12 & 0x3f));
            }
            *text++ = (char)(0x80 | (code >> 6 & 0x3f));
        }
        *text++ = (char)(0x80 | (code & 0x3f));
    }
    *text = '\0';
}

static void read_entry(struct dgm_partition_table *table, uint16_t number, const uint8_t *entry)
{
    static const uint8_t unused[16];
    const struct dgm_partition_extent usable = {
        table->header.first_usable, table->header.last_usable - table->header.first_usable + 1};
    const uint64_t first = dgm_le64(entry + 32), last = dgm_le64(entry + 40);
    /* Wraps to 0, which lies nowhere, for one that ends before it begins by one block. */
    const struct dgm_partition_extent extent = {first, first <= last ? last - first + 1 : 0};
    struct dgm_partition *partition;

    if (memcmp(entry, unused, 16) == 0 || table->entry_fault.what)
        return;
    partition = dgm_partition_add(table, number, extent, usable, &table->entry_fault);
    if (!partition)
        return;
    copy_uuid(partition->uuid, entry + 16);
    copy_label(partition->label, entry + 56);
}

void dgm_gpt_read_entries(struct dgm_partition_table *table, const uint8_t *bytes)
{
    const uint64_t left = entries_bytes(table) - table->entries_read;
    const uint32_t count =
        left < DGM_PARTITION_CHUNK_BYTES ? (uint32_t)left : DGM_PARTITION_CHUNK_BYTES;

    if (!bytes) {
        give_copy_up(table, "the entries cannot be read");
        return;
    }
    for (uint32_t at = 0; at < count; at += table->header.entry_bytes)
        read_entry(table, (uint16_t)(1 + (table->entries_read + at) / table->header.entry_bytes),
                   bytes + at);
    table->checksum = checksum_add(table->checksum, bytes, count);
    table->entries_read += count;
    if (table->entries_read < entries_bytes(table))
        return;
    if (~table->checksum != table->header.checksum)
        give_copy_up(table, "the checksum of the entries is wrong");
    else if (table->entry_fault.what)
        dgm_partition_refuse(table, table->entry_fault);
    else
        dgm_partition_accept(table, true);
}
