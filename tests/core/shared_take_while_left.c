/* test: whole plain uninstrumented */
/* A thread takes a heap that another one is just leaving, at every other instruction; and at every other one
 * after that a signal handler of its allocates, when the other is gone. At the limit there is no other heap:
 * the thread goes on with none that is another's, or nobody's. */
#include "emma_step.h"
#include "emma_threads.h"

#include <semaphore.h>

#include "../../core/emma.c"

#if defined(__OPTIMIZE__)
enum { STRIDE = 2 };
#else
enum { STRIDE = 10 };
#endif
enum { BYTES = 40, LATER_MAX = 5 * STRIDE };

static emma *instance;
static emmai_thread_heap *left; /* the one heap there is: nobody's, and idle */
static size_t begins_at, later, traps, traps_since;
static size_t taken_closed; /* how often the heap was found closed */
static bool begun, taken, was_closed, handled, parked, stays;
static sem_t may_take, leaving, may_leave, gone, stayed, may_end;
static pthread_t stayer;
static _Thread_local bool is_leaver;

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue;
}

/* Takes the heap and leaves it; stops where it is nobody's and not open yet. */
static void *take_and_leave(void *arg)
{
    is_leaver = true;
    wait_for(&may_take);
    emma_free(instance, emma_malloc(instance, BYTES));
    test_trap_on();
    emma_thread_detach(instance);
    test_trap_off();
    sem_post(&leaving); /* where it had none to leave */
    sem_post(&gone);
    return arg;
}

/* Takes the heap if it was given back, and lives. */
static void *stay(void *arg)
{
    is_leaver = true;
    emma_free(instance, emma_malloc(instance, BYTES));
    sem_post(&stayed);
    wait_for(&may_end);
    return arg;
}

static void trap_of_leaver(void)
{
    if (parked || emmai_sync_get(&left->owner) || emmai_shared_is_idle(left))
        return;
    parked = true;
    sem_post(&leaving);
    wait_for(&may_leave);
}

static void let_leave(void)
{
    handled = true;
    sem_post(&may_leave);
    wait_for(&gone);
}

static void on_trap(int number)
{
    (void)number;
    if (is_leaver) {
        trap_of_leaver();
        return;
    }
    if (!begun) {
        if (traps++ == begins_at) {
            begun = true;
            sem_post(&may_take);
            wait_for(&leaving);
        }
        return;
    }
    if (!taken && emmai_sync_get(&left->owner)) {
        taken = true;
        was_closed = !emmai_shared_is_idle(left);
        taken_closed += was_closed;
    }
    if (handled && !stays && !emmai_sync_get(&left->owner)) {
        stays = true;
        CHECK_EQ(pthread_create(&stayer, NULL, stay, NULL), 0);
        wait_for(&stayed);
    }
    if (!taken || handled || traps_since++ != later)
        return;
    let_leave();
    emma_free(instance, emma_malloc(instance, BYTES));
    instance->control->limit_pages = 1; /* no further heap */
}

static void *use_and_leave(void *arg)
{
    emma_free(instance, emma_malloc(instance, BYTES));
    emma_thread_detach(instance);
    return arg;
}

static void *take(void *arg)
{
    test_trap_on();
    emma_malloc(instance, BYTES);
    test_trap_off();
    if (begun && !handled)
        let_leave();
    emmai_heap *heap = emmai_thread_last(instance);
    if (heap)
        CHECK_EQ(emmai_thread_heap_of(heap)->owner, emmai_thread_id(emmai_thread_self()));
    return arg;
}

static void take_once(void)
{
    sem_t *all[] = { &may_take, &leaving, &may_leave, &gone, &stayed, &may_end };
    for (size_t i = 0; i < TEST_COUNT(all); i++)
        CHECK_EQ(sem_init(all[i], 0, 0), 0);
    begun = taken = was_closed = handled = parked = stays = false;
    traps = traps_since = 0;
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    test_thread_run(use_and_leave, NULL);
    left = emmai_shared_heap_at(instance, 1);
    CHECK(left && !left->owner);
    pthread_t leaver;
    CHECK_EQ(pthread_create(&leaver, NULL, take_and_leave, NULL), 0);
    test_thread_run(take, NULL);
    if (!begun) {
        sem_post(&may_take);
        sem_post(&may_leave);
    }
    CHECK_EQ(pthread_join(leaver, NULL), 0);
    if (stays) {
        sem_post(&may_end);
        CHECK_EQ(pthread_join(stayer, NULL), 0);
    }
    emma_destroy(instance);
}

int main(void)
{
    test_trap_to(on_trap);
    do {
        later = 0;
        do
            take_once();
        while (begun && was_closed && (later += STRIDE) < LATER_MAX);
        begins_at += STRIDE;
    } while (begun);
    CHECK_GT(begins_at, 100);
    CHECK_GT(taken_closed, LATER_MAX / STRIDE);
    return 0;
}
