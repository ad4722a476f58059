/* test: whole plain uninstrumented */
/* A handler that forks at each instruction of an allocation; in the child it learns its new id, takes another heap, and
 * empties what is nobody's. The interrupted call goes on with a heap that is its thread's, and no other thread takes it. */
#include "emma_step_heaps.h"

#include <sys/syscall.h>

static bool in_child;

static void on_trap(int number)
{
    (void)number;
    if (!stops_here())
        return;
    int status;
    const long child = syscall(SYS_fork);
    CHECK_GE(child, 0);
    if (child) {
        CHECK_EQ(waitpid((pid_t)child, &status, 0), child);
        CHECK_EQ(status, 0);
        return;
    }
    in_child = true;
    emma_trim(instances[0]);
    use(instances[0]);
    emma_trim(instances[0]);
    test_trap_end();
}

static void *find_heap(void *heap)
{
    use(instances[0]);
    *(emmai_heap **)heap = emmai_thread_last(instances[0]);
    return NULL;
}

static void verify_child(void)
{
    emmai_heap *heap = emmai_thread_last(instances[0]);
    emmai_heap *others = NULL;
    CHECK(heap != NULL);
    /* By its number alone: it may be the one it had before the fork. */
    CHECK_EQ((uint32_t)emmai_thread_heap_of(heap)->owner,
             (uint32_t)emmai_thread_id(emmai_thread_self()));
    test_thread_run(find_heap, &others);
    CHECK(others != heap);
    CHECK_EQ(emma_check(instances[0]), EMMA_OK);
}

static void allocate(void)
{
    test_trap_on();
    void *block = emma_malloc(instances[0], BYTES);
    test_trap_off();
    if (in_child) {
        verify_child();
        _exit(0);
    }
    emma_free(instances[0], block);
}

int main(void)
{
    step_through(on_trap, allocate, 1);
    CHECK_GT(stops_at, 100);
    return 0;
}
