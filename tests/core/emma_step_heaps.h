/* emma_step_heaps.h - a call on the first of three shared instances, more than a thread remembers, that a handler stops
 * at one instruction after the other, each time in new instances: which heap does the thread go on with? For tests
 * that compile the core. The heap with the lowest number is left by another thread just before, or lives on. */
#ifndef EMMA_STEP_HEAPS_H
#define EMMA_STEP_HEAPS_H

#include "emma_step.h"
#include "emma_threads.h"

#include "../../core/emma.c"

enum { INSTANCES = 3, BYTES = 40 };

static emma *instances[INSTANCES];
static size_t stops_at, traps;
static bool stopped;
static pthread_barrier_t barrier;

/* By the handler: whether this is the instruction. */
static bool stops_here(void)
{
    if (traps++ != stops_at)
        return false;
    stopped = true;
    return true;
}

static void use(emma *instance)
{
    void *block = emma_malloc(instance, BYTES);
    CHECK(block != NULL);
    emma_free(instance, block);
}

/* Has a heap, which it leaves when the main thread has one, too: with a lower number than that. */
static void *leave_late(void *arg)
{
    use(instances[0]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    emma_thread_detach(instances[0]);
    return arg;
}

/* The thread finds its heap by its slot, as it has used others since, `rounds` times each. */
static void step_once(void (*call)(void), size_t rounds)
{
    pthread_t other;
    for (size_t i = 0; i < INSTANCES; i++)
        instances[i] = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    CHECK_EQ(pthread_create(&other, NULL, leave_late, NULL), 0);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < rounds * INSTANCES; i++)
        use(instances[i % INSTANCES]);
    pthread_barrier_wait(&barrier);
    CHECK_EQ(pthread_join(other, NULL), 0);
    stopped = false;
    traps = 0;
    call();
    for (size_t i = 0; i < INSTANCES; i++) {
        CHECK_EQ(emma_check(instances[i]), EMMA_OK);
        emma_destroy(instances[i]);
    }
}

/* The call has the traps on while it is inside the core. */
static void step_through(void (*handler)(int), void (*call)(void), size_t rounds)
{
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
    test_trap_to(handler);
    do {
        step_once(call, rounds);
        stops_at += TEST_STEP_STRIDE;
    } while (stopped);
    printf("%zu instructions\n", stops_at);
}

#endif
