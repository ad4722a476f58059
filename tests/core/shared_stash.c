/* Blocks that a thread frees for others stay with it, to be used again or to go home in bundles:
 * wherever they are, they are not counted as live, walked or lost, and they are few. */
#include "emma_threads.h"

enum { BLOCKS = 20000, ROUNDS = 100, SIZES = 12 };
#define BLOCK_BYTES 64
/* What one thread may keep of others' blocks of one size. */
#define KEPT_BYTES (16 * TEST_KIB)

static emma *instance;
static void *blocks[BLOCKS];
static pthread_barrier_t turn;

static size_t bytes_of(size_t i)
{
    return 16 + i % SIZES * 16;
}

static void fill(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, bytes_of(i));
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], bytes_of(i), i);
    }
}

static void empty(size_t from)
{
    for (size_t i = from; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[i], bytes_of(i), i));
        emma_free(instance, blocks[i]);
        blocks[i] = NULL;
    }
}

static bool visit(void *arg, void *block, size_t bytes)
{
    (void)block;
    (void)bytes;
    ++*(size_t *)arg;
    return true;
}

static void expect_live(size_t count)
{
    CHECK_EQ(test_stats(instance).live_blocks, count);
    size_t visited = 0;
    CHECK(emma_walk(instance, visit, &visited));
    CHECK_EQ(visited, count);
    CHECK_EQ(test_stats(instance).live_blocks, count);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

static void *produce(void *arg)
{
    (void)arg;
    for (size_t round = 0; round < ROUNDS; round++) {
        fill();
        pthread_barrier_wait(&turn);
        pthread_barrier_wait(&turn);
    }
    return NULL;
}

/* A thread that frees only: what it keeps is little, and the producer has the rest again. */
static void run_consumer(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    pthread_t producer;
    CHECK_EQ(pthread_create(&producer, NULL, produce, NULL), 0);
    size_t first_bytes = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&turn);
        if (!round)
            first_bytes = test_stats(instance).footprint_bytes;
        CHECK_LE(test_stats(instance).footprint_bytes, first_bytes + (SIZES + 16) * KEPT_BYTES);
        empty(0);
        if (round % 10 == 0)
            CHECK_EQ(test_stats(instance).live_blocks, 0);
        pthread_barrier_wait(&turn);
    }
    CHECK_EQ(pthread_join(producer, NULL), 0);
    expect_live(0);
    emma_destroy(instance);
}

static void *fill_once(void *arg)
{
    (void)arg;
    fill();
    return NULL;
}

static int by_address(const void *a, const void *b)
{
    const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

/* A thread that frees others' blocks all the time and allocates as many uses them itself. */
static void run_exchange(void)
{
    static uintptr_t freed[BLOCKS];
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    void *own = emma_malloc(instance, BLOCK_BYTES); /* this thread has a heap */
    test_thread_run(fill_once, NULL);
    size_t count = 0;
    for (size_t i = 0; i < BLOCKS; i++)
        if (bytes_of(i) == BLOCK_BYTES)
            freed[count++] = (uintptr_t)blocks[i];
    size_t again = 0;
    qsort(freed, count, sizeof freed[0], by_address);
    for (size_t i = 0; i < BLOCKS; i++) {
        emma_free(instance, blocks[i]);
        blocks[i] = emma_malloc(instance, bytes_of(i));
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], bytes_of(i), i);
        const uintptr_t at = (uintptr_t)blocks[i];
        if (bytes_of(i) == BLOCK_BYTES)
            again += bsearch(&at, freed, count, sizeof at, by_address) != NULL;
    }
    CHECK_GT(again, count / 8);
    expect_live(BLOCKS + 1);
    emma_free(instance, own);
    empty(0);
    expect_live(0);
    emma_destroy(instance);
}

static void *free_and_end(void *arg)
{
    CHECK(emma_malloc(instance, BLOCK_BYTES) != NULL);
    for (size_t i = 0; i < *(size_t *)arg; i++)
        emma_free(instance, blocks[i]);
    return NULL;
}

