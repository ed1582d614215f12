/* SPDX-License-Identifier: MIT */
/*
 * virtio_regions: if these fail, a card's capabilities or registers lead the driver beyond them, or
 * into an endless loop; or a card that cannot work is used.
 */
#include "virtio_rig.h"

/* Offsets of the simulated card's capabilities in its configuration space. */
enum { OTHER = 0x40, COMMON = 0x50, ISR = 0x60, DEVICE = 0x70, NOTIFY = 0x80, FREE = 0x94 };

static struct virtio_rig *const rig = &virtio_rig;

static void put32(unsigned at, uint32_t value)
{
    memcpy(&rig->sim.config[at], &value, 4);
}

static void expect_refusal(int status)
{
    assert_int_equal(dgm_virtio_net_start(&rig->card, &nic_rig.env), status);
    assert_true(nic_rig.nic->failed && !nic_rig.nic->ready && nic_rig.cut);
}

/* It was started without error, and is refused by the values of its registers. */
static void expect_failure(void)
{
    assert_int_equal(dgm_virtio_net_start(&rig->card, &nic_rig.env), DGM_OK);
    virtio_wait_ms(100);
    assert_true(nic_rig.nic->failed && !nic_rig.nic->ready && nic_rig.cut);
}

static void expect_start(void)
{
    assert_int_equal(dgm_virtio_net_start(&rig->card, &nic_rig.env), DGM_OK);
    virtio_wait_ms(50);
    assert_true(nic_rig.nic->ready && !nic_rig.nic->failed);
}

/* Fails: a structure is used that is beyond its BAR, in a BAR that is not there, too short, or
 * misaligned. */
static void refuses_invalid_structures(void **state)
{
    static const struct {
        unsigned at;
        uint32_t value;
    } wrong[] = {
        {COMMON + 4, 6},          {COMMON + 4, 0},           {COMMON + 8, 0x4000},
        {COMMON + 8, 0xfffffff0}, {COMMON + 8, 2},           {COMMON + 12, 0x37},
        {COMMON + 12, 0x4001},    {COMMON + 12, 0xffffffff}, {NOTIFY + 8, 0x3ffe},
        {NOTIFY + 8, 0x3001},     {NOTIFY + 12, 1},          {ISR + 12, 0},
        {ISR + 8, 0x4000},        {DEVICE + 12, 5},          {DEVICE + 8, 0x2002},
    };

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        virtio_rig_start();
        put32(wrong[i].at, wrong[i].value);
        expect_refusal(DGM_ENODEV);
    }
}

/* Fails: a short capability is read beyond its end, or an unknown kind is taken for a known one. */
static void refuses_short_capabilities(void **state)
{
    rig->sim.config[COMMON + 2] = 15;
    expect_refusal(DGM_ENODEV);
    virtio_rig_start();
    rig->sim.config[NOTIFY + 2] = 16; /* without its multiplier */
    expect_refusal(DGM_ENODEV);
    virtio_rig_start();
    rig->sim.config[ISR + 3] = 0;
    expect_refusal(DGM_ENODEV);
}

/* Fails: a list without end keeps the driver. */
static void ends_with_a_list_without_end(void **state)
{
    rig->sim.config[COMMON + 1] = OTHER;
    expect_refusal(DGM_ENODEV);
    virtio_rig_start();
    rig->sim.config[NOTIFY + 1] = OTHER; /* the structures are there all the same */
    expect_start();
    virtio_rig_start();
    rig->sim.config[0x34] = 0xfc;
    rig->sim.config[0xfc] = 0x09; /* a capability that leaves configuration space */
    rig->sim.config[0xfe] = 16;
    rig->sim.config[0xff] = 1;
    expect_refusal(DGM_ENODEV);
}

/* Fails: an invalid capability hides the valid one behind it. */
static void takes_the_first_valid_one(void **state)
{
    memcpy(&rig->sim.config[FREE], &rig->sim.config[COMMON], 16);
    rig->sim.config[NOTIFY + 1] = FREE;
    rig->sim.config[FREE + 1] = 0;
    put32(COMMON + 8, 0x4000);
    expect_start();
}

/* Fails: a doorbell beyond its registers is rung. */
static void refuses_a_doorbell_elsewhere(void **state)
{
    put32(NOTIFY + 16, UINT32_MAX);
    expect_failure();
    virtio_rig_start();
    put32(NOTIFY + 16, 1); /* that of queue 1 is misaligned */
    expect_failure();
    virtio_rig_start();
    rig->sim.notify_offset = 0x400; /* times 4: the first byte behind */
    expect_failure();
    virtio_rig_start();
    put32(NOTIFY + 16, 0); /* one doorbell for all queues */
    expect_start();
}

/* Fails: fields that the card does not have are read. */
static void reads_no_fields_that_are_not_there(void **state)
{
    put32(DEVICE + 8, 0x3ffa - 2); /* up to the BAR's end; not what the sim has there */
    put32(DEVICE + 12, 8);
    put32(COMMON + 12, 0x38);
    expect_start();
    assert_true(!(rig->sim.accepted & 1 << 3) && rig->sim.accepted & 1 << 16);
    virtio_rig_start();
    put32(DEVICE + 12, 6);
    expect_start();
    assert_true(!(rig->sim.accepted & (1 << 3 | 1 << 16)));
    assert_true(nic_rig.nic->link);
}

/* Fails: a card that does not agree to what is needed is used. */
static void refuses_disagreement(void **state)
{
    rig->sim.offered &= ~(1ull << 32);
    expect_failure();
    virtio_rig_start();
    rig->sim.refuses_features = true;
    expect_failure();
    virtio_rig_start();
    nic_rig.env.irq_message = rig->sim.message = rig->sim.refuses_vector = true;
    expect_failure();
    virtio_rig_start();
    rig->sim.size_max = 0;
    expect_failure();
    virtio_rig_start();
    rig->sim.size_max = 15;
    expect_failure();
    virtio_rig_start();
    rig->sim.size_max = 300; /* no power of two: 256 are used */
    expect_start();
    assert_int_equal(rig->sim.queues[0].size, 256);
}

/* Fails: an unusable card is used. */
static void refuses_unusable(void **state)
{
    nic_rig.env.tag.coherent = false;
    expect_refusal(DGM_EOPNOTSUPP);
    virtio_rig_start();
    nic_rig.env.tag.mask = UINT32_MAX; /* the window lies above 4 GiB */
    expect_refusal(DGM_ERANGE);
    virtio_rig_start();
    nic_rig.env.config = NULL; /* not on PCI */
    expect_refusal(DGM_ENODEV);
    virtio_rig_start();
    nic_rig.frames.range_count = 0;
    expect_refusal(DGM_ENOMEM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, virtio_rig_setup, virtio_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refuses_invalid_structures),   TEST(refuses_short_capabilities),
        TEST(ends_with_a_list_without_end), TEST(takes_the_first_valid_one),
        TEST(refuses_a_doorbell_elsewhere), TEST(reads_no_fields_that_are_not_there),
        TEST(refuses_disagreement),         TEST(refuses_unusable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
