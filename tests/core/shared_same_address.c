/* test: whole */
/* An instance that is where another one was does not take what its threads remember of that for its
 * own: also where the kernel has no random numbers to give. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { ROUNDS = 8, OTHERS = 3, BLOCKS = 200, BYTES = 3000 };

static emma *instance;
static unsigned char *blocks[BLOCKS];
static pthread_barrier_t barrier;

static void refuse_random(long number)
{
    fault.every = number == SYS_getrandom;
}

static void *have_a_heap(void *arg)
{
    emma_free(instance, emma_malloc(instance, 100));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return arg;
}

static void use(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, BYTES);
        CHECK(blocks[i] != NULL && emma_owns(instance, blocks[i]));
        memset(blocks[i], 0xff, BYTES);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        for (size_t k = 0; k < BYTES; k++)
            CHECK_EQ(blocks[i][k], 0xff);
        emma_free(instance, blocks[i]);
    }
}

/* This thread's heap comes after those of others, and so lies elsewhere than without them. */
static void use_after_others(void)
{
    test_thread others[OTHERS];
    test_threads_start(others, OTHERS, have_a_heap, 0);
    pthread_barrier_wait(&barrier);
    use();
    pthread_barrier_wait(&barrier);
    test_threads_join(others, OTHERS);
}

int main(void)
{
    const emma *before = NULL;
    bool same = false;
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, OTHERS + 1), 0);
    fault.before = refuse_random;
    for (size_t i = 0; i < ROUNDS; i++) {
        instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
        same |= instance == before;
        before = instance;
        if (i % 2)
            use();
        else
            use_after_others();
        CHECK_EQ(emma_check(instance), EMMA_OK);
        CHECK_EQ(test_stats(instance).live_blocks, 0);
        emma_destroy(instance);
    }
    if (!same)
        test_skip("the kernel gave each instance another address");
    return 0;
}
