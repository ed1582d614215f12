/* SPDX-License-Identifier: MIT */
/*
 * rate: a limit of what may pass in a period of time
 *
 * A credit is replenished once each period, up to the amount of one period. Something may pass
 * while the credit is positive, and its whole amount is taken from the credit, which may become
 * negative: so nothing must be measured before it is let through, the largest packet passes a limit
 * that is smaller than itself, and over many periods exactly the amount of each passes. In any one
 * period at most two amounts and one excess pass.
 */
#ifndef NET_RATE_H
#define NET_RATE_H

#include <dragoman/net/switch.h>

/* Begins with the credit of one period. Of `limit` only `amount` and `period_ns` are set: the
 * latter is at least 1, unless there is no limit. */
void dgm_rate_init(struct dgm_rate *rate, struct dgm_rate limit);

/* Adds the credit of the periods that have passed. */
void dgm_rate_replenish(struct dgm_rate *rate);

/* True if something may pass, as of the last dgm_rate_replenish(). */
static inline bool dgm_rate_allows(const struct dgm_rate *rate)
{
    return rate->amount == 0 || rate->credit > 0;
}

/* Takes what has passed, up to 2^31. */
void dgm_rate_take(struct dgm_rate *rate, uint32_t amount);

/* Returns what was taken since the last dgm_rate_replenish() and did not pass. */
void dgm_rate_untake(struct dgm_rate *rate, uint32_t amount);

/* When something may pass again, after dgm_rate_allows() was false. */
uint64_t dgm_rate_next_ns(const struct dgm_rate *rate);

#endif
