/* emma_threads.h - threads that run one function each, with a generator of their own, to their end. */
#ifndef EMMA_THREADS_H
#define EMMA_THREADS_H

#include "emma_test.h"

#include <pthread.h>
#include <sys/stat.h>

/* What a thread's function is given; it outlives the thread. */
typedef struct test_thread {
    pthread_t id;
    size_t number; /* from 0 */
    test_rng rng;  /* from the seed + number */
} test_thread;

static inline void test_threads_start(test_thread *threads, size_t count, void *(*body)(void *),
                                      uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        threads[i].number = i;
        threads[i].rng = test_rng_from(seed + i);
        CHECK_EQ(pthread_create(&threads[i].id, NULL, body, &threads[i]), 0);
    }
    test_seed = seed; /* the one that repeats them all */
}

static inline void test_threads_join(test_thread *threads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK_EQ(pthread_join(threads[i].id, NULL), 0);
}

/* Threads that the process has for the kernel. */
static inline size_t test_thread_count(void)
{
    struct stat tasks;
    CHECK_EQ(stat("/proc/self/task", &tasks), 0);
    return (size_t)tasks.st_nlink - 2; /* . and .. */
}

/* Runs a thread to its end, which for the kernel comes a moment after it was joined. */
static inline void test_thread_run(void *(*body)(void *), void *arg)
{
    enum { WAITS_MAX = 20000, WAIT_US = 50 };
    const size_t before = test_thread_count();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, body, arg), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    for (int i = 0; i < WAITS_MAX && test_thread_count() > before; i++)
        usleep(WAIT_US);
}

#endif
