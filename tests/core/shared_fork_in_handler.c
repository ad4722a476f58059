/* test: whole plain uninstrumented */
/* A handler that forks at each instruction of an allocation; in the child it learns its new id, takes another heap, and
 * empties what is nobody's. The interrupted call goes on with a heap that is its thread's, and no other thread takes it. */
#include <sys/syscall.h>
#include <sys/wait.h>

#include "emma_step.h"
#include "emma_threads.h"

#include "../../core/emma.c"

enum { INSTANCES = 3, BYTES = 40 }; /* more instances than a thread remembers */

static emma *instances[INSTANCES];
static size_t stops_at, traps;
static bool stopped, in_child;
static int child_status;
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
    if (in_child || traps++ != stops_at)
        return;
    stopped = true;
    const long child = syscall(SYS_fork);
    CHECK_GE(child, 0);
    if (child) {
        CHECK_EQ(waitpid((pid_t)child, &child_status, 0), child);
        return;
    }
    in_child = true;
    emma_trim(instances[0]);
    use(instances[0]);
    emma_trim(instances[0]);
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

static void allocate_once(void)
{
    pthread_t other;
    for (size_t i = 0; i < INSTANCES; i++)
        instances[i] = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    CHECK_EQ(pthread_create(&other, NULL, leave_late, NULL), 0);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < INSTANCES; i++)
        use(instances[i]);
    pthread_barrier_wait(&barrier);
    CHECK_EQ(pthread_join(other, NULL), 0);
    stopped = false;
    traps = 0;
    test_trap_on();
    void *block = emma_malloc(instances[0], BYTES);
    test_trap_off();
    if (in_child) {
        verify_child();
        _exit(0);
    }
    CHECK(!stopped || (WIFEXITED(child_status) && WEXITSTATUS(child_status) == 0));
    emma_free(instances[0], block);
    for (size_t i = 0; i < INSTANCES; i++)
        emma_destroy(instances[i]);
}

int main(void)
{
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
    test_trap_to(on_trap);
    do {
        allocate_once();
        stops_at += TEST_STEP_STRIDE;
    } while (stopped);
    CHECK_GT(stops_at, 100);
    return 0;
}
