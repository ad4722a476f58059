/* test: whole uninstrumented plain */
/* A thread of a shared instance dies, by the kernel's own call, after each instruction that follows upon pages being
 * given back, until the trim that does so is over: no page stays counted that nobody has, once the instance
 * is reset. */
#include "emma_fault.h"
#include "emma_step.h"
#include "emma_threads.h"

enum { RUN_BYTES = 100000, DEATHS_MIN = 100, DEATHS_MAX = 20000 };

static emma *instance;
static size_t traps, traps_max;
static _Thread_local bool dies;

static void on_trap(int number)
{
    (void)number;
    if (++traps == traps_max)
        syscall(SYS_exit, 0);
}

/* The processor's trap is on from the first time that pages are given back. */
static bool answer(long number, const long arguments[6], long *result)
{
    if (number != SYS_madvise || !dies)
        return false;
    dies = false;
    *result = fault_make(number, arguments);
    test_trap_on();
    return true;
}

static void *be_victim(void *arg)
{
    (void)arg;
    emma_free(instance, emma_malloc(instance, RUN_BYTES));
    dies = true;
    emma_trim(instance);
    test_trap_off();
    return NULL;
}

/* False when the trim was over before. */
static bool kill_after(size_t instructions)
{
    traps = 0;
    traps_max = instructions;
    test_thread_run(be_victim, NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_EQ(test_stats(instance).abandoned_bytes, 0);
    test_compare_chunks(instance);
    return traps == instructions;
}

int main(void)
{
    size_t deaths = 0, after = 1;
    test_trap_to(on_trap);
    fault.replace = answer;
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    for (; kill_after(after); after += TEST_STEP_STRIDE)
        CHECK_LT(++deaths, DEATHS_MAX);
    printf("%zu deaths\n", deaths);
    CHECK_GT(deaths, DEATHS_MIN);
    emma_destroy(instance);
    return 0;
}
