/* SPDX-License-Identifier: MIT */
/* model: see model.h. Some ten thousand sectors, 200 bytes each. */
#include <sim/machine/base.h>
#include <sim/machine/model.h>

#include <stdlib.h>
#include <string.h>

#define WORDS (SECTOR / 8)
#define MARK  0xd15cd15c00000000u
#define STEP  0x9e3779b97f4a7c15u /* from a word of a sector to the next */

void model_start(struct model *model, uint32_t disk, uint64_t sectors)
{
    *model = (struct model){.disk = disk, .sectors = sectors};
    model->sector = calloc(sectors, sizeof model->sector[0]);
    for (uint64_t i = 0; i < sectors; i++) {
        model->sector[i].count = 1; /* stamp 0: as the disk was made */
        model->sector[i].may[0].until = UINT64_MAX;
    }
}

void model_fill(uint32_t disk, uint64_t sector, uint32_t stamp, void *bytes)
{
    uint64_t words[WORDS];
    uint64_t x = mix64((uint64_t)disk << 56 ^ sector << 32 ^ stamp);

    words[0] = MARK | disk;
    words[1] = sector << 32 | stamp;
    for (size_t i = 2; i < WORDS; i++)
        words[i] = x += STEP;
    memcpy(bytes, words, sizeof words);
}

uint32_t model_disk_of(const void *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    return (word & 0xffffffff00000000u) == MARK ? (uint32_t)word : UINT32_MAX;
}

bool model_has_word(const struct model *model, size_t index, uint64_t word)
{
    if (index == 0)
        return word == (MARK | model->disk);
    if (index > 1)
        word = unmix64(word - (index - 1) * STEP) ^ (uint64_t)model->disk << 56;
    return word >> 32 < model->sectors && (uint32_t)word <= model->stamp;
}

uint64_t model_moment(struct model *model)
{
    return ++model->moment;
}

bool model_may_write(const struct model *model, uint64_t sector, uint64_t count,
                     uint64_t oldest_read)
{
    for (uint64_t i = sector; i < sector + count; i++) {
        const struct model_sector *s = &model->sector[i];

        unsigned held = 0;

        /* Stamps that a read in flight may still find are kept. */
        for (unsigned j = 0; j < s->count; j++)
            held += s->may[j].until >= oldest_read;
        if (held >= MODEL_STAMPS - 1)
            return false;
    }
    return true;
}

/* Removes the stamp that was overwritten longest ago, if there is no room for another. */
static void forget_oldest(struct model_sector *s)
{
    unsigned oldest = 0;

    if (s->count < MODEL_STAMPS)
        return;
    for (unsigned i = 1; i < s->count; i++)
        if (s->may[i].until < s->may[oldest].until)
            oldest = i;
    SIM_CHECK(s->may[oldest].until != UINT64_MAX, "the model has no place for a write");
    s->may[oldest] = s->may[--s->count];
}

uint32_t model_write(struct model *model, uint64_t sector, uint64_t count)
{
    const uint32_t stamp = ++model->stamp;

    for (uint64_t i = sector; i < sector + count; i++) {
        struct model_sector *s = &model->sector[i];

        forget_oldest(s);
        if (s->writing++ == 0) {
            for (unsigned j = 0; j < s->count; j++)
                s->may[j].group = false;
            s->alone = true;
            s->any_done = false;
        } else {
            s->alone = false;
        }
        s->may[s->count].stamp = stamp;
        s->may[s->count].until = UINT64_MAX;
        s->may[s->count++].group = true;
    }
    return stamp;
}

void model_written(struct model *model, uint64_t sector, uint64_t count, uint32_t stamp, bool done)
{
    const uint64_t now = model_moment(model);

    for (uint64_t i = sector; i < sector + count; i++) {
        struct model_sector *s = &model->sector[i];

        s->any_done |= done;
        if (done) {
            s->done_at = now;
            s->done_stamp = stamp;
        }
        if (--s->writing > 0 || !s->any_done)
            continue;
        for (unsigned j = 0; j < s->count; j++)
            if (!s->may[j].group && s->may[j].until == UINT64_MAX)
                s->may[j].until = now;
    }
}

bool model_revert(struct model *model, uint64_t sector, uint32_t stamp)
{
    struct model_sector *s = &model->sector[sector];

    for (unsigned i = 0; i < s->count; i++)
        if (s->may[i].stamp == stamp) {
            s->may[i].until = UINT64_MAX;
            return true;
        }
    return false;
}

const char *model_judge(const struct model *model, uint64_t sector, const void *bytes,
                        uint64_t since)
{
    const struct model_sector *s = &model->sector[sector];
    uint8_t expected[SECTOR];
    uint64_t word;

    if (model_disk_of(bytes) == UINT32_MAX)
        return "no disk's data";
    if (model_disk_of(bytes) != model->disk)
        return "another disk's data";
    memcpy(&word, (const char *)bytes + 8, sizeof word);
    if (word >> 32 != (sector & UINT32_MAX))
        return "another sector's data";
    model_fill(model->disk, sector, (uint32_t)word, expected);
    if (memcmp(expected, bytes, SECTOR) != 0)
        return "torn data";
    for (unsigned i = 0; i < s->count; i++)
        if (s->may[i].stamp == (uint32_t)word)
            return s->may[i].until >= since ? NULL : "data that was overwritten before";
    return "data that was overwritten long before";
}
