/* test: whole plain uninstrumented */
/* A handler that allocates at each instruction of emma_thread_detach: whatever it is served from, the
 * thread does not go on with a heap that it has left, and that another thread has by then. */
#include "emma_step_heaps.h"

static void on_trap(int number)
{
    (void)number;
    if (stops_here())
        use(instances[0]);
}

static void leave(void)
{
    test_trap_on();
    emma_thread_detach(instances[0]);
    test_trap_off();
    emmai_heap *heap = emmai_thread_last(instances[0]);
    CHECK(!heap || emmai_thread_heap_of(heap)->owner == emmai_thread_id(emmai_thread_self()));
}

int main(void)
{
    step_through(on_trap, leave, 2);
    CHECK_GT(stops_at, 20);
    return 0;
}
