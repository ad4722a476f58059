/* A thousand threads, one after the other and ten at a time: what they leave behind serves the next ones, so
 * memory stays bounded, also where destructors of their keys allocate. */
#include "malloc_test.h"

enum { ROUNDS = 100, AT_ONCE = 10, WARM_UP = 5, BLOCKS = 100 };

static pthread_key_t key;

static void key_ends(void *block)
{
    free(block);
    free(malloc(300));
}

static void *work(void *arg)
{
    (void)arg;
    pthread_setspecific(key, malloc(40));
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(i * 20);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, i * 20);
    }
    void *kept = malloc(100000);
    memset(kept, 1, 100000);
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return kept;
}

int main(void)
{
    malloc_test_serves();
    CHECK_EQ(pthread_key_create(&key, key_ends), 0);
    size_t warm = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        pthread_t threads[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, work, NULL), 0);
        for (size_t i = 0; i < AT_ONCE; i++) {
            void *kept;
            CHECK_EQ(pthread_join(threads[i], &kept), 0);
            free(kept);
        }
        if (round == WARM_UP)
            warm = malloc_test_footprint();
    }
    /* At most what ten threads at their fullest need, not what a thousand left. */
    CHECK_LE(malloc_test_footprint(), warm + 4 * TEST_MIB);
    return 0;
}
