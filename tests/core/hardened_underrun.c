/* test: hardened */
/* A write just before a block is found when that one comes back, whether the block there is live, kept, or free; for all
 * but the first blocks of slabs. Nothing of a canary is left where a block grows. What moves and threads that free next to each other do is taken for none. */
#include "emma_threads.h"

enum { BLOCKS = 64, FIRST_MAX = BLOCKS / 8, THREADS = 3, ROUNDS = 1000000, SIZES_MAX = 100 };

static test_crimes crimes = { EMMA_MISUSE_OVERRUN, 0 };
static emma *instance;
static void *slots[BLOCKS]; /* atomic */

/* Then there may be no memory before it. */
static bool starts_page(const void *block)
{
    return (uintptr_t)block % TEST_PAGE_BYTES == 0;
}

/* Damages the byte before each block in turn; whatever it was, one of two values is another. */
static void try_underruns(size_t bytes, bool neighbours_live)
{
    unsigned char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, bytes);
        CHECK(blocks[i] != NULL);
    }
    if (!neighbours_live)
        for (size_t i = 0; i < BLOCKS; i += 2)
            emma_free(instance, blocks[i]);
    unsigned missed = 0;
    for (size_t i = 1; i < BLOCKS; i += 2) {
        const unsigned told = crimes.found;
        const unsigned char before = starts_page(blocks[i]) ? 0 : blocks[i][-1];
        for (unsigned value = 1; value <= 2 && crimes.found == told && !starts_page(blocks[i]);
             value++) {
            blocks[i][-1] = (unsigned char)(before + value);
            CHECK_EQ(emma_usable_size(instance, blocks[i]), crimes.found == told ? bytes : 0);
        }
        const bool is_found = crimes.found > told;
        if (is_found) {
            emma_free_sized(instance, blocks[i], bytes);
            CHECK_EQ(crimes.found, told + 2);
        }
        if (!starts_page(blocks[i]))
            blocks[i][-1] = before;
        missed += !is_found;
        emma_free(instance, blocks[i]);
        CHECK_EQ(crimes.found, is_found ? told + 2 : told);
        if (neighbours_live)
            emma_free(instance, blocks[i - 1]);
    }
    CHECK_LE(missed, FIRST_MAX);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

/* Resizes and frees blocks that any of the threads allocated: who frees has neighbours that another one just moves to. */
static void *work(void *arg)
{
    test_rng rng = ((test_thread *)arg)->rng;
    for (size_t i = 0; i < test_scaled(ROUNDS); i++) {
        void **slot = &slots[test_below(&rng, BLOCKS)];
        const size_t bytes = 1 + test_below(&rng, SIZES_MAX);
        void *block = __atomic_exchange_n(slot, NULL, __ATOMIC_ACQ_REL);
        block = emma_realloc(instance, block, bytes);
        CHECK(block != NULL);
        memset(block, 0xff, bytes);
        emma_free(instance, __atomic_exchange_n(slot, block, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

/* What a block has had of canaries is nothing to be read when it grows. */
static void grown_into(size_t bytes)
{
    unsigned char *block = emma_malloc(instance, bytes);
    for (size_t more = bytes + 1; more < 2 * bytes; more++) {
        block = emma_realloc(instance, block, more);
        CHECK(block != NULL);
        CHECK_EQ(block[more - 1], 0);
        block = emma_realloc_sized(instance, block, more, more - 1);
        block = emma_realloc_sized(instance, block, more - 1, more);
        CHECK(block != NULL);
        CHECK_EQ(block[more - 1], 0);
    }
    emma_free(instance, block);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = { 1, 8, 15, 16, 40, 100, 300 };
    const uint64_t seed = test_choose_seed(argc, argv, 51000);
    emma_options options = test_options();
    options.misuse_handler = test_count_crime;
    options.misuse_arg = &crimes;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        for (unsigned live = 0; live < 2; live++)
            try_underruns(sizes[i], live);
        grown_into(sizes[i]);
    }
    CHECK_GT(crimes.found, 0);
    emma_destroy(instance);

    options.flags = EMMA_SHARED;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    test_thread threads[THREADS];
    const unsigned told = crimes.found;
    test_threads_start(threads, THREADS, work, seed);
    test_threads_join(threads, THREADS);
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, slots[i]);
    CHECK_EQ(crimes.found, told);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
    return 0;
}
