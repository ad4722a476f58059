/* The soft limit calls its handler once on the way up and once when the footprint has come down
 * again, however long it stays there; the handler may change the limit and open the spare. */
#include "emma_test.h"

enum { BLOCKS = 64, BLOCK_BYTES = 100 * 1000, ROUNDS = 5 };
#define SOFT_BYTES (2 * TEST_MIB)

static unsigned ups, downs;
static size_t footprint_at_up;
static int cookie;
static enum emma_status from_handler;

static void count(void *arg, emma *instance, bool over)
{
    CHECK_EQ(arg, &cookie);
    if (over)
        ups++;
    else
        downs++;
    if (over)
        footprint_at_up = test_stats(instance).footprint_bytes;
}

static void raise_limit(void *arg, emma *instance, bool over)
{
    (void)arg;
    if (over) {
        ups++;
        from_handler = emma_set_limit(instance, 8 * TEST_MIB);
        CHECK_EQ(emma_use_spare(instance, true), EMMA_OK);
    }
}

static void run(unsigned flags, bool with_runs)
{
    unsigned char *blocks[BLOCKS];
    const size_t bytes = with_runs ? BLOCK_BYTES : 1000, repeat = BLOCK_BYTES / bytes;
    emma_options options = test_options();
    options.soft_limit_bytes = SOFT_BYTES;
    options.limit_handler = count;
    options.limit_arg = &cookie;
    options.flags = flags;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    ups = downs = 0;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = emma_malloc(instance, bytes);
            for (size_t k = 1; k < repeat; k++)
                CHECK(emma_malloc(instance, bytes) != NULL);
            CHECK(blocks[i] != NULL);
            CHECK_LE(ups, round);
            if (test_stats(instance).footprint_bytes <= SOFT_BYTES)
                CHECK_EQ(ups, round - 1);
        }
        CHECK_EQ(ups, round);
        CHECK_GE(footprint_at_up, SOFT_BYTES);
        CHECK_EQ(downs, round - 1);
        for (size_t i = 0; with_runs && i < BLOCKS; i++)
            emma_free(instance, blocks[i]);
        if (!with_runs)
            CHECK_EQ(emma_reset(instance), EMMA_OK);
        emma_trim(instance);
        emma_free(instance, emma_malloc(instance, 10));
        CHECK_EQ(downs, round);
        CHECK_EQ(ups, round);
    }
    emma_destroy(instance);
}

static void expect_handler_may_raise(void)
{
    emma_options options = test_options();
    options.limit_bytes = TEST_MIB;
    options.spare_bytes = 64 * TEST_KIB;
    options.reserve_bytes = 64 * TEST_MIB;
    options.soft_limit_bytes = TEST_MIB / 2;
    options.limit_handler = raise_limit;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    ups = 0;
    size_t allocated = 0;
    while (emma_malloc(instance, 10000))
        allocated += 10000;
    CHECK_EQ(from_handler, EMMA_OK);
    CHECK_EQ(ups, 1);
    CHECK_GT(allocated, 4 * TEST_MIB);
    CHECK_EQ(test_stats(instance).limit_bytes, 8 * TEST_MIB);
    emma_destroy(instance);
}

/* Set later, it is looked at at once. */
static void expect_set_later(unsigned flags)
{
    emma_options options = test_options();
    options.flags = flags;
    options.limit_handler = count;
    options.limit_arg = &cookie;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    CHECK(emma_malloc(instance, SOFT_BYTES) != NULL);
    ups = downs = 0;
    CHECK_EQ(emma_set_soft_limit(instance, 0), EMMA_INVALID);
    CHECK_EQ(emma_set_soft_limit(instance, 2 * SOFT_BYTES), EMMA_OK);
    CHECK_EQ(ups, 0);
    CHECK_EQ(emma_set_soft_limit(instance, SOFT_BYTES), EMMA_OK);
    CHECK_EQ(test_stats(instance).soft_limit_bytes, SOFT_BYTES);
    CHECK_EQ(ups, 1);
    CHECK_EQ(downs, 0);
    CHECK_EQ(emma_set_soft_limit(instance, EMMA_UNLIMITED), EMMA_OK);
    CHECK_EQ(downs, 1);
    CHECK_EQ(test_stats(instance).soft_limit_bytes, EMMA_UNLIMITED);
    CHECK(emma_malloc(instance, SOFT_BYTES) != NULL);
    CHECK_EQ(ups, 1);
    emma_destroy(instance);
}

/* It can be crossed where nobody wants to know. */
static void expect_no_handler_needed(void)
{
    emma *instance = test_create(EMMA_UNLIMITED, 0);
    CHECK_EQ(emma_set_soft_limit(instance, SOFT_BYTES), EMMA_OK);
    void *block = emma_malloc(instance, 2 * SOFT_BYTES);
    CHECK(block != NULL);
    CHECK_GT(test_stats(instance).footprint_bytes, SOFT_BYTES);
    emma_free(instance, block);
    emma_trim(instance);
    CHECK_LT(test_stats(instance).footprint_bytes, SOFT_BYTES);
    emma_destroy(instance);
}

int main(void)
{
    run(0, true);
    run(EMMA_ALIGN8, true);
    run(0, false);
    expect_handler_may_raise();
    expect_set_later(0);
    expect_set_later(EMMA_SHARED);
    expect_no_handler_needed();
    return 0;
}
