/* test: whole uninstrumented */
/* While a thread that needs a heap asks about owners, others go on asking: it does not send those who come later
 * back to owners that were just found alive; nor does a search of all heaps. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { HEAPS = 40, OTHERS_AT = 30 };

static emma *instance;
static pthread_barrier_t together;
static bool others_come;

/* As if other threads had asked that far, between two questions of this one. */
static void before(long number)
{
    if (number == SYS_tgkill && others_come) {
        others_come = false;
        instance->control->adopt_cursor = OTHERS_AT;
    }
}

static void *live_at_once(void *arg)
{
    (void)arg;
    CHECK(emma_malloc(instance, 10) != NULL);
    pthread_barrier_wait(&together);
    return NULL;
}

static void *come_later(void *arg)
{
    (void)arg;
    CHECK(emma_malloc(instance, 10) != NULL);
    return NULL;
}

int main(void)
{
    static test_thread threads[HEAPS];
    fault.before = before;
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    CHECK(emma_malloc(instance, 10) != NULL); /* heap 1, whose owner lives */
    CHECK_EQ(pthread_barrier_init(&together, NULL, HEAPS), 0);
    test_threads_start(threads, HEAPS, live_at_once, 0);
    test_threads_join(threads, HEAPS);
    while (test_thread_count() > 1)
        continue;
    CHECK_EQ(instance->control->heap_count, HEAPS + 1);
    instance->control->adopt_cursor = 1;
    others_come = true;
    test_thread_run(come_later, NULL);
    CHECK(!others_come);
    CHECK_EQ(instance->control->adopt_cursor, OTHERS_AT);
    CHECK_EQ(instance->control->heap_count, HEAPS + 1);
    const size_t cursor = instance->control->adopt_cursor;
    emma_trim(instance); /* asks about all */
    CHECK_EQ(instance->control->adopt_cursor, cursor);
    emma_destroy(instance);
    return 0;
}
