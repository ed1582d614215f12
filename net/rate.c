/* SPDX-License-Identifier: MIT */
/* rate: see rate.h. */
#include <dragoman/base/check.h>
#include <net/rate.h>
#include <port/env.h>

void dgm_rate_init(struct dgm_rate *rate, struct dgm_rate limit)
{
    dgm_assert(limit.amount == 0 || limit.period_ns > 0);
    *rate = (struct dgm_rate){
        .amount = limit.amount, .period_ns = limit.period_ns, .credit = limit.amount};
}

/* The periods after which a credit below `goal` reaches it. */
static uint64_t periods_to(const struct dgm_rate *rate, int64_t goal)
{
    return ((uint64_t)(goal - rate->credit) + rate->amount - 1) / rate->amount;
}

void dgm_rate_replenish(struct dgm_rate *rate)
{
    uint64_t periods;

    if (rate->amount == 0)
        return;
    periods = (dgm_env_now_ns() - rate->since_ns) / rate->period_ns;
    rate->since_ns += periods * rate->period_ns;
    /* A multiplication only where the product is at most the missing amount and one more. */
    if (periods >= periods_to(rate, rate->amount))
        rate->credit = rate->amount;
    else
        rate->credit += (int64_t)(periods * rate->amount);
}

void dgm_rate_take(struct dgm_rate *rate, uint32_t amount)
{
    if (rate->amount)
        rate->credit -= amount;
}

void dgm_rate_untake(struct dgm_rate *rate, uint32_t amount)
{
    if (rate->amount)
        rate->credit += amount;
}

uint64_t dgm_rate_next_ns(const struct dgm_rate *rate)
{
    dgm_assert(rate->amount && rate->credit <= 0);
    return rate->since_ns + periods_to(rate, 1) * rate->period_ns;
}
