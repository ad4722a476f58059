/* test: +hardened */
/* A limit handler that lowers the limit of a shared instance while emma_reset gives memory back: what the heaps still
 * know of the old blocks is not used for it. */
#include "emma_threads.h"

enum { BLOCKS = 4000, BLOCK_BYTES = 100 };

static emma *instance;
static void *blocks[BLOCKS];
static bool resetting;
static unsigned lowered;
static test_crimes crimes = { EMMA_MISUSE_DOUBLE_FREE, 0 };

static void lower(void *arg, emma *of, bool over)
{
    (void)arg;
    if (over || !resetting)
        return;
    lowered++;
    const enum emma_status status = emma_set_limit(of, 32 * TEST_KIB);
    CHECK(status == EMMA_OK || status == EMMA_NO_MEMORY);
}

static void *allocate(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    return NULL;
}

/* By another thread, whose heap keeps some of them. */
static void *free_half(void *arg)
{
    (void)arg;
    CHECK(emma_malloc(instance, 10) != NULL);
    for (size_t i = 0; i < BLOCKS; i += 2)
        emma_free(instance, blocks[i]);
    return NULL;
}

int main(void)
{
    emma_options options = test_options();
    options.flags = EMMA_SHARED;
    options.soft_limit_bytes = 300 * TEST_KIB;
    options.limit_handler = lower;
    options.misuse_handler = test_count_crime;
    options.misuse_arg = &crimes;
    options.decay_ms = EMMA_DECAY_NEVER;
    CHECK((instance = emma_create(&options)) != NULL);
    test_thread_run(allocate, NULL);
    test_thread_run(free_half, NULL);
    resetting = true;
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    resetting = false;
    CHECK_GT(lowered, 0);
    CHECK_EQ(crimes.found, 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_EQ(emma_set_limit(instance, EMMA_UNLIMITED), EMMA_OK);
    test_thread_run(allocate, NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
