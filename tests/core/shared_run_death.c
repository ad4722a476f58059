/* test: uninstrumented */
/* A thread dies at each instruction of allocating, resizing and freeing a block of several chunks: what it
 * leaves is lost at worst. The instance is sound, can be walked, and is emptied by a reset. */
#include "emma_step.h"
#include "emma_threads.h"
#include <sys/syscall.h>

enum { LARGE_BYTES = 20000, HANG_SECONDS = 150, DEATHS = TEST_SLOW_BUILD ? 100 : 400 };

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

static void act_allocate(void *large)
{
    (void)large;
    CHECK(emma_malloc(instance, 2 * LARGE_BYTES) != NULL);
}

static void act_grow(void *large)
{
    CHECK(emma_realloc(instance, large, 2 * LARGE_BYTES) != NULL);
}

static void act_shrink(void *large)
{
    CHECK(emma_realloc(instance, large, LARGE_BYTES / 2) != NULL);
}

static void act_free(void *large)
{
    emma_free(instance, large);
}

static void (*const acts[])(void *) = { act_allocate, act_grow, act_shrink, act_free };

static void *be_victim(void *act)
{
    void *large = emma_malloc(instance, LARGE_BYTES);
    CHECK(large != NULL);
    traps = 0;
    test_trap_on();
    (*(void (*const *)(void *))act)(large);
    test_trap_off();
    return NULL;
}

static bool visit(void *arg, void *block, size_t bytes)
{
    (void)arg;
    (void)block;
    (void)bytes;
    return true;
}

static void kill_one(const void *act)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    died = false;
    test_thread_run(be_victim, (void *)(uintptr_t)act);
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
    for (size_t i = 0; i < TEST_COUNT(acts); i++) {
        dies_at = SIZE_MAX;
        kill_one(&acts[i]); /* counts */
        const size_t stride = 1 + traps / test_scaled(DEATHS);
        for (dies_at = i % stride, died = true; died; dies_at += stride)
            kill_one(&acts[i]);
        CHECK_GT(dies_at, stride);
    }
    return 0;
}
