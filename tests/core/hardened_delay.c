/* test: delay hardened */
/* EMMA_DELAYED_REUSE: what is freed is not what comes next, be it small or large; it comes in time; at a limit all
 * that is kept is there to be used; and no figure counts it. Where it is zero, too, emma_check tells if it was written
 * to. */
#include "emma_test.h"

enum { ROUNDS = 1000, KEPT = 32, BLOCKS_MAX = 300000 };

static void *blocks[BLOCKS_MAX];

static void late(emma *instance, size_t bytes)
{
    size_t again = 0, soon = 0;
    void *freed = NULL;
    for (size_t i = 0; i < ROUNDS; i++) {
        void *block = emma_malloc(instance, bytes);
        CHECK(block != NULL && block != freed);
        soon += i > 1 && blocks[i - 2] == block;
        for (size_t j = 0; j < i; j++)
            again += blocks[j] == block;
        blocks[i] = freed = block;
        emma_free(instance, block);
        CHECK_EQ(test_stats(instance).live_blocks, 0);
        CHECK_EQ(test_stats(instance).live_bytes, 0);
    }
    CHECK_GT(again, 0);                /* it is used again, */
    CHECK_LT(soon, ROUNDS / KEPT * 4); /* when is drawn */
}

static size_t fill(emma *instance, size_t bytes)
{
    size_t count = 0;
    while (count < BLOCKS_MAX && (blocks[count] = emma_malloc(instance, bytes)) != NULL)
        count++;
    return count;
}

static void at_limit(unsigned flags, size_t bytes)
{
    emma *instance = test_create(2 * TEST_MIB, flags);
    const size_t first = fill(instance, bytes);
    CHECK_LT(first, BLOCKS_MAX);
    for (size_t round = 0; round < 10; round++) {
        for (size_t i = 0; i < KEPT && i < first; i++)
            emma_free(instance, blocks[i]);
        for (size_t i = 0; i < KEPT && i < first; i++)
            CHECK((blocks[i] = emma_malloc(instance, bytes)) != NULL);
    }
    for (size_t i = 0; i < first; i++)
        emma_free(instance, blocks[i]);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_GE(fill(instance, bytes / 2), first);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

#if defined(EMMA_HARDENED) && EMMA_HARDENED
/* The first word of what is kept is no link, so that it is known, too. And if nobody looks, it is found when
 * the block is no longer kept, or handed out. */
static void written_to(size_t bytes, size_t word)
{
    test_crimes crimes = { EMMA_MISUSE_AFTER_FREE, 0 };
    emma_options options = test_options();
    options.misuse_handler = test_count_crime;
    options.misuse_arg = &crimes;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    uint64_t *block = emma_malloc(instance, bytes);
    CHECK(block != NULL);
    emma_free(instance, block);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    const size_t words = bytes / sizeof *block;
    for (size_t i = 0; i < words; i += 1 + words / 64) {
        block[i] = 1;
        CHECK_EQ(emma_check(instance), EMMA_CORRUPT);
        block[i] = 0;
        CHECK_EQ(emma_check(instance), EMMA_OK);
    }
    block[word] = 1;
    for (size_t i = 0; i < ROUNDS && !crimes.found; i++)
        emma_free(instance, emma_malloc(instance, bytes));
    CHECK_EQ(crimes.found, 1);
    emma_destroy(instance);
}
#else
static void written_to(size_t bytes, size_t word)
{
    (void)bytes, (void)word;
}
#endif

int main(void)
{
    static const size_t sizes[] = { 16, 100, 1000, 4000 };
    written_to(200, 24);
    written_to(200, 0); /* a link is put there before it is handed out */
    written_to(8, 0);
    for (unsigned shared = 0; shared < 2; shared++) {
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            emma *instance = test_create(EMMA_UNLIMITED, shared ? EMMA_SHARED : 0);
            late(instance, sizes[i]);
            emma_destroy(instance);
            at_limit(shared ? EMMA_SHARED : 0, sizes[i]);
        }
    }
    emma *instance = test_create(EMMA_UNLIMITED, 0);
    void *before = NULL;
    for (size_t i = 0; i < 100; i++) { /* a run goes where none was for long */
        void *run = emma_malloc(instance, 200000);
        CHECK(run != NULL);
        for (size_t j = 0; j < i; j++)
            CHECK(run != blocks[j]);
        CHECK(run != before);
        blocks[i] = before = run;
        emma_free(instance, run);
    }
    emma_destroy(instance);
    return 0;
}
