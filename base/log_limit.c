/* SPDX-License-Identifier: MIT */
/* log_limit: see dragoman/base/log_limit.h. */
#include <dragoman/base/log_limit.h>

#include <port/env.h>

/* Refills the lines that the time since `since_ns` allows. */
static void log_limit_refill(struct dgm_log_limit *limit)
{
    const uint64_t now_ns = dgm_env_now_ns();
    const uint64_t refills = (now_ns - limit->since_ns) / DGM_LOG_LIMIT_REFILL_NS;

    if (refills >= limit->spent) {
        limit->spent = 0;
        limit->since_ns = now_ns;
    } else {
        limit->spent -= (uint32_t)refills;
        limit->since_ns += refills * DGM_LOG_LIMIT_REFILL_NS;
    }
}

bool dgm_log_limit_take(struct dgm_log_limit *limit)
{
    log_limit_refill(limit);
    if (limit->spent == DGM_LOG_LIMIT_BURST) {
        limit->suppressed++;
        limit->suppressed_total++;
        return false;
    }
    limit->spent++;
    if (limit->suppressed)
        dgm_env_log("%u log lines like the next one were suppressed", limit->suppressed);
    limit->suppressed = 0;
    return true;
}
