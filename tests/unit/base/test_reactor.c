/* SPDX-License-Identifier: MIT */
/* reactor: if these fail, a guest starves the others, an event is lost,
 * or a task runs after its owner's end. */
#include "unit.h"

#include <dragoman/base/check.h>
#include <dragoman/base/reactor.h>

static struct dgm_reactor reactor;
static char order[64]; /* the names of the tasks and timers, in the order in which they ran */

struct actor {
    struct dgm_task task;
    struct dgm_timer timer;
    char name;
    bool reposts; /* posts itself again */
    struct dgm_task *posts;
    struct dgm_task *withdraws;
    struct dgm_timer *disarms;
    uint64_t rearm_ns;
};

static void note_turn(char name)
{
    const size_t length = strlen(order);

    assert_true(length + 1 < sizeof order);
    order[length] = name;
    order[length + 1] = '\0';
}

static void run_actor(struct actor *actor)
{
    note_turn(actor->name);
    if (actor->reposts)
        dgm_reactor_post(&reactor, &actor->task);
    if (actor->posts)
        dgm_reactor_post(&reactor, actor->posts);
    if (actor->withdraws)
        dgm_reactor_withdraw(&reactor, actor->withdraws);
    if (actor->disarms)
        dgm_timer_disarm(&reactor, actor->disarms);
    if (actor->rearm_ns)
        dgm_timer_arm(&reactor, &actor->timer, actor->rearm_ns);
}

static void run_task(struct dgm_task *task)
{
    run_actor(dgm_container(task, struct actor, task));
}

static void run_timer(struct dgm_timer *timer)
{
    run_actor(dgm_container(timer, struct actor, timer));
}

static struct actor a, b, c;

static int start(void **state)
{
    dgm_reactor_init(&reactor);
    order[0] = '\0';
    a = (struct actor){.task = {.run = run_task}, .timer = {.fire = run_timer}, .name = 'a'};
    b = (struct actor){.task = {.run = run_task}, .timer = {.fire = run_timer}, .name = 'b'};
    c = (struct actor){.task = {.run = run_task}, .timer = {.fire = run_timer}, .name = 'c'};
    dgm_sim_set_now_ns(1000);
    return 0;
}

/* Fails: tasks run out of order, or twice for one posting. */
static void in_order_of_posting(void **state)
{
    assert_false(dgm_reactor_turn(&reactor));
    dgm_reactor_post(&reactor, &b.task);
    dgm_reactor_post(&reactor, &a.task);
    dgm_reactor_post(&reactor, &b.task);
    assert_false(dgm_reactor_turn(&reactor));
    assert_string_equal(order, "ba");
    assert_false(dgm_reactor_turn(&reactor));
    assert_string_equal(order, "ba");
}

/* Fails: a task that always has more work starves all others. */
static void a_task_that_posts_itself_runs_after_the_others(void **state)
{
    a.reposts = true;
    dgm_reactor_post(&reactor, &a.task);
    dgm_reactor_post(&reactor, &b.task);
    assert_true(dgm_reactor_turn(&reactor));
    assert_string_equal(order, "ab");
    dgm_reactor_post(&reactor, &c.task);
    assert_true(dgm_reactor_turn(&reactor));
    assert_string_equal(order, "abac");
}

/* Fails: a task that another task posts is lost, or keeps the turn from ending. */
static void posted_meanwhile_runs_next_turn(void **state)
{
    a.posts = &b.task;
    b.posts = &a.task;
    dgm_reactor_post(&reactor, &a.task);
    assert_true(dgm_reactor_turn(&reactor));
    assert_string_equal(order, "a");
    assert_true(dgm_reactor_turn(&reactor));
    assert_string_equal(order, "ab");
}

/* Fails: a withdrawn task runs, after its owner's memory was reused. For each position. */
static void withdrawn_does_not_run(void **state)
{
    struct actor *all[] = {&a, &b, &c};
    static const char *const left[] = {"bc", "ac", "ab"};

    for (int gone = 0; gone < 3; gone++) {
        start(NULL);
        for (int i = 0; i < 3; i++)
            dgm_reactor_post(&reactor, &all[i]->task);
        dgm_reactor_withdraw(&reactor, &all[gone]->task);
        dgm_reactor_withdraw(&reactor, &all[gone]->task);
        assert_false(dgm_reactor_turn(&reactor));
        assert_string_equal(order, left[gone]);
        dgm_reactor_post(&reactor, &all[gone]->task);
        dgm_reactor_turn(&reactor);
        assert_int_equal(strlen(order), 3);
    }
}

/* Fails: if a turn's last task is withdrawn during the turn,
 * the turn runs tasks of the next one. */
static void withdrawn_within_the_turn(void **state)
{
    a.reposts = true;
    a.withdraws = &b.task;
    dgm_reactor_post(&reactor, &a.task);
    dgm_reactor_post(&reactor, &b.task);
    assert_true(dgm_reactor_turn(&reactor));
    assert_string_equal(order, "a");
}

