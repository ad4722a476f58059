/* test: whole */
/* More threads at once than a heap has chains for what goes home, and than are left with their empty slabs: what
 * one of them frees of all the others' gets to each; of those that leave, a few keep their slabs. The decay leaves them
 * alone while another living thread is at it, but not if that one is gone. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { THREADS = 2 * EMMAI_CHAINS + 2, BLOCKS = 200, BLOCK_BYTES = 200 };

static emma *instance;
static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t together;

static void *allocate(void *arg)
{
    const test_thread *self = arg;
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[self->number][i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    pthread_barrier_wait(&together); /* all are there; main frees */
    pthread_barrier_wait(&together);
    emma_thread_detach(instance);
    pthread_barrier_wait(&together); /* and stay for the kernel until all have left */
    return NULL;
}

static size_t count_stocked(void)
{
    size_t number = 0, count = 0;
    const emmai_thread_heap *heap;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        count += !heap->owner && heap->stocked;
    return count;
}

static void decay(void)
{
    emmai_control *control = instance->control;
    const uint64_t other = (uint64_t)emmai_os_thread_id() << 32; /* lives, but is not this one */
    const uint64_t dead = (uint64_t)INT32_MAX << 32;
    control->decaying = other;
    emmai_adopt_decay(instance);
    CHECK_EQ(control->decaying, other);
    control->decaying = dead;
    emmai_adopt_decay(instance);
    CHECK_EQ(control->decaying, 0);
}

int main(void)
{
    test_thread threads[THREADS];
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    pthread_barrier_init(&together, NULL, THREADS + 1);
    test_threads_start(threads, THREADS, allocate, 1);
    pthread_barrier_wait(&together);
    CHECK_GE(instance->control->heap_count, THREADS);
    for (size_t half = 0; half < 2; half++) {
        for (size_t i = half; i < BLOCKS; i += 2) /* one of each in turn */
            for (size_t k = 0; k < THREADS; k++)
                emma_free(instance, blocks[k][i]);
        CHECK_EQ(emma_check(instance), EMMA_OK); /* each slab has them, in its heap's rings */
    }
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    pthread_barrier_wait(&together);
    pthread_barrier_wait(&together);
    test_threads_join(threads, THREADS);
    CHECK_GE(count_stocked(), STOCKED_MAX);
    CHECK_LT(count_stocked(), THREADS);
    decay();
    emma_thread_detach(instance);
    emma_trim(instance);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    pthread_barrier_destroy(&together);
    emma_destroy(instance);
    return 0;
}
