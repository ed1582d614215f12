/* SPDX-License-Identifier: MIT */
/* base: see base.h. The agenda is a binary heap of a few dozen events. */
#include <sim/machine/base.h>

#include <port/sim/sim.h>

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- random numbers --- */

struct rng rng_of(uint64_t seed, const char *purpose)
{
    struct rng rng = {mix64(seed)};

    for (; *purpose; purpose++)
        rng.state = mix64(rng.state ^ (uint8_t)*purpose);
    return rng;
}

uint64_t rng_next(struct rng *rng)
{
    rng->state += 0x9e3779b97f4a7c15u;
    return mix64(rng->state);
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    return bound ? rng_next(rng) % bound : 0;
}

uint64_t rng_range(struct rng *rng, uint64_t low, uint64_t high)
{
    return low + rng_below(rng, high - low + 1);
}

bool rng_chance(struct rng *rng, uint32_t per_million)
{
    return per_million && rng_below(rng, 1000000) < per_million;
}

void rng_fill(struct rng *rng, void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)(rng_next(rng) >> 24);
}

/* --- time --- */

#define EVENTS_MAX 4096u

struct event {
    uint64_t when, order;
    void (*act)(void *context, uint64_t argument);
    void *context;
    uint64_t argument;
};

static struct {
    struct event heap[EVENTS_MAX];
    size_t count;
    uint64_t now, order;
} agenda;

uint64_t sim_now(void)
{
    return agenda.now;
}

void sim_pass(uint64_t ns)
{
    agenda.now += ns;
    dgm_sim_set_now_ns(agenda.now);
}

static bool is_sooner(const struct event *a, const struct event *b)
{
    return a->when != b->when ? a->when < b->when : a->order < b->order;
}

void sim_later(uint64_t delay_ns, void (*act)(void *context, uint64_t argument), void *context,
               uint64_t argument)
{
    size_t at = agenda.count++;

    SIM_CHECK(at < EVENTS_MAX, "the simulator's agenda is full");
    agenda.heap[at] = (struct event){agenda.now + delay_ns, agenda.order++, act, context, argument};
    while (at && is_sooner(&agenda.heap[at], &agenda.heap[(at - 1) / 2])) {
        const struct event up = agenda.heap[at];

        agenda.heap[at] = agenda.heap[(at - 1) / 2];
        agenda.heap[(at - 1) / 2] = up;
        at = (at - 1) / 2;
    }
}

/* Puts the event at a place of the heap, or below it: sooner events move up. */
static void sink_event(size_t at, struct event event)
{
    for (;;) {
        size_t least = at;

        agenda.heap[at] = event;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < agenda.count; child++)
            if (is_sooner(&agenda.heap[child], &agenda.heap[least]))
                least = child;
        if (least == at)
            return;
        agenda.heap[at] = agenda.heap[least];
        at = least;
    }
}

void sim_forget(void (*act)(void *context, uint64_t argument), void *context, uint64_t argument)
{
    struct event last;
    size_t at = 0;

    while (at < agenda.count && (agenda.heap[at].act != act || agenda.heap[at].context != context ||
                                 agenda.heap[at].argument != argument))
        at++;
    if (at == agenda.count)
        return;
    last = agenda.heap[--agenda.count];
    for (; at && is_sooner(&last, &agenda.heap[(at - 1) / 2]); at = (at - 1) / 2)
        agenda.heap[at] = agenda.heap[(at - 1) / 2];
    sink_event(at, last);
}

uint64_t sim_next_event(void)
{
    return agenda.count ? agenda.heap[0].when : UINT64_MAX;
}

static struct event agenda_pop(void)
{
    const struct event first = agenda.heap[0];

    agenda.count--;
    sink_event(0, agenda.heap[agenda.count]);
    return first;
}

void sim_run_due(void)
{
    while (agenda.count && agenda.heap[0].when <= agenda.now) {
        const struct event event = agenda_pop();

        event.act(event.context, event.argument);
    }
}

/* --- what happened --- */

#define NOTES_KEPT  128u
#define NOTES_SHOWN 60u

struct note {
    const char *format;
    uint64_t now, step, values[6];
};

static struct {
    struct note notes[NOTES_KEPT];
    uint64_t count, digest, seed;
    bool failing, aloud;
} story;

uint64_t sim_step;

static void print_note(const struct note *note)
{
    const uint64_t *v = note->values;

    printf("  %8llu %12.3f  ", (unsigned long long)note->step, (double)note->now / 1e3);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    printf(note->format, v[0], v[1], v[2], v[3], v[4], v[5]);
#pragma GCC diagnostic pop
    printf("\n");
}

void sim_note(const char *format, const uint64_t values[6])
{
    struct note *note = &story.notes[story.count++ % NOTES_KEPT];

    note->format = format;
    note->now = agenda.now;
    note->step = sim_step;
    memcpy(note->values, values, sizeof note->values);
    if (story.aloud) {
        print_note(note);
        fflush(stdout);
    }
    for (int i = 0; i < 6; i++)
        story.digest = mix64(story.digest ^ values[i] ^ agenda.now);
}

uint64_t sim_digest(void)
{
    return story.digest;
}

void sim_print_trace(void)
{
    const uint64_t first = story.count > NOTES_SHOWN ? story.count - NOTES_SHOWN : 0;

    printf("what led there (step, microseconds):\n");
    for (uint64_t i = first; i < story.count; i++)
        print_note(&story.notes[i % NOTES_KEPT]);
}

static void print_headline(void)
{
    printf("\nseed %llu failed at step %llu, %.6f s: ", (unsigned long long)story.seed,
           (unsigned long long)sim_step, (double)agenda.now / 1e9);
}

_Noreturn void sim_fail(const char *format, ...)
{
    va_list arguments;

    if (story.failing)
        _exit(1);
    story.failing = true;
    print_headline();
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    if (dgm_sim_last_log()[0])
        printf("the library's last log line: %s\n", dgm_sim_last_log());
    sim_print_trace();
    fflush(stdout);
    _exit(1);
}

static void on_panic(const char *what)
{
    sim_fail("the library stopped itself: %s", what);
}

static void on_signal(int number)
{
    sim_fail("signal %d (%s)", number, number == SIGABRT ? "abort" : "a bad access to memory");
}

/* The sanitizers have printed the error; this prints the trace. */
static void on_death(void)
{
    if (!story.failing)
        sim_fail("a sanitizer stopped the process");
}

extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

void sim_base_start(uint64_t seed, bool aloud)
{
    story.seed = seed;
    story.aloud = aloud;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    dgm_sim_on_panic(on_panic);
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(on_death);
    } else {
        signal(SIGSEGV, on_signal);
        signal(SIGBUS, on_signal);
    }
}
