/* test: whole plain uninstrumented */
/* A handler that leaves other instances than the one that it interrupts, at each instruction of an allocation for which
 * the thread finds its heap anew: the thread goes on with heaps that are its own. */
#include "emma_step.h"
#include "emma_threads.h"

#include "../../core/emma.c"

enum { INSTANCES = 3, BYTES = 40, FEW = 3 }; /* more instances than a thread remembers */

static emma *instances[INSTANCES];
static size_t stops_at, traps;
static bool stopped;

static void on_trap(int number)
{
    (void)number;
    if (traps++ != stops_at)
        return;
    stopped = true;
    for (size_t i = 1; i < INSTANCES; i++)
        emma_thread_detach(instances[i]);
}

static void use(emma *instance)
{
    void *block = emma_malloc(instance, BYTES);
    CHECK(block != NULL);
    memset(block, 1, BYTES);
    emma_free(instance, block);
}

/* No heap is open that the thread remembers and has left. */
static void expect_own(emma *instance)
{
    const emmai_heap *last = emmai_thread_last(instance);
    if (last)
        CHECK_EQ(emmai_thread_heap_of((emmai_heap *)(uintptr_t)last)->owner,
                 emmai_thread_id(emmai_thread_self()));
}

int main(void)
{
    test_trap_to(on_trap);
    for (size_t i = 0; i < INSTANCES; i++)
        instances[i] = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    do {
        for (size_t i = 0; i < 2 * INSTANCES; i++)
            use(instances[i % INSTANCES]);
        stopped = false;
        traps = 0;
        test_trap_on();
        use(instances[0]);
        test_trap_off();
        for (size_t i = 0; i < INSTANCES; i++) {
            expect_own(instances[i]);
            use(instances[i]);
            CHECK_LE(instances[i]->control->heap_count, FEW);
        }
        stops_at += TEST_STEP_STRIDE;
    } while (stopped);
    printf("%zu instructions\n", stops_at);
    CHECK_GT(stops_at, 100);
    for (size_t i = 0; i < INSTANCES; i++) {
        CHECK_EQ(emma_check(instances[i]), EMMA_OK);
        CHECK_EQ(test_stats(instances[i]).live_blocks, 0);
        emma_destroy(instances[i]);
    }
    return 0;
}
