/* 1,000 threads alive at once, each with blocks of its own, which another one frees. */
#include "malloc_test.h"

enum { THREADS = 1000, BLOCKS = 20, STACK_BYTES = 64 * 1024 };

static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t barrier;

static size_t size_of(size_t thread, size_t block)
{
    return (thread * 31 + block * 97) % 3000 + 1;
}

static void *work(void *arg)
{
    const size_t me = (uintptr_t)arg;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[me][i] = malloc(size_of(me, i));
        CHECK(blocks[me][i] != NULL);
        test_fill(blocks[me][i], size_of(me, i), me);
    }
    pthread_barrier_wait(&barrier);
    const size_t other = (me + THREADS / 2) % THREADS;
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[other][i], size_of(other, i), other));
        free(blocks[other][i]);
        free(malloc(size_of(me, i)));
    }
    return NULL;
}

int main(void)
{
    static pthread_t threads[THREADS];
    malloc_test_serves();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], &attributes, work, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_LE(mallinfo2().uordblks, 2 * TEST_MIB); /* the C library keeps some for the stacks */
    return 0;
}
