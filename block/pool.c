/* SPDX-License-Identifier: MIT */
/* pool: see pool.h */
#include <block/pool.h>

#include <dragoman/base/check.h>

const struct dgm_blkback_pool_sizes dgm_blkback_pool_sizes_default = {
    .requests = {[DGM_BLKBACK_SMALL] = 64, [DGM_BLKBACK_MEDIUM] = 64, [DGM_BLKBACK_LARGE] = 8},
    .commands = 96,
};

static const uint16_t segments_of_class[DGM_BLKBACK_CLASSES] = {
    [DGM_BLKBACK_SMALL] = BLKIF_MAX_SEGMENTS_PER_REQUEST,
    [DGM_BLKBACK_MEDIUM] = 32,
    [DGM_BLKBACK_LARGE] = DGM_BLKIF_SEGMENTS_MAX,
};

static int class_init(struct dgm_blkback_class *class, uint8_t which, uint16_t count,
                      struct dgm_frames *frames)
{
    const size_t segments = segments_of_class[which];
    struct dgm_blkback_request *requests =
        dgm_frames_take_bytes(frames, count * sizeof requests[0]);
    struct dgm_reach_frame *reached =
        dgm_frames_take_bytes(frames, count * segments * sizeof reached[0]);
    struct dgm_dma_piece *pieces =
        dgm_frames_take_bytes(frames, count * segments * sizeof pieces[0]);

    if (!requests || !reached || !pieces)
        return DGM_ENOMEM;
    for (uint16_t i = count; i-- > 0;) {
        requests[i].class = which;
        requests[i].frames = reached + i * segments;
        requests[i].pieces = pieces + i * segments;
        requests[i].next = class->free_first;
        class->free_first = &requests[i];
    }
    class->segments = (uint16_t)segments;
    class->total = class->free = class->free_min = count;
    return DGM_OK;
}

int dgm_blkback_pool_init(struct dgm_blkback_pool *pool, struct dgm_reactor *reactor,
                          struct dgm_frames *frames, const struct dgm_blkback_pool_sizes *sizes)
{
    if (!sizes)
        sizes = &dgm_blkback_pool_sizes_default;
    *pool = (struct dgm_blkback_pool){.reactor = reactor};
    for (uint8_t i = 0; i < DGM_BLKBACK_CLASSES; i++) {
        if (sizes->requests[i] == 0)
            return DGM_EINVAL;
        const int status = class_init(&pool->classes[i], i, sizes->requests[i], frames);
        if (status != DGM_OK)
            return status;
    }
    if (sizes->commands == 0)
        return DGM_EINVAL;

    struct dgm_blkback_command *commands =
        dgm_frames_take_bytes(frames, sizes->commands * sizeof commands[0]);

    if (!commands)
        return DGM_ENOMEM;
    for (uint16_t i = sizes->commands; i-- > 0;) {
        commands[i].next = pool->commands_free;
        pool->commands_free = &commands[i];
    }
    pool->commands_total = pool->commands_left = pool->commands_left_min = sizes->commands;
    return DGM_OK;
}

bool dgm_blkback_pool_idle(const struct dgm_blkback_pool *pool)
{
    for (unsigned i = 0; i < DGM_BLKBACK_CLASSES; i++) {
        if (pool->classes[i].free != pool->classes[i].total || pool->classes[i].queue.first)
            return false;
    }
    return pool->commands_left == pool->commands_total && !pool->commands_queue.first &&
           !pool->slots_queue.first && !pool->copy_buffers_queue.first;
}

/* --- queues --- */

bool dgm_blkback_queue_admits(const struct dgm_blkback_queue *queue,
                              const struct dgm_blkback_waiter *waiter)
{
    return !queue->first || queue->first == waiter;
}

void dgm_blkback_queue_join(struct dgm_blkback_queue *queue, struct dgm_blkback_waiter *waiter)
{
    if (waiter->queue == queue)
        return;
    dgm_assert(!waiter->queue);
    waiter->queue = queue;
    waiter->next = NULL;
    if (queue->last)
        queue->last->next = waiter;
    else
        queue->first = waiter;
    queue->last = waiter;
}

void dgm_blkback_queue_leave(struct dgm_blkback_pool *pool, struct dgm_blkback_waiter *waiter)
{
    struct dgm_blkback_queue *queue = waiter->queue;
    struct dgm_blkback_waiter *before = NULL;

    if (!queue)
        return;
    for (struct dgm_blkback_waiter *p = queue->first; p != waiter; p = p->next)
        before = p;
    if (before)
        before->next = waiter->next;
    else
        queue->first = waiter->next;
    if (queue->last == waiter)
        queue->last = before;
    waiter->next = NULL;
    waiter->queue = NULL;
    if (!before)
        dgm_blkback_queue_wake(pool, queue);
}

void dgm_blkback_queue_wake(struct dgm_blkback_pool *pool, struct dgm_blkback_queue *queue)
{
    if (queue->first)
        dgm_reactor_post(pool->reactor, queue->first->task);
}

/* --- records --- */

static struct dgm_blkback_class *class_of_request(struct dgm_blkback_pool *pool, uint16_t segments)
{
    for (unsigned i = 0; i < DGM_BLKBACK_CLASSES; i++) {
        if (segments <= pool->classes[i].segments)
            return &pool->classes[i];
    }
    dgm_assert(!"more segments than any record has room for");
    return NULL;
}

struct dgm_blkback_request *dgm_blkback_request_take(struct dgm_blkback_pool *pool,
                                                     struct dgm_blkback_waiter *waiter,
                                                     uint16_t segments)
{
    struct dgm_blkback_class *class = class_of_request(pool, segments);
    struct dgm_blkback_request *request = class->free_first;

    if (!request || !dgm_blkback_queue_admits(&class->queue, waiter)) {
        dgm_blkback_queue_join(&class->queue, waiter);
        return NULL;
    }
    class->free_first = request->next;
    class->free--;
    if (class->free < class->free_min)
        class->free_min = class->free;
    dgm_blkback_queue_leave(pool, waiter);
    request->next = NULL;
    return request;
}

void dgm_blkback_request_give(struct dgm_blkback_pool *pool, struct dgm_blkback_request *request)
{
    struct dgm_blkback_class *class = &pool->classes[request->class];

    request->owner = NULL;
    request->next = class->free_first;
    class->free_first = request;
    class->free++;
    dgm_blkback_queue_wake(pool, &class->queue);
}

struct dgm_blkback_command *dgm_blkback_command_take(struct dgm_blkback_pool *pool,
                                                     struct dgm_blkback_waiter *waiter)
{
    struct dgm_blkback_command *command = pool->commands_free;

    if (!command || !dgm_blkback_queue_admits(&pool->commands_queue, waiter)) {
        dgm_blkback_queue_join(&pool->commands_queue, waiter);
        return NULL;
    }
    pool->commands_free = command->next;
    pool->commands_left--;
    if (pool->commands_left < pool->commands_left_min)
        pool->commands_left_min = pool->commands_left;
    dgm_blkback_queue_leave(pool, waiter);
    command->next = NULL;
    return command;
}

void dgm_blkback_command_give(struct dgm_blkback_pool *pool, struct dgm_blkback_command *command)
{
    command->request = NULL;
    command->next = pool->commands_free;
    pool->commands_free = command;
    pool->commands_left++;
    dgm_blkback_queue_wake(pool, &pool->commands_queue);
}
