/* test: whole plain */
/* A core without thread-local storage finds each thread's heap by asking the kernel who calls. A child that shares
 * the parent's memory (vfork) is nobody then: it gets nothing, and takes nothing back from heaps. */
#include "emma_threads.h"
#define EMMA_TLS 0
#include "../../core/emma.c"

enum { THREADS = 4, STEPS = 20000, SLOTS = 100 };

static emma *instance;
static void *handed_over[SLOTS]; /* atomic */

static void *work(void *arg)
{
    test_rng rng = ((test_thread *)arg)->rng;
    for (size_t i = 0; i < STEPS; i++) {
        const size_t bytes = 8 + test_below(&rng, 500);
        unsigned char *block = emma_malloc(instance, bytes);
        CHECK(block != NULL);
        memset(block, 0x11, bytes);
        emma_free(instance, __atomic_exchange_n(&handed_over[test_below(&rng, SLOTS)], block,
                                                __ATOMIC_ACQ_REL));
    }
    return NULL;
}

static void in_vfork(void)
{
    static void *volatile got;
    static volatile enum emma_status status;
    got = instance;
    void *block = emma_malloc(instance, 2 * TEST_MIB);
    CHECK(block != NULL);
    const pid_t child = vfork();
    if (child == 0) {
        got = emma_malloc(instance, 64);
        status = emma_set_limit(instance, TEST_MIB);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_EQ(got, NULL);
    CHECK_EQ(status, EMMA_NO_MEMORY);
    emma_free(instance, block);
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 36000);
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    test_thread threads[THREADS];
    test_threads_start(threads, THREADS, work, seed);
    test_threads_join(threads, THREADS);
    for (size_t i = 0; i < SLOTS; i++)
        emma_free(instance, handed_over[i]);
    in_vfork();
    emma_thread_detach(instance);
    emma_trim(instance);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
    return 0;
}
