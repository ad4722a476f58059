/* test: +hardened */
/* A fork by the raw system call while other threads allocate: in the child, which has one thread, the
 * instance works, old blocks can be freed, and new threads come and go. */
#include "emma_threads.h"
#include <sys/syscall.h>

enum { THREADS = 3, FORKS = 40, BLOCKS = 400, CHILD_THREADS = 4 };

static emma *instance;
static bool ending; /* atomic */
static void *kept[BLOCKS];

static void *churn(void *arg)
{
    test_rng rng = ((test_thread *)arg)->rng;
    void *own[64] = { NULL };
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED)) {
        void **slot = &own[test_below(&rng, TEST_COUNT(own))];
        emma_free(instance, *slot);
        *slot = emma_malloc(instance, test_random_size(&rng, 20000));
    }
    for (size_t i = 0; i < TEST_COUNT(own); i++)
        emma_free(instance, own[i]);
    return NULL;
}

static void use(test_rng *rng)
{
    void *own[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        const size_t bytes = 1 + test_below(rng, 3000);
        own[i] = emma_malloc(instance, bytes);
        CHECK(own[i] != NULL);
        memset(own[i], 0x77, bytes);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, own[i]);
}

static void *use_in_thread(void *arg)
{
    use(&((test_thread *)arg)->rng);
    return NULL;
}

static void be_child(uint64_t seed)
{
    test_rng rng = test_rng_from(seed);
    use(&rng);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(kept[i], 100, i));
        emma_free(instance, kept[i]);
    }
    for (size_t i = 0; i < CHILD_THREADS; i++) {
        test_thread thread;
        test_threads_start(&thread, 1, use_in_thread, seed + i + 1);
        use(&rng); /* while it runs */
        test_threads_join(&thread, 1);
    }
    use(&rng);
    _exit(0);
}

int main(int argc, char **argv)
{
    if (TEST_SHADOW_MEMORY)
        test_skip("a sanitizer's own threads and locks do not survive a raw fork");
    const uint64_t seed = test_choose_seed(argc, argv, 32000);
    instance = test_create(256 * TEST_MIB, EMMA_SHARED);
    for (size_t i = 0; i < BLOCKS; i++) {
        kept[i] = emma_malloc(instance, 100);
        test_fill(kept[i], 100, i);
    }
    test_thread threads[THREADS];
    test_threads_start(threads, THREADS, churn, seed + 100);
    for (size_t i = 0; i < FORKS; i++) {
        /* Not fork(): the C library would take its own locks first. */
        const long child = syscall(SYS_fork);
        CHECK_GE(child + 1, 1);
        if (child == 0)
            be_child(seed + 1000 * i);
        int status;
        CHECK_EQ(waitpid((pid_t)child, &status, 0), child);
        CHECK_EQ(status, 0);
    }
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    test_threads_join(threads, THREADS);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
