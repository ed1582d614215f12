/* SPDX-License-Identifier: MIT */
/*
 * ring: if these fail, a guest can make us read outside its ring, take a request twice, or wait
 * permanently for an event. The frontend here is Xen's own: the macros of xen/io/ring.h.
 */
#define _GNU_SOURCE /* memfd_create() */
#include "unit.h"

#include <dragoman/hyper/ring.h>
#include <dragoman/base/status.h>
#include <hyper/internal.h>
#include <port/arch.h>

#define xen_mb()  dgm_arch_mb()
#define xen_rmb() dgm_arch_rmb()
#define xen_wmb() dgm_arch_wmb()
#include <xen/xen.h>
#include <xen/io/ring.h>

#include <sys/mman.h>
#include <unistd.h>

struct test_request {
    uint64_t id;
    uint32_t words[7];
};

struct test_response {
    uint64_t id;
    int32_t status;
};

DEFINE_RING_TYPES(test, struct test_request, struct test_response);

#define ENTRY_BYTES sizeof(union test_sring_entry)
#define ENTRIES     64u
#define PAGE        4096u
#define RING_BYTES  (DGM_RING_PAGES_MAX * PAGE)

static struct test_front_ring front;
static struct dgm_ring back;
static char *front_pages;                /* one after the other, as the frontend has them */
static struct dgm_ring_pages back_pages; /* the same ones, elsewhere, in the opposite order */

static int map_pages(void **state)
{
    const int file = memfd_create("ring", 0);
    char *elsewhere = mmap(NULL, 2 * RING_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(file >= 0 && ftruncate(file, RING_BYTES) == 0 && elsewhere != MAP_FAILED);
    front_pages = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    assert_ptr_not_equal(front_pages, MAP_FAILED);
    for (unsigned i = 0; i < DGM_RING_PAGES_MAX; i++) {
        char *const at = elsewhere + (size_t)(DGM_RING_PAGES_MAX - 1 - i) * 2 * PAGE;

        back_pages.at[i] =
            mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, (off_t)i * PAGE);
        assert_ptr_equal(back_pages.at[i], at);
    }
    close(file);
    return 0;
}

static void start_back(uint32_t entry_bytes)
{
    dgm_ring_init(&back, &back_pages, entry_bytes);
}

static void start_order(unsigned order)
{
    test_sring_t *shared = (test_sring_t *)(void *)front_pages;

    back_pages.order = order;
    memset(front_pages, 0, RING_BYTES);
    SHARED_RING_INIT(shared);
    FRONT_RING_INIT(&front, shared, PAGE << order);
    start_back(ENTRY_BYTES);
}

static int start(void **state)
{
    start_order(0);
    return 0;
}

/* The frontend adds a request `id` to its ring; true if we want an event for it. */
static bool front_put(uint64_t id)
{
    struct test_request *request = RING_GET_REQUEST(&front, front.req_prod_pvt);
    int notify;

    request->id = id;
    for (unsigned i = 0; i < 7; i++)
        request->words[i] = (uint32_t)(id * 7 + i);
    front.req_prod_pvt++;
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front, notify);
    return notify;
}

/* As a backend whose requests differ in length. */
static int take_in_two(struct test_request *request)
{
    const int status = dgm_ring_take(&back, request, 8);

    if (status == 1)
        dgm_ring_take_rest(&back, request, 8);
    return status;
}

static int back_take(uint64_t *id)
{
    struct test_request request = {0};
    const int status = take_in_two(&request);

    if (status == 1)
        for (unsigned i = 0; i < 7; i++)
            assert_int_equal(request.words[i], (uint32_t)(request.id * 7 + i));
    *id = request.id;
    return status;
}

static void back_respond(uint64_t id)
{
    const struct test_response response = {.id = id, .status = -5};

    dgm_ring_respond(&back, &response, sizeof response);
}

static void start_at(unsigned order, uint32_t index)
{
    start_order(order);
    front.sring->req_prod = front.sring->rsp_prod = index;
    front.sring->req_event = front.sring->rsp_event = index + 1;
    front.req_prod_pvt = front.rsp_cons = index;
    start_back(ENTRY_BYTES);
}

