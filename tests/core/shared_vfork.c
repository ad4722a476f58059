/* A child that shares the parent's memory until it ends (vfork) is served as the thread that it
 * suspends, also in an instance that is new to that, and not at all where that has no heap; no heap of
 * a living thread is taken for a dead one's, neither by the child nor afterwards. */
#include "emma_threads.h"
#include <semaphore.h>
#include <sys/syscall.h>

enum { BLOCKS = 300 };

static emma *instance;
static sem_t go_on, done;
static void *blocks[3 * BLOCKS];
static void *volatile in_child;

static void allocate(size_t first)
{
    for (size_t i = first; i < first + BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, 64);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], 64, i);
    }
}

static void *sibling(void *arg)
{
    (void)arg;
    allocate(0);
    sem_post(&done);
    sem_wait(&go_on);
    allocate(BLOCKS);
    return NULL;
}

static void in_vfork(emma *of)
{
    /* Not much may be done in it; emma needs nothing of what may not. */
    const pid_t child = vfork();
    if (child == 0) {
        in_child = emma_malloc(of, 64);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

int main(void)
{
    if (TEST_SHADOW_MEMORY)
        test_skip("sanitizers do not like vfork");
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    sem_init(&go_on, 0, 0);
    sem_init(&done, 0, 0);
    test_thread thread;
    test_threads_start(&thread, 1, sibling, 0);
    sem_wait(&done);
    in_vfork(instance); /* this thread has no heap yet */
    CHECK_EQ(in_child, NULL);
    allocate(2 * BLOCKS);
    in_vfork(instance);
    CHECK(in_child != NULL);
    emma_free(instance, in_child);
    emma *fresh = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    in_vfork(fresh);
    CHECK(in_child != NULL);
    CHECK_EQ(test_stats(fresh).live_blocks, 1);
    emma_free(fresh, in_child);
    CHECK_EQ(test_stats(fresh).live_blocks, 0);
    CHECK_EQ(emma_check(fresh), EMMA_OK);
    emma_destroy(fresh);
    sem_post(&go_on);
    test_threads_join(&thread, 1);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        CHECK(test_filled(blocks[i], 64, i));
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        emma_free(instance, blocks[i]);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
    return 0;
}
