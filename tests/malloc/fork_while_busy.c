/* Forks while other threads allocate: the child allocates, frees what it inherited, and makes threads. */
#include "malloc_test.h"

enum { THREADS = 3, FORKS = 60, BLOCKS = 300 };

static bool ending; /* atomic */
static void *kept[BLOCKS];

static void *churn(void *arg)
{
    test_rng rng = { (uintptr_t)arg * 2 + 1 };
    void *own[64] = { NULL };
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED)) {
        void **slot = &own[test_below(&rng, TEST_COUNT(own))];
        free(*slot);
        *slot = malloc(test_random_size(&rng, 20000));
    }
    for (size_t i = 0; i < TEST_COUNT(own); i++)
        free(own[i]);
    return NULL;
}

static void *use(void *arg)
{
    void *own[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        own[i] = malloc(i * 10 + 1);
        CHECK(own[i] != NULL);
        memset(own[i], 0x77, i * 10 + 1);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(own[i]);
    return arg;
}

static void be_child(void)
{
    use(NULL);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(kept[i], 100, i));
        free(kept[i]);
    }
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, use, NULL), 0);
    use(NULL);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    exit(0); /* with exit handlers and destructors */
}

int main(void)
{
    malloc_test_serves();
    for (size_t i = 0; i < BLOCKS; i++) {
        kept[i] = malloc(100);
        test_fill(kept[i], 100, i);
    }
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (size_t i = 0; i < FORKS; i++) {
        const pid_t child = fork();
        CHECK_GE(child + 1, 1);
        if (child == 0)
            be_child();
        int status;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
    }
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    return 0;
}