/* Fails: our layout of the page is not that of Xen. */
static void same_layout_as_xen(void **state)
{
    assert_int_equal(back.entries, RING_SIZE(&front));
    assert_int_equal(back.entries, ENTRIES);
    start_back(112); /* blkif: 32 */
    assert_int_equal(back.entries, 32);
    start_back(12); /* netif tx: 256 */
    assert_int_equal(back.entries, 256);
    start_back(4032);
    assert_int_equal(back.entries, 1);
    for (unsigned i = 0; i <= DGM_RING_ORDER_MAX; i++) {
        start_order(i);
        assert_int_equal(back.entries, RING_SIZE(&front));
        start_back(112);
        assert_int_equal(back.entries, 32u << i);
    }
}

/* Fails: a request is lost, repeated or torn, also where the indices wrap, or where an entry lies
 * in two pages, which need not be adjacent. */
static void requests_and_responses(void **state)
{
    static const uint32_t starts[] = {0, 5, UINT32_MAX - 70, UINT32_MAX};

    for (size_t s = 0; s < 3 * sizeof starts / sizeof starts[0]; s++) {
        uint64_t put = 0, taken = 0, responded = 0, seen = 0, id;

        start_at((unsigned)(s % 3), starts[s / 3]);
        unit_seed();
        for (unsigned step = 0; step < 20000; step++) {
            switch (unit_below(5)) {
            case 0:
            case 1:
                if (!RING_FULL(&front))
                    front_put(put++);
                break;
            case 2:
                if (back_take(&id) == 1)
                    assert_int_equal(id, taken++);
                else
                    assert_int_equal(taken, put);
                break;
            case 3:
                if (dgm_ring_outstanding(&back)) {
                    back_respond(responded++);
                    if (unit_chance(50))
                        dgm_ring_publish(&back);
                }
                break;
            default:
                while (RING_HAS_UNCONSUMED_RESPONSES(&front)) {
                    const struct test_response *response =
                        RING_GET_RESPONSE(&front, front.rsp_cons);

                    assert_int_equal(response->id, seen++);
                    assert_int_equal(response->status, -5);
                    front.rsp_cons++;
                }
                assert_true(seen <= responded);
                break;
            }
        }
        assert_true(put > 1000);
    }
}

/* Fails: a hostile index makes us take garbage. Every index near the edge. */
static void a_producer_that_lies(void **state)
{
    for (uint32_t taken = 0; taken <= 3; taken++) {
        for (uint32_t claim = 0; claim < 3 * ENTRIES; claim++) {
            uint64_t id;

            start(NULL);
            for (uint64_t i = 0; i < taken; i++) {
                front_put(i);
                assert_int_equal(back_take(&id), 1);
            }
            front.sring->req_prod = taken + claim;
            memset(RING_GET_REQUEST(&front, taken), 0, sizeof(struct test_request));
            for (unsigned i = 0; i < 7; i++)
                RING_GET_REQUEST(&front, taken)->words[i] = i;
            assert_int_equal(back_take(&id), claim == 0                ? 0
                                             : claim > ENTRIES - taken ? DGM_EPROTO
                                                                       : 1);
        }
    }
    for (uint32_t bit = 7; bit < 32; bit++) { /* far away, and behind */
        uint64_t id;

        start(NULL);
        front.sring->req_prod = (uint32_t)1 << bit;
        assert_int_equal(back_take(&id), DGM_EPROTO);
        front.sring->req_prod = (uint32_t)0 - ((uint32_t)1 << (bit - 7));
        assert_int_equal(back_take(&id), DGM_EPROTO);
    }
}

/* Fails: entries whose responses the guest cannot have read yet are taken as new requests. */
static void unpublished_responses_count(void **state)
{
    uint64_t id;

    for (uint64_t i = 0; i < ENTRIES; i++)
        front_put(i);
    for (uint64_t i = 0; i < ENTRIES; i++)
        assert_int_equal(back_take(&id), 1);
    back_respond(0);
    front.sring->req_prod = ENTRIES + 1;
    assert_int_equal(back_take(&id), DGM_EPROTO);
    dgm_ring_publish(&back);
    for (unsigned i = 0; i < 7; i++)
        RING_GET_REQUEST(&front, ENTRIES)->words[i] = i;
    RING_GET_REQUEST(&front, ENTRIES)->id = 0;
    assert_int_equal(back_take(&id), 1);
}

