/* test-options: limit=32M,name=capped */
/* Several threads run into the limit together: some get NULL and ENOMEM, no more than the limit is ever
 * resident, what they have stays intact, and after the frees there is memory again. */
#include "malloc_test.h"

enum { THREADS = 4, SLOTS = 20000, LIMIT_MIB = 32 };

static pthread_barrier_t barrier;

static size_t fill_up(size_t me, void **own, size_t bytes)
{
    size_t count = 0;
    for (; count < SLOTS; count++) {
        errno = 0;
        own[count] = malloc(bytes);
        if (!own[count]) {
            CHECK_EQ(errno, ENOMEM);
            break;
        }
        test_fill(own[count], bytes, me + count);
    }
    return count;
}

static void *work(void *arg)
{
    static void *slots[THREADS][SLOTS];
    const size_t me = (uintptr_t)arg;
    static const size_t sizes[] = { 1000, 3000, 100000, 1000 };
    for (size_t round = 0; round < TEST_COUNT(sizes); round++) {
        const size_t bytes = sizes[round];
        const size_t count = fill_up(me, slots[me], bytes);
        pthread_barrier_wait(&barrier); /* all of it is taken now */
        CHECK_LE(malloc_test_footprint(), LIMIT_MIB * TEST_MIB);
        if (count > 0) {
            void *last = slots[me][count - 1];
            CHECK_REFUSED(realloc(last, 40 * TEST_MIB), ENOMEM);
            CHECK(test_filled(last, bytes, me + count - 1));
        }
        for (size_t i = 0; i < count; i++) {
            CHECK(test_filled(slots[me][i], bytes, me + i));
            free(slots[me][i]);
        }
        pthread_barrier_wait(&barrier);
        void *again = malloc(bytes);
        CHECK(again != NULL);
        free(again);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(void)
{
    malloc_test_serves();
    pthread_barrier_init(&barrier, NULL, THREADS);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    void *most = malloc(20 * TEST_MIB);
    CHECK(most != NULL);
    memset(most, 1, 20 * TEST_MIB);
    free(most);
    return 0;
}