/* A thread that ends, without a word to the instance, with others' blocks: who adopts its heap has them to give back. */
static void run_death(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    fill();
    size_t half = BLOCKS / 2;
    test_thread_run(free_and_end, &half);
    CHECK_EQ(test_stats(instance).live_blocks, BLOCKS - half + 1);
    empty(half);
    emma_trim(instance); /* takes the dead thread's heap */
    CHECK_EQ(test_stats(instance).live_blocks, 1);
    emma_trim(instance); /* has what came from there */
    CHECK_LE(test_stats(instance).footprint_bytes, 256 * TEST_KIB);
    expect_live(1);
    emma_destroy(instance);
}

/* A thread that leaves keeps nothing back. */
static void *free_and_detach(void *arg)
{
    (void)arg;
    CHECK(emma_malloc(instance, BLOCK_BYTES) != NULL);
    empty(0);
    emma_thread_detach(instance);
    return NULL;
}

static void run_detach(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    fill();
    test_thread_run(free_and_detach, NULL);
    emma_trim(instance);
    CHECK_LE(test_stats(instance).footprint_bytes, 256 * TEST_KIB);
    expect_live(1);
    emma_destroy(instance);
}

static size_t fill_to_limit(void)
{
    size_t count = 0;
    while (count < BLOCKS && (blocks[count] = emma_malloc(instance, 200)))
        count++;
    CHECK_LT(count, BLOCKS);
    return count;
}

static void *fill_twice(void *arg)
{
    size_t *counts = arg;
    for (size_t i = 0; i < 2; i++) {
        counts[i] = fill_to_limit();
        pthread_barrier_wait(&turn);
        pthread_barrier_wait(&turn);
    }
    return NULL;
}

/* At the limit, too, what another thread freed can be had again but for a little. */
static void run_limited(void)
{
    size_t counts[2] = { 0, 0 };
    instance = test_create(2 * TEST_MIB, EMMA_SHARED);
    void *own = emma_malloc(instance, BLOCK_BYTES);
    pthread_t producer;
    CHECK_EQ(pthread_create(&producer, NULL, fill_twice, counts), 0);
    for (size_t i = 0; i < 2; i++) {
        pthread_barrier_wait(&turn);
        for (size_t k = 0; k < counts[i]; k++)
            emma_free(instance, blocks[k]);
        pthread_barrier_wait(&turn);
    }
    CHECK_EQ(pthread_join(producer, NULL), 0);
    CHECK_GT(counts[1], counts[0] - counts[0] / 50);
    emma_free(instance, own);
    expect_live(0);
    emma_destroy(instance);
}

/* A stash that may hold less from now on gives the rest back. */
static void *fill_and_wait(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < BLOCKS; k++)
            CHECK((blocks[k] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
        pthread_barrier_wait(&turn);
        pthread_barrier_wait(&turn);
    }
    return NULL;
}

static void run_lower_limit(void)
{
    instance = test_create(16 * TEST_MIB, EMMA_SHARED);
    pthread_t producer;
    CHECK_EQ(pthread_create(&producer, NULL, fill_and_wait, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        pthread_barrier_wait(&turn);
        if (i)
            CHECK_EQ(emma_set_limit(instance, 2 * TEST_MIB + TEST_MIB / 2), EMMA_OK);
        for (size_t k = 0; k < BLOCKS; k++)
            emma_free(instance, blocks[k]);
        CHECK_EQ(test_stats(instance).live_blocks, 0);
        pthread_barrier_wait(&turn);
    }
    CHECK_EQ(pthread_join(producer, NULL), 0);
    void *block = emma_malloc(instance, 2 * TEST_MIB);
    CHECK(block != NULL);
    emma_free(instance, block);
    expect_live(0);
    emma_destroy(instance);
}

/* Verifying gives blocks back to slabs of threads that are gone: a trim has their memory all the same. */
static void run_check_and_trim(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    void *own = emma_malloc(instance, BLOCK_BYTES);
    for (size_t i = 0; i < 20; i++) {
        test_thread_run(fill_once, NULL);
        empty(0);
    }
    expect_live(1);
    emma_trim(instance);
    CHECK_LE(test_stats(instance).footprint_bytes, 512 * TEST_KIB);
    emma_free(instance, own);
    emma_destroy(instance);
}

int main(void)
{
    CHECK_EQ(pthread_barrier_init(&turn, NULL, 2), 0);
    run_consumer();
    run_exchange();
    run_death();
    run_detach();
    run_limited();
    run_lower_limit();
    run_check_and_trim();
    return 0;
}
