/* test: whole */
/* What a thread leaves that ends without a word comes back within a few decay periods if no thread takes its
 * heap; where one does, it finds everything as it was. The clock is the test's own. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { SIZES = 24, PERIODS = 3, THREADS = 5 };

static emma *instance;
static volatile size_t released_bytes = 100000; /* a run, in whatever size chunks are */
static pthread_barrier_t together;

/* Leaves a slab of each of many classes, empty, and others that the heap holds. */
static void *use_and_die(void *arg)
{
    (void)arg;
    void *blocks[SIZES];
    for (size_t i = 0; i < SIZES; i++) {
        blocks[i] = emma_malloc(instance, 64 + i * i * 8);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], 64 + i * i * 8, i);
    }
    pthread_barrier_wait(&together);
    for (size_t i = 0; i < SIZES; i++)
        emma_free(instance, blocks[i]);
    return NULL;
}

/* A decay period in which chunks are released. */
static void live_on(void)
{
    fault.clock_ms += EMMA_DECAY_DEFAULT_MS;
    for (size_t i = 0; i < EMMAI_DECAY_RELEASES; i++)
        emma_free(instance, emma_malloc(instance, released_bytes));
}

/* A thread that was joined may exist for the kernel a moment longer. */
static void wait_until_alone(void)
{
    while (test_thread_count() > 1)
        continue;
}

static void run_threads(size_t count)
{
    test_thread threads[THREADS];
    CHECK_EQ(pthread_barrier_init(&together, NULL, (unsigned)count), 0);
    test_threads_start(threads, count, use_and_die, 1);
    test_threads_join(threads, count);
    CHECK_EQ(pthread_barrier_destroy(&together), 0);
    wait_until_alone();
}

/* Returns what is in use, by blocks or by heaps, after some periods. In each a thread comes and goes if `go_on`. */
static size_t used_after(size_t decay_ms, size_t threads, bool go_on)
{
    emma_options options = test_options();
    options.flags = EMMA_SHARED;
    options.decay_ms = decay_ms;
    memset(&fault, 0, sizeof fault);
    fault.clock_ms = 1000;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    emma_free(instance, emma_malloc(instance, 1));
    live_on(); /* the first look at the clock begins a period */
    run_threads(threads);
    for (size_t i = 0; i < PERIODS; i++) {
        if (go_on)
            run_threads(1);
        live_on();
    }
    const emma_stats stats = test_stats(instance);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return stats.footprint_bytes - stats.retained_bytes;
}

int main(void)
{
    const size_t stays = used_after(EMMA_DECAY_NEVER, THREADS, false);
    const size_t one = used_after(EMMA_DECAY_NEVER, 1, false);
    const size_t none = used_after(EMMA_DECAY_DEFAULT_MS, 1, false);
    const size_t some = used_after(EMMA_DECAY_DEFAULT_MS, THREADS, false);
    const size_t warm = used_after(EMMA_DECAY_DEFAULT_MS, THREADS, true);
    printf("KiB: %zu stay of %d, %zu of one; %zu and %zu after decay, %zu with one that goes on\n",
           stays / TEST_KIB, THREADS, one / TEST_KIB, some / TEST_KIB, none / TEST_KIB,
           warm / TEST_KIB);
    CHECK_LT(some, stays / 2);
    CHECK_LT(none, one);
    CHECK_LT(warm, stays / 2); /* the others' */
    CHECK_GT(warm, some);      /* not its own */
    return 0;
}
