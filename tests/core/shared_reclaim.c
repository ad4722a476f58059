/* What threads that are gone allocated and others freed can be had again, at the limit and by a trim;
 * and a thread that is refused a heap there, however often it asks, takes nothing from those that
 * come later, frees what others allocated, and may shrink it. */
#include "emma_threads.h"

enum { BLOCKS = 4000, TRIES = 70000 };
#define LIMIT_BYTES (2 * TEST_MIB)

static emma *instance;
static void *blocks[BLOCKS];
static size_t count;
static bool detaches;

static void *fill(void *arg)
{
    (void)arg;
    for (count = 0; count < BLOCKS && (blocks[count] = emma_malloc(instance, 1000)); count++)
        continue;
    if (detaches)
        emma_thread_detach(instance);
    return NULL;
}

static bool visit(void *arg, void *block, size_t bytes)
{
    (void)block;
    (void)bytes;
    ++*(size_t *)arg;
    return true;
}

static void *have_no_heap(void *arg)
{
    size_t visited = 0;
    (void)arg;
    for (size_t i = 0; i < TRIES; i++)
        CHECK_EQ(emma_malloc(instance, 64), NULL);
    CHECK_EQ(emma_realloc(instance, blocks[0], 500), blocks[0]);
    CHECK_EQ(emma_realloc(instance, blocks[0], 5000), NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK(emma_walk(instance, visit, &visited));
    CHECK(visited >= count);
    while (count > 0)
        emma_free(instance, blocks[--count]);
    return NULL;
}

static void *allocate(void *arg)
{
    (void)arg;
    void *block = emma_malloc(instance, LIMIT_BYTES / 2);
    CHECK(block != NULL);
    emma_free(instance, block);
    return NULL;
}

static void run(bool detach)
{
    detaches = detach;
    instance = test_create(LIMIT_BYTES, EMMA_SHARED);
    void *own = emma_malloc(instance, 10); /* this thread has a heap */
    CHECK(own != NULL);
    test_thread_run(fill, NULL);
    CHECK_LT(count, BLOCKS);
    while (count > 0)
        emma_free(instance, blocks[--count]);
    allocate(NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 1);
    emma_trim(instance);
    CHECK_LE(test_stats(instance).footprint_bytes, 256 * TEST_KIB);
    emma_destroy(instance);
}

static void run_without_heap(void)
{
    instance = test_create(LIMIT_BYTES, EMMA_SHARED);
    detaches = false;
    fill(NULL);
    test_thread_run(have_no_heap, NULL);
    emma_trim(instance);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    test_thread_run(allocate, NULL);
    allocate(NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

/* Where the region, not the limit, is full. */
static void run_in_small_region(void)
{
    emma_options options = test_options();
    options.flags = EMMA_SHARED;
    options.reserve_bytes = LIMIT_BYTES + TEST_MIB;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    void *own = emma_malloc(instance, 10);
    CHECK(own != NULL);
    detaches = false;
    test_thread_run(fill, NULL);
    CHECK_LT(count, BLOCKS);
    while (count > 0)
        emma_free(instance, blocks[--count]);
    void *block = emma_malloc(instance, LIMIT_BYTES / 4);
    CHECK(block != NULL);
    emma_destroy(instance);
}

int main(void)
{
    run_in_small_region();
    run(false);
    run(true);
    run_without_heap();
    return 0;
}
