/* test: whole */
/* The decay, which empties what dead threads left, keeps out of a reset; and of itself, however many heaps there are and
 * however often it is due. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { BLOCKS = 3000, BLOCK_BYTES = 48, CLASSES = 24, HEAPS = 500 };
#define STACK_BYTES ((size_t)112 * TEST_KIB)

static emma *instance;
static void *blocks[BLOCKS];
static volatile size_t released_bytes = 100000; /* a run, in whatever size chunks are */
static pthread_barrier_t together;

static emma *create(size_t decay_ms)
{
    emma_options options = test_options();
    options.flags = EMMA_SHARED;
    options.decay_ms = decay_ms;
    memset(&fault, 0, sizeof fault);
    fault.clock_ms = 1000;
    emma *made = emma_create(&options);
    CHECK(made != NULL);
    return made;
}

static void *release(void *arg)
{
    for (size_t i = 0; i < EMMAI_DECAY_RELEASES; i++)
        emma_free(instance, emma_malloc(instance, released_bytes));
    return arg;
}

static void *fill(void *arg)
{
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    return arg;
}

/* A reset while a decay is due, and blocks wait to be taken back by a heap that is cold. */
static void run_reset(void)
{
    instance = create(EMMA_DECAY_DEFAULT_MS);
    for (size_t round = 0; round < 5; round++) {
        release(NULL);
        test_thread_run(fill, NULL);
        for (size_t i = 0; i < BLOCKS; i++)
            emma_free(instance, blocks[i]);
        for (size_t i = 0; i < 3; i++) {
            fault.clock_ms += EMMA_DECAY_DEFAULT_MS;
            if (i == round % 3)
                CHECK_EQ(emma_reset(instance), EMMA_OK);
            release(NULL);
        }
        fault.clock_ms += EMMA_DECAY_DEFAULT_MS;
        CHECK_EQ(emma_reset(instance), EMMA_OK);
        CHECK_EQ(test_stats(instance).live_blocks, 0);
        CHECK_EQ(emma_check(instance), EMMA_OK);
    }
    emma_destroy(instance);
}

/* Leaves a heap with slabs of many classes. */
static void *use_and_die(void *arg)
{
    for (size_t i = 0; i < CLASSES; i++)
        emma_free(instance, emma_malloc(instance, 64 + i * i * 8));
    pthread_barrier_wait(&together);
    return arg;
}

/* With a period of no length, every sixteenth release is due, those of the decay itself too. */
static void run_depth(void)
{
    static test_thread threads[HEAPS];
    pthread_attr_t small;
    pthread_t thread;
    instance = create(0);
    CHECK_EQ(pthread_barrier_init(&together, NULL, HEAPS), 0);
    test_threads_start(threads, HEAPS, use_and_die, 1);
    test_threads_join(threads, HEAPS);
    CHECK_EQ(pthread_barrier_destroy(&together), 0);
    const size_t before = test_stats(instance).footprint_bytes;
    CHECK_EQ(pthread_attr_init(&small), 0);
    CHECK_EQ(pthread_attr_setstacksize(&small, STACK_BYTES), 0);
    for (size_t i = 0; i < HEAPS; i++) {
        CHECK_EQ(pthread_create(&thread, &small, release, NULL), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    CHECK_EQ(pthread_attr_destroy(&small), 0);
    CHECK_LT(test_stats(instance).footprint_bytes, before / 2);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    CHECK(freopen("/dev/null", "w", stdout) != NULL); /* a line for each thread */
    run_reset();
    run_depth();
    return 0;
}
