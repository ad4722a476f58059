/* 1,000 threads alive at once in a shared instance, each with blocks of its own, which another one
 * verifies and frees; and then 1,000 more, which take over the heaps of those that ended: memory does
 * not grow. */
#include "emma_threads.h"

enum {
    THREADS = TEST_SHADOW_MEMORY ? 200 : 1000,
    GENERATIONS = 3,
    BLOCKS = 12,
    STACK_BYTES = 128 * 1024
};

static emma *instance;
static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t barrier;

/* The same in each thread: a heap keeps a slab of each class that it ever had a block of. */
static size_t size_of(size_t block)
{
    return block * 97 % 700 + 1;
}

static void *work(void *arg)
{
    const size_t me = ((test_thread *)arg)->number;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[me][i] = emma_malloc(instance, size_of(i));
        CHECK(blocks[me][i] != NULL);
        test_fill(blocks[me][i], size_of(i), me);
    }
    pthread_barrier_wait(&barrier); /* all are alive and have a heap */
    const size_t other = (me + THREADS / 2) % THREADS;
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[other][i], size_of(i), other));
        emma_free(instance, blocks[other][i]);
        emma_free(instance, emma_malloc(instance, size_of(i)));
    }
    return NULL;
}

/* Returns what all threads together made of the instance. */
static size_t run_generation(void)
{
    static test_thread threads[THREADS];
    test_threads_start(threads, THREADS, work, 0);
    test_threads_join(threads, THREADS);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    return test_stats(instance).footprint_bytes;
}

int main(void)
{
    pthread_attr_t attributes;
    CHECK_EQ(pthread_attr_init(&attributes), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
    if (!TEST_SHADOW_MEMORY) /* their threads need more */
        CHECK_EQ(pthread_setattr_default_np(&attributes), 0);
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    CHECK(freopen("/dev/null", "w", stdout) != NULL); /* a line for each thread */
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    const size_t first = run_generation();
    for (size_t i = 1; i < GENERATIONS; i++)
        CHECK_LE(run_generation(), first + first / 16);
    emma_destroy(instance);
    return 0;
}
