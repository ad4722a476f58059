/* test: whole plain uninstrumented */
/* A handler that allocates at each instruction of emma_thread_detach: whatever it is served from, the
 * thread does not go on with a heap that it has left, and that another thread has by then. */
#include "emma_step.h"
#include "emma_threads.h"

#include "../../core/emma.c"

enum { INSTANCES = 3, BYTES = 40 };

static emma *instances[INSTANCES];
static size_t stops_at, traps;
static bool stopped;
static pthread_barrier_t barrier;

static void use(emma *instance)
{
    void *block = emma_malloc(instance, BYTES);
    CHECK(block != NULL);
    emma_free(instance, block);
}

static void on_trap(int number)
{
    (void)number;
    if (traps++ != stops_at)
        return;
    stopped = true;
    use(instances[0]);
}

/* Leaves the heap with the lowest number to the handler. */
static void *use_and_leave(void *arg)
{
    use(instances[0]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    emma_thread_detach(instances[0]);
    return arg;
}

/* More instances than a thread remembers, again and again, so that it finds its heap by its slot. */
static void use_all(void)
{
    for (size_t i = 0; i < 2 * INSTANCES; i++)
        use(instances[i % INSTANCES]);
}

static void leave_once(void)
{
    pthread_t other;
    for (size_t i = 0; i < INSTANCES; i++)
        instances[i] = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    CHECK_EQ(pthread_create(&other, NULL, use_and_leave, NULL), 0);
    pthread_barrier_wait(&barrier);
    use_all();
    pthread_barrier_wait(&barrier);
    CHECK_EQ(pthread_join(other, NULL), 0);
    stopped = false;
    traps = 0;
    test_trap_on();
    emma_thread_detach(instances[0]);
    test_trap_off();
    emmai_thread_heap *heap = (emmai_thread_heap *)(void *)emmai_thread_last(instances[0]);
    CHECK(!heap || heap->owner == emmai_thread_id(emmai_thread_self()));
    for (size_t i = 0; i < INSTANCES; i++) {
        CHECK_EQ(emma_check(instances[i]), EMMA_OK);
        emma_destroy(instances[i]);
    }
}

int main(void)
{
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
    test_trap_to(on_trap);
    do {
        leave_once();
        stops_at += TEST_STEP_STRIDE;
    } while (stopped);
    CHECK(stops_at > 1);
    return 0;
}