/* Fails: the guest sends no event while we sleep (a hang), or one for each request. */
static void sleeping_and_waking(void **state)
{
    uint64_t id;

    assert_true(front_put(0)); /* req_event starts at 1 */
    assert_int_equal(back_take(&id), 1);
    assert_false(front_put(1)); /* we are awake and want no event */
    assert_true(dgm_ring_final_check(&back));
    assert_int_equal(back_take(&id), 1);
    assert_false(dgm_ring_final_check(&back));
    assert_true(front_put(2));
    assert_false(front_put(3));
    assert_true(dgm_ring_final_check(&back));
}

static unsigned late;
static bool front_kicks;

static void put_late(void)
{
    if (late++ == 0)
        front_kicks = front_put(7);
}

/* Fails: a request that arrives as we begin to sleep is not seen and has no event: a hang. */
static void a_request_while_falling_asleep(void **state)
{
    uint64_t id;
    bool more;

    front_put(0);
    assert_int_equal(back_take(&id), 1);
    late = 0;
    dgm_sim_at_barrier(put_late);
    more = dgm_ring_final_check(&back);
    dgm_sim_at_barrier(NULL);
    assert_true(more || front_kicks);
    assert_int_equal(back_take(&id), 1);
}

static void sleep_late(void)
{
    int more;

    if (late++)
        return;
    front.rsp_cons = front.sring->rsp_prod; /* takes the visible responses, then sleeps */
    RING_FINAL_CHECK_FOR_RESPONSES(&front, more);
    front_kicks = more; /* it saw the new response without an event */
}

/* Fails: a response published as the guest begins to sleep has no event: its I/O hangs. */
static void a_response_while_the_guest_falls_asleep(void **state)
{
    uint64_t id;
    bool notify;

    for (uint64_t i = 0; i < 2; i++) {
        front_put(i);
        assert_int_equal(back_take(&id), 1);
    }
    back_respond(0);
    dgm_ring_publish(&back);
    back_respond(1);
    late = 0;
    dgm_sim_at_barrier(sleep_late);
    notify = dgm_ring_publish(&back);
    dgm_sim_at_barrier(NULL);
    assert_true(notify || front.rsp_cons == front.sring->rsp_prod);
}

/* Fails: the guest waits for a response and gets no event, or gets one for each response. */
static void events_for_responses(void **state)
{
    uint64_t id;
    int more;

    for (uint64_t i = 0; i < 6; i++) {
        front_put(i);
        assert_int_equal(back_take(&id), 1);
    }
    assert_false(dgm_ring_publish(&back)); /* no response */
    back_respond(0);
    assert_int_equal(front.sring->rsp_prod, 0); /* not visible yet */
    assert_true(dgm_ring_publish(&back));
    assert_int_equal(front.sring->rsp_prod, 1);
    back_respond(1);
    assert_false(dgm_ring_publish(&back)); /* the guest does not want one */
    front.rsp_cons = 2;
    RING_FINAL_CHECK_FOR_RESPONSES(&front, more);
    assert_false(more);
    back_respond(2);
    back_respond(3);
    assert_true(dgm_ring_publish(&back));
    front.sring->rsp_event = 6; /* wants the sixth */
    back_respond(4);
    assert_false(dgm_ring_publish(&back));
    back_respond(5);
    assert_true(dgm_ring_publish(&back));
}

/* Fails: there can be more responses than requests. */
static void misuse_panics(void **state)
{
    expect_panic(back_respond(0));
    expect_panic(start_back(4096));
    expect_panic(start_back(0));
    back_pages.order = DGM_RING_ORDER_MAX + 1;
    expect_panic(start_back(112));
}

#define TEST(name) cmocka_unit_test_setup(name, start)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(same_layout_as_xen),
        TEST(requests_and_responses),
        TEST(a_producer_that_lies),
        TEST(unpublished_responses_count),
        TEST(sleeping_and_waking),
        TEST(events_for_responses),
        TEST(a_request_while_falling_asleep),
        TEST(a_response_while_the_guest_falls_asleep),
        TEST(misuse_panics),
    };

    return cmocka_run_group_tests_name("ring", tests, map_pages, NULL);
}
