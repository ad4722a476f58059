/* test: whole */
/* Without a trim: what stays free for a whole decay period goes back to the kernel as the instance is used
 * on; what is used again within it stays, and everything where the options say so. The clock is the test's own. */
#include "emma_fault.h"
#include "emma_model.h"

enum { RUNS = 40, RUN_BYTES = 300000, SMALL = 20000, PERIODS = 4, STEP_MS = 100 };

static test_maps own;
static volatile size_t released_bytes = 100000; /* a run, in whatever size chunks are */
static void *blocks[SMALL];

static void fill(emma *instance, size_t count, size_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = emma_malloc(instance, bytes);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, bytes);
    }
}

static void empty(emma *instance, size_t count)
{
    for (size_t i = 0; i < count; i++)
        emma_free(instance, blocks[i]);
}

/* Runs come and go as time passes: the decay looks at the clock when chunks are given back. */
static void live_on(emma *instance, size_t ms)
{
    for (size_t passed = 0; passed < ms; passed += STEP_MS) {
        for (size_t i = 0; i < EMMAI_DECAY_RELEASES; i++)
            emma_free(instance, emma_malloc(instance, released_bytes));
        fault.clock_ms += STEP_MS;
    }
}

static emma *create(size_t decay_ms)
{
    emma_options options = test_options();
    options.decay_ms = decay_ms;
    memset(&fault, 0, sizeof fault);
    fault.clock_ms = 1000;
    return test_create_mapped(&options, &own);
}

static void expect_decay(size_t count, size_t bytes, size_t decay_ms)
{
    emma *instance = create(decay_ms);
    fill(instance, count, bytes);
    const size_t peak = test_resident_bytes(&own);
    CHECK_GE(peak, count * bytes);
    empty(instance, count);
    live_on(instance, PERIODS * decay_ms + STEP_MS);
    const emma_stats stats = test_stats(instance);
    CHECK_LE(test_resident_bytes(&own), stats.footprint_bytes);
    CHECK_LT(stats.footprint_bytes, peak / 4);
    CHECK_GT(stats.returned_bytes, peak / 2);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

/* A heap that breathes within the period gives nothing back: faults would cost more than the memory
 * is worth. */
static void expect_no_decay_in_use(void)
{
    emma *instance = create(EMMA_DECAY_DEFAULT_MS);
    fill(instance, RUNS, RUN_BYTES);
    empty(instance, RUNS);
    for (int breath = 0; breath < 20; breath++) {
        fill(instance, RUNS, RUN_BYTES);
        empty(instance, RUNS);
        fault.clock_ms += STEP_MS;
    }
    const uint64_t returned = test_stats(instance).returned_bytes;
    fill(instance, RUNS, RUN_BYTES);
    CHECK_EQ(test_stats(instance).returned_bytes, returned);
    CHECK_LT(returned, RUNS * RUN_BYTES / 2);
    emma_destroy(instance);
}

/* Or not before a period is over, however long that is. */
static void expect_no_decay(size_t decay_ms, size_t ms)
{
    emma *instance = create(decay_ms);
    live_on(instance, STEP_MS); /* the first look at the clock begins a period */
    fill(instance, RUNS, RUN_BYTES);
    empty(instance, RUNS);
    live_on(instance, ms);
    CHECK_EQ(test_stats(instance).returned_bytes, 0);
    CHECK_GE(emma_trim(instance), RUNS * RUN_BYTES);
    emma_destroy(instance);
}

int main(void)
{
    test_need_own_maps();
    expect_decay(RUNS, RUN_BYTES, EMMA_DECAY_DEFAULT_MS);
    expect_decay(SMALL, 500, EMMA_DECAY_DEFAULT_MS);
    expect_decay(RUNS, RUN_BYTES, 0);
    expect_decay(RUNS, RUN_BYTES, 20000);
    expect_no_decay(20000, 15000);
    expect_no_decay(EMMA_DECAY_NEVER, 100000);
    expect_no_decay_in_use();
    return 0;
}
