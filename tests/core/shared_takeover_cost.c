/* test: whole */
/* With many threads alive, one that comes asks the kernel about few of them, whether there is a heap to
 * take over or not. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { THREADS = 500, GENERATIONS = 4, ASKED_MAX = 20 };

static emma *instance;
static pthread_barrier_t barrier;
static size_t asked; /* atomic */

static void count(long number)
{
    if (number == SYS_tgkill)
        __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
}

static void *work(void *arg)
{
    void *block = emma_malloc(instance, 40);
    CHECK(block != NULL);
    emma_free(instance, block);
    pthread_barrier_wait(&barrier);
    return arg;
}

int main(void)
{
    static test_thread threads[THREADS];
    CHECK(freopen("/dev/null", "w", stdout) != NULL); /* a line for each thread */
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    fault.before = count;
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    for (size_t i = 0; i < GENERATIONS; i++) {
        asked = 0;
        test_threads_start(threads, THREADS, work, 0);
        test_threads_join(threads, THREADS);
        CHECK_LE(asked, (size_t)THREADS * ASKED_MAX);
    }
    emma_destroy(instance);
    return 0;
}
