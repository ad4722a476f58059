/* test: uninstrumented */
/* A thread dies at each instruction of freeing a block of several chunks: what it leaves is lost at worst. The
 * instance is sound, can be walked, and is emptied by a reset. */
#include "emma_step.h"
#include "emma_threads.h"
#include <sys/syscall.h>

enum { LARGE_BYTES = 40000, HANG_SECONDS = 60, STRIDE = TEST_SLOW_BUILD ? 7 : 1 };

static emma *instance;
static size_t dies_at, traps;
static bool died;

static void on_trap(int number)
{
    (void)number;
    if (traps++ != dies_at)
        return;
    died = true;
    syscall(SYS_exit, 0);
}

static void *free_large(void *arg)
{
    void *large = emma_malloc(instance, LARGE_BYTES);
    CHECK(large != NULL);
    traps = 0;
    test_trap_on();
    emma_free(instance, large);
    test_trap_off();
    return arg;
}

static bool visit(void *arg, void *block, size_t bytes)
{
    (void)arg;
    (void)block;
    (void)bytes;
    return true;
}

static void kill_one(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    died = false;
    test_thread_run(free_large, NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_walk(instance, visit, NULL); /* it ends */
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_stats stats = test_stats(instance);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_LE(stats.retained_bytes, stats.footprint_bytes);
    emma_destroy(instance);
}

int main(void)
{
    test_trap_to(on_trap);
    alarm(HANG_SECONDS);
    do {
        kill_one();
        dies_at += STRIDE;
    } while (died);
    CHECK(dies_at > STRIDE);
    return 0;
}
