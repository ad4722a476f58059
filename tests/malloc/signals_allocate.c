/* Signal handlers that allocate and free, in two threads that do so themselves: none is refused. */
#include "malloc_test.h"

enum { THREADS = 2, SERVED = 2000, SLOTS = 200 };

static unsigned served; /* atomic */
static void *handed_over; /* atomic */

static void handler(int signal_number)
{
    (void)signal_number;
    const int error = errno;
    unsigned char *block = malloc(72);
    CHECK(block != NULL);
    memset(block, 0x31, 72);
    free(__atomic_exchange_n(&handed_over, block, __ATOMIC_ACQ_REL));
    __atomic_add_fetch(&served, 1, __ATOMIC_RELAXED);
    errno = error;
}

/* However busy the machine is: how often a handler runs is up to its scheduler. */
static bool is_enough(void)
{
    return __atomic_load_n(&served, __ATOMIC_RELAXED) >= SERVED;
}

static void *work(void *arg)
{
    test_rng rng = { (uintptr_t)arg * 2 + 1 };
    struct block {
        void *at;
        size_t bytes;
    } own[SLOTS] = { { NULL, 0 } };
    while (!is_enough())
        for (size_t i = 0; i < 1000; i++) {
            struct block *b = &own[test_below(&rng, SLOTS)];
            if (b->at)
                CHECK(test_filled(b->at, b->bytes, (uintptr_t)b));
            free(b->at);
            b->bytes = test_random_size(&rng, 3000);
            b->at = malloc(b->bytes);
            CHECK(b->at != NULL);
            test_fill(b->at, b->bytes, (uintptr_t)b);
        }
    for (size_t i = 0; i < SLOTS; i++)
        free(own[i].at);
    return NULL;
}

int main(void)
{
    malloc_test_serves();
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    CHECK_EQ(sigaction(SIGPROF, &action, NULL), 0);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
    while (!is_enough()) /* a thread that has just ended takes none, which is no error */
        for (size_t i = 0; i < THREADS; i++)
            CHECK_EQ(pthread_kill(threads[i], SIGPROF), 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    free(handed_over);
    return 0;
}
