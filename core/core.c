/* SPDX-License-Identifier: MIT */
/* core: see dragoman/core/core.h. */
#include <dragoman/core/core.h>

#include <string.h>

/* Takes whole frames for one structure, which is large or rare, and stores its address in
 * `pointer`. */
static bool take_memory(struct dgm_frames *frames, size_t bytes, void *pointer)
{
    void *memory = dgm_frames_take_bytes(frames, bytes);

    memcpy(pointer, &memory, sizeof memory);
    return memory;
}

static int init_slots(struct dgm_core *core, const struct dgm_core_config *config)
{
    void *p2m, *slots, *cache;

    if (!take_memory(config->frames, dgm_p2m_bytes(config->window->count), &p2m) ||
        !take_memory(config->frames, dgm_slots_bytes(config->window->count), &slots) ||
        !take_memory(config->frames, dgm_slot_cache_bytes(config->window->count), &cache))
        return DGM_ENOMEM;
    dgm_slots_init(&core->slots, config->window, !config->slots_later, slots);
    dgm_slot_cache_init(&core->cache, &core->slots, cache);
    return dgm_p2m_init(&core->p2m, config->banks, config->bank_count, config->window, p2m);
}

static int init_copy(struct dgm_core *core, const struct dgm_core_config *config)
{
    if (!take_memory(config->frames, sizeof *core->copy, &core->copy))
        return DGM_ENOMEM;
    dgm_grantcopy_init(core->copy);
    if (config->copy_frames == 0)
        return DGM_OK;
    if (!take_memory(config->frames, sizeof *core->copy_buffers, &core->copy_buffers))
        return DGM_ENOMEM;
    return dgm_copy_buffers_init(core->copy_buffers, config->frames, config->copy_frames);
}

static int init_identity(struct dgm_core *core, const struct dgm_core_config *config)
{
    void *entries;

    if (config->identity_frames == 0)
        return DGM_OK;
    if (!take_memory(config->frames, sizeof *core->identity, &core->identity) ||
        !take_memory(config->frames, dgm_identity_bytes(config->identity_frames), &entries))
        return DGM_ENOMEM;
    dgm_identity_init(core->identity, config->identity_frames, entries, config->places,
                      config->place_count);
    core->p2m.identity = core->identity;
    return DGM_OK;
}

static int init_persistent(struct dgm_core *core, const struct dgm_core_config *config)
{
    const uint64_t half = config->window->count / 2;
    const uint16_t count =
        config->persistent_frames < half ? config->persistent_frames : (uint16_t)half;
    void *entries;

    if (count == 0)
        return DGM_OK;
    if (!take_memory(config->frames, sizeof *core->persistent, &core->persistent) ||
        !take_memory(config->frames, dgm_persistent_bytes(count), &entries))
        return DGM_ENOMEM;
    dgm_persistent_init(core->persistent, count, entries);
    return DGM_OK;
}

static int init_bounce(struct dgm_core *core, const struct dgm_core_config *config)
{
    void *records;

    if (!take_memory(config->frames, dgm_bounce_bytes(config->bounce_frames), &records))
        return DGM_ENOMEM;
    dgm_bounce_init(&core->bounce, config->reactor, config->bounce_frames, records);
    return dgm_bounce_add(&core->bounce, config->frames, config->bounce_frames);
}

int dgm_core_init(struct dgm_core *core, const struct dgm_core_config *config)
{
    int status;

    memset(core, 0, sizeof *core);
    status = init_slots(core, config);
    if (status == DGM_OK && !take_memory(config->frames, sizeof *core->grant, &core->grant))
        status = DGM_ENOMEM;
    if (status == DGM_OK)
        status = init_copy(core, config);
    if (status == DGM_OK)
        status = init_identity(core, config);
    if (status == DGM_OK)
        status = init_persistent(core, config);
    if (status == DGM_OK)
        status = init_bounce(core, config);
    if (status != DGM_OK)
        return status;
    dgm_grant_init(core->grant, &core->p2m, &core->cache);
    dgm_dma_init(&core->dma, &core->p2m, &core->bounce);
    dgm_reach_init(&core->reach, &(struct dgm_reach_parts){.reactor = config->reactor,
                                                           .grant = core->grant,
                                                           .copy = core->copy,
                                                           .copy_buffers = core->copy_buffers,
                                                           .identity = core->identity,
                                                           .persistent = core->persistent});
    return DGM_OK;
}

void dgm_core_check(const struct dgm_core *core)
{
    dgm_reach_check(&core->reach);
    dgm_p2m_check(&core->p2m);
    dgm_bounce_check(&core->bounce);
}
