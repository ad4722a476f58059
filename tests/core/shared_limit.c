/* Several threads at the hard limit at once: some are refused, the footprint and what is resident
 * stay within it, every block keeps its contents, and memory can be used again. */
#include "emma_threads.h"

enum { THREADS = 4, ROUNDS = 60, BLOCKS = 3000 };
#define LIMIT_BYTES (3 * TEST_MIB)

static test_maps own;
static emma *instance;
static size_t rounds;
static unsigned refused; /* atomic */

static void *work(void *arg)
{
    test_rng rng = ((test_thread *)arg)->rng;
    static _Thread_local struct {
        void *at;
        size_t bytes;
    } blocks[BLOCKS];
    for (size_t round = 0; round < rounds; round++) {
        size_t count = 0;
        while (count < BLOCKS) {
            const size_t bytes = test_random_size(&rng, 30000);
            void *at = emma_malloc(instance, bytes);
            if (!at)
                break;
            test_fill(at, bytes, count);
            blocks[count].at = at;
            blocks[count++].bytes = bytes;
        }
        if (count < BLOCKS)
            __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
        CHECK_LE(test_stats(instance).footprint_bytes, LIMIT_BYTES);
        while (count-- > 0) {
            CHECK(test_filled(blocks[count].at, blocks[count].bytes, count));
            emma_free(instance, blocks[count].at);
        }
    }
    emma_thread_detach(instance);
    return NULL;
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 34000);
    emma_options options = test_options();
    options.limit_bytes = LIMIT_BYTES;
    options.flags = EMMA_SHARED;
    instance = test_create_mapped(&options, &own);
    test_thread threads[THREADS];
    rounds = test_scaled(ROUNDS);
    test_threads_start(threads, THREADS, work, seed);
    test_threads_join(threads, THREADS);
    CHECK_GT(refused, 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    const emma_stats stats = test_stats(instance);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_LE(stats.peak_footprint_bytes, LIMIT_BYTES);
    if (!TEST_SHADOW_MEMORY)
        CHECK_LE(test_resident_bytes(&own), stats.footprint_bytes);
    CHECK_EQ(emma_malloc(instance, 2 * LIMIT_BYTES), NULL);
    void *large = emma_malloc(instance, LIMIT_BYTES / 2);
    CHECK(large != NULL);
    emma_free(instance, large);
    emma_destroy(instance);
    return 0;
}
