/* Signal handlers that allocate meet threads that begin and end: no heap has two owners, so contents stay. */
#include "malloc_test.h"
#include <sys/time.h>

enum { SPAWNERS = 3, RUN_MS = 1000, PERIOD_US = 50, BLOCKS = 40 };

static unsigned served; /* atomic */
static void *handed_over; /* atomic */
static bool ending;       /* atomic */

static void handler(int signal_number)
{
    (void)signal_number;
    const int error = errno;
    unsigned char *block = malloc(48);
    CHECK(block != NULL);
    test_fill(block, 48, 7);
    unsigned char *old = __atomic_exchange_n(&handed_over, block, __ATOMIC_ACQ_REL);
    CHECK(!old || test_filled(old, 48, 7));
    free(old);
    __atomic_add_fetch(&served, 1, __ATOMIC_RELAXED);
    errno = error;
}

static void *be_short(void *arg)
{
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(i * 3 + 8);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], i * 3 + 8, i + (uintptr_t)arg);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[i], i * 3 + 8, i + (uintptr_t)arg));
        free(blocks[i]);
    }
    return NULL;
}

static void *spawn(void *arg)
{
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED)) {
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, be_short, arg), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    return NULL;
}

static void block_alarms(int how)
{
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    CHECK_EQ(pthread_sigmask(how, &alarms, NULL), 0);
}

int main(void)
{
    malloc_test_serves();
    const struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    pthread_t threads[SPAWNERS];
    for (size_t i = 0; i < SPAWNERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, spawn, (void *)(i * 1000)), 0);
    block_alarms(SIG_BLOCK); /* the others take them */
    const struct itimerval often = { { 0, PERIOD_US }, { 0, PERIOD_US } }, never = { { 0, 0 }, { 0, 0 } };
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    usleep(RUN_MS * 1000);
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < SPAWNERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    free(handed_over);
    CHECK_GT(served, 50);
    return 0;
}
