/* test: plain tiny */
/* A block that two threads free, where nothing tells that it is free already: it is told where it is found, when it
 * comes home to a slab that has no such block, or that is none any more; or it cuts a list short. No
 * thread hangs or faults. */
#include "emma_threads.h"

enum { BLOCKS = 64, MANY = 3000 };

static emma *instance;
static void *blocks[MANY];
static size_t reports; /* atomic */

static void report(void *arg, emma *from, enum emma_misuse crime, const void *address,
                   const char *message)
{
    (void)arg, (void)from, (void)message;
    CHECK_EQ(crime, EMMA_MISUSE_DOUBLE_FREE);
    CHECK(address != NULL);
    __atomic_add_fetch(&reports, 1, __ATOMIC_RELAXED);
}

static void create(void)
{
    emma_options options = test_options();
    options.misuse_handler = report;
    options.flags = EMMA_SHARED;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    reports = 0;
}

/* Frees the blocks and sends them home. */
static void *free_all(void *arg)
{
    const size_t count = *(const size_t *)arg;
    emma_free(instance, emma_malloc(instance, 8));
    for (size_t i = 0; i < count; i++)
        emma_free(instance, blocks[i]);
    emma_thread_detach(instance);
    return NULL;
}

/* They come home to a slab all of whose blocks are there. */
static void head_is_empty(void)
{
    size_t count = 2;
    create();
    for (size_t i = 0; i < count; i++)
        CHECK((blocks[i] = emma_malloc(instance, 2000)) != NULL);
    test_thread_run(free_all, &count);
    for (size_t i = 0; i < count; i++)
        emma_free(instance, blocks[i]);
    emma_trim(instance);
    CHECK_GE(reports, 1);
    emma_destroy(instance);
}

/* They come home to a chunk that is no slab any more, though the heap still has it. */
static void slab_is_held(void)
{
    enum { FILL = 24 };
    size_t count = 1;
    create();
    for (size_t i = 0; i < FILL; i++) /* the first slab is not the one that serves */
        CHECK((blocks[i] = emma_malloc(instance, 2000)) != NULL);
    test_thread_run(free_all, &count);
    for (size_t i = 0; i < FILL - 1; i++)
        emma_free(instance, blocks[i]);
    CHECK_EQ(reports, 0);
    emma_trim(instance);
    CHECK_EQ(reports, 1);
    CHECK_EQ(test_stats(instance).live_blocks, 1);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

static void *free_in_turns(void *arg)
{
    pthread_barrier_t *barrier = arg;
    emma_free(instance, emma_malloc(instance, 8));
    emma_free(instance, blocks[0]); /* kept */
    pthread_barrier_wait(barrier);  /* the owner frees it, and its slab goes */
    pthread_barrier_wait(barrier);
    emma_thread_detach(instance); /* sends it to a slab that is none */
    return NULL;
}

static void slab_is_gone(void)
{
    pthread_barrier_t barrier;
    pthread_t thread;
    create();
    CHECK((blocks[0] = emma_malloc(instance, 2000)) != NULL);
    pthread_barrier_init(&barrier, NULL, 2);
    CHECK_EQ(pthread_create(&thread, NULL, free_in_turns, &barrier), 0);
    pthread_barrier_wait(&barrier);
    emma_free(instance, blocks[0]);
    emma_trim(instance);
    pthread_barrier_wait(&barrier);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    emma_trim(instance);
    CHECK_GE(reports, 1);
    pthread_barrier_destroy(&barrier);
    emma_destroy(instance);
}

static void *fill_stash(void *arg)
{
    pthread_barrier_t *barrier = arg;
    emma_free(instance, emma_malloc(instance, 8));
    for (size_t i = 0; i < BLOCKS - 1; i++)
        emma_free(instance, blocks[i]);
    pthread_barrier_wait(barrier); /* the owner frees the last one once more */
    pthread_barrier_wait(barrier);
    for (size_t i = BLOCKS; i < 2 * BLOCKS; i++)
        emma_free(instance, blocks[i]);
    return NULL;
}

/* The list of a stash ends at a block that its owner has freed. */
static void list_is_cut(void)
{
    pthread_barrier_t barrier;
    pthread_t thread;
    create();
    for (size_t i = 0; i < 2 * BLOCKS; i++)
        CHECK((blocks[i] = emma_malloc(instance, 32)) != NULL);
    pthread_barrier_init(&barrier, NULL, 2);
    CHECK_EQ(pthread_create(&thread, NULL, fill_stash, &barrier), 0);
    pthread_barrier_wait(&barrier);
    emma_free(instance, blocks[BLOCKS - 2]);
    pthread_barrier_wait(&barrier);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(emma_malloc(instance, 32) != NULL);
    CHECK_GE(test_stats(instance).footprint_bytes, TEST_PAGE_BYTES);
    pthread_barrier_destroy(&barrier);
    emma_destroy(instance);
}

int main(void)
{
    head_is_empty();
    slab_is_held();
    slab_is_gone();
    list_is_cut();
    return 0;
}