/* Fails: a timer fires late or early, or an idle loop sleeps too long. */
static void timers_in_order_of_deadline(void **state)
{
    assert_true(dgm_reactor_deadline_ns(&reactor) == UINT64_MAX);
    dgm_timer_arm(&reactor, &a.timer, 3000);
    dgm_timer_arm(&reactor, &b.timer, 2000);
    dgm_timer_arm(&reactor, &c.timer, 2000); /* equal: in order of arming */
    assert_int_equal(dgm_reactor_deadline_ns(&reactor), 2000);
    dgm_sim_set_now_ns(1999);
    dgm_reactor_turn(&reactor);
    assert_string_equal(order, "");
    dgm_sim_set_now_ns(2000);
    dgm_reactor_turn(&reactor);
    assert_string_equal(order, "bc");
    assert_int_equal(dgm_reactor_deadline_ns(&reactor), 3000);
    dgm_timer_arm(&reactor, &a.timer, 5000); /* moves the deadline */
    dgm_sim_set_now_ns(4999);
    dgm_reactor_turn(&reactor);
    assert_string_equal(order, "bc");
    dgm_sim_set_now_ns(9000);
    dgm_reactor_turn(&reactor);
    assert_string_equal(order, "bca");
    assert_int_equal(reactor.timers_fired, 3);
}

/* Fails: a timeout fires for a command that has been completed. */
static void disarmed_does_not_fire(void **state)
{
    a.disarms = &b.timer; /* from the handler of `a`, when both are due */
    dgm_timer_arm(&reactor, &a.timer, 1);
    dgm_timer_arm(&reactor, &b.timer, 2);
    dgm_timer_arm(&reactor, &c.timer, 3);
    dgm_timer_disarm(&reactor, &c.timer);
    dgm_timer_disarm(&reactor, &c.timer);
    dgm_reactor_turn(&reactor);
    assert_string_equal(order, "a");
    assert_true(dgm_reactor_deadline_ns(&reactor) == UINT64_MAX);
}

/* Fails: a timer that arms itself with a deadline in the past hangs the domain. */
static void rearming_for_the_past_ends(void **state)
{
    a.rearm_ns = 1;
    dgm_timer_arm(&reactor, &a.timer, 1);
    dgm_timer_arm(&reactor, &b.timer, 1);
    dgm_reactor_turn(&reactor);
    assert_string_equal(order, "ab");
    dgm_sim_set_now_ns(1001);
    dgm_reactor_turn(&reactor);
    assert_string_equal(order, "aba");
}

static struct dgm_waiters waiters;

/* Fails: a task that waits for a bounce buffer is never posted, or is posted after its removal. */
static void waiters_are_woken_once(void **state)
{
    static struct actor crowd[65];

    memset(&waiters, 0, sizeof waiters);
    dgm_waiters_add(&waiters, &a.task);
    dgm_waiters_add(&waiters, &b.task);
    dgm_waiters_add(&waiters, &a.task);
    dgm_waiters_add(&waiters, &c.task);
    assert_int_equal(waiters.count, 3);
    dgm_waiters_remove(&waiters, &b.task);
    dgm_waiters_remove(&waiters, &b.task);
    dgm_waiters_wake(&waiters, &reactor);
    dgm_reactor_turn(&reactor);
    assert_string_equal(order, "ac");
    dgm_waiters_wake(&waiters, &reactor);
    assert_false(dgm_reactor_turn(&reactor));
    assert_string_equal(order, "ac");
    for (int i = 0; i < 64; i++)
        dgm_waiters_add(&waiters, &crowd[i].task);
    expect_panic(dgm_waiters_add(&waiters, &crowd[64].task));
}

/* Fails: the removal of a waiter moves more than the ones behind it. */
static void a_removal_stays_within_the_waiters(void **state)
{
    static struct actor crowd[64];
    static struct {
        struct dgm_waiters waiters;
        size_t after[66];
    } guarded;

    memset(&guarded, 0, sizeof guarded);
    for (size_t i = 0; i < 64; i++)
        dgm_waiters_add(&guarded.waiters, &crowd[i].task);
    for (size_t i = 0; i < 66; i++)
        guarded.after[i] = i;
    for (size_t left = 64; left-- > 0;) { /* at both ends in turns */
        dgm_waiters_remove(&guarded.waiters, &crowd[left % 2 ? left / 2 : 63 - left / 2].task);
        assert_int_equal(guarded.waiters.count, left);
        for (size_t i = 0; i < 66; i++)
            assert_int_equal(guarded.after[i], i);
    }
}

/* Fails: the reactor calls a task or timer without a function. */
static void misuse_panics(void **state)
{
    a.task.run = NULL;
    a.timer.fire = NULL;
    expect_panic(dgm_reactor_post(&reactor, &a.task));
    expect_panic(dgm_timer_arm(&reactor, &a.timer, 1));
}

#define TEST(name) cmocka_unit_test_setup(name, start)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(in_order_of_posting),
        TEST(a_task_that_posts_itself_runs_after_the_others),
        TEST(posted_meanwhile_runs_next_turn),
        TEST(withdrawn_does_not_run),
        TEST(withdrawn_within_the_turn),
        TEST(timers_in_order_of_deadline),
        TEST(disarmed_does_not_fire),
        TEST(rearming_for_the_past_ends),
        TEST(waiters_are_woken_once),
        TEST(a_removal_stays_within_the_waiters),
        TEST(misuse_panics),
    };

    return cmocka_run_group_tests_name("reactor", tests, NULL, NULL);
}
