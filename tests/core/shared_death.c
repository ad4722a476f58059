/* test: +hardened */
/* Threads that end without a word, by the kernel's own call, leave heaps that the next threads take
 * over: a thousand such deaths in a row take no more memory than a few. Those that say so leave
 * theirs at once. */
#include "emma_threads.h"
#include <sys/syscall.h>

enum { DEATHS = 1000, WARM_UP = 20, BLOCKS = 40 };

static emma *instance;
static void *blocks[BLOCKS];
static bool detaches;

static void allocate(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, 16 * (i + 1));
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 0x5a, 16 * (i + 1));
    }
    if (detaches)
        emma_thread_detach(instance);
}

static void *live(void *arg)
{
    (void)arg;
    allocate();
    return NULL;
}

/* Ends without the C library's knowing, by the kernel's own call. */
static void *die(void *arg)
{
    live(arg);
    syscall(SYS_exit, 0);
    return NULL;
}

/* Frees from this thread what the other had. */
static void free_all(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, blocks[i]);
}

static void run(void *(*body)(void *), bool detach, unsigned deaths)
{
    detaches = detach;
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    size_t warm = 0;
    for (unsigned i = 0; i < deaths; i++) {
        test_thread_run(body, NULL);
        free_all();
        if (i == WARM_UP)
            warm = test_stats(instance).footprint_bytes;
    }
    /* The kernel may take a moment to forget a thread, so that one heap more is needed now and then;
     * a heap for each would take a hundred times as much. */
    CHECK_LE(test_stats(instance).footprint_bytes, warm + TEST_MIB);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
}

int main(void)
{
    run(live, false, DEATHS);
    run(live, true, DEATHS);
    if (!TEST_SHADOW_MEMORY)
        run(die, false, DEATHS);
    return 0;
}
