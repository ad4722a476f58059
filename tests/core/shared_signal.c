/* test: +hardened */
/* A signal handler that allocates and frees in the shared instance that it interrupts, many thousand
 * times a second, in several threads: it is served, and nothing is damaged. */
#include "emma_threads.h"

enum { THREADS = 2, RUN_MS = 1500, SLOTS = 200 };

static emma *instance;
static unsigned served;   /* atomic */
static void *handed_over; /* atomic */

static void handler(int signal_number)
{
    (void)signal_number;
    unsigned char *block = emma_malloc(instance, 72);
    CHECK(block != NULL);
    memset(block, 0x31, 72);
    void *old = __atomic_exchange_n(&handed_over, block, __ATOMIC_ACQ_REL);
    emma_free(instance, old);
    __atomic_add_fetch(&served, 1, __ATOMIC_RELAXED);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void *work(void *arg)
{
    test_rng rng = ((test_thread *)arg)->rng;
    struct block {
        void *at;
        size_t bytes;
    } own[SLOTS] = { { NULL, 0 } };
    for (const uint64_t end = now_ms() + RUN_MS; now_ms() < end;)
        for (size_t i = 0; i < 1000; i++) {
            struct block *b = &own[test_below(&rng, SLOTS)];
            if (b->at)
                CHECK(test_filled(b->at, b->bytes, (uintptr_t)b));
            emma_free(instance, b->at);
            b->bytes = test_random_size(&rng, 3000);
            b->at = emma_malloc(instance, b->bytes);
            CHECK(b->at != NULL);
            test_fill(b->at, b->bytes, (uintptr_t)b);
        }
    for (size_t i = 0; i < SLOTS; i++)
        emma_free(instance, own[i].at);
    return NULL;
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 33000);
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    CHECK_EQ(sigaction(SIGPROF, &action, NULL), 0);
    test_thread threads[THREADS];
    test_threads_start(threads, THREADS, work, seed);
    for (const uint64_t end = now_ms() + RUN_MS - 100; now_ms() < end;)
        for (size_t i = 0; i < THREADS; i++)
            CHECK_EQ(pthread_kill(threads[i].id, SIGPROF), 0);
    test_threads_join(threads, THREADS);
    emma_free(instance, handed_over);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_GT(served, 50); /* signals that come before the last was taken are one */
    emma_destroy(instance);
    return 0;
}
