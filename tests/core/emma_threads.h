/* emma_threads.h - threads that run one function each, with a generator of their own, to their end. */
#ifndef EMMA_THREADS_H
#define EMMA_THREADS_H

#include "emma_test.h"

#include <pthread.h>

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

/* Runs one thread from its beginning to its end. */
static inline void test_thread_run(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, body, arg), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

#endif
