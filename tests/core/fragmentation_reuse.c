/* test: plain checks */
/* What one size leaves free, every other size can use: at a limit, blocks of size B fill as much
 * after blocks of size A were there and went as they do in a new instance; and when all is free,
 * one block gets most of it. */
#include "emma_test.h"

#define LIMIT_BYTES (4 * TEST_MIB)
/* Pages that a run has no use for stay with its last chunk: hence not all of it. */
enum { BLOCKS_MAX = 1 << 20, REUSED_PERCENT = 85, FILLED_PERCENT = 45 };

static void *blocks[BLOCKS_MAX];

static size_t fill(emma *instance, size_t bytes)
{
    size_t count = 0;
    while (count < BLOCKS_MAX && (blocks[count] = emma_malloc(instance, bytes)) != NULL)
        count++;
    return count;
}

/* Every `stride`-th from `first` on. */
static void free_some(emma *instance, size_t count, size_t first, size_t stride)
{
    for (size_t i = first; i < count; i += stride)
        emma_free(instance, blocks[i]);
}

static size_t fill_of_new(size_t bytes)
{
    emma *instance = test_create(LIMIT_BYTES, EMMA_ALIGN8);
    const size_t count = fill(instance, bytes);
    emma_destroy(instance);
    return count;
}

static void try_pair(size_t first, size_t second, size_t of_new)
{
    emma *instance = test_create(LIMIT_BYTES, EMMA_ALIGN8);
    const size_t count = fill(instance, first);
    CHECK_GT(count, 0);
    free_some(instance, count, 0, 2);
    free_some(instance, count, 1, 2);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    const size_t again = fill(instance, second);
    CHECK_GE(again * 100, of_new * REUSED_PERCENT);
    free_some(instance, again, 0, 1);
    CHECK(emma_malloc(instance, LIMIT_BYTES / 4 * 3) != NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    static const size_t sizes[] = { 16, 56, 200, 1024, 5000, 20000, 40000, 150000, 1000000 };
    for (size_t second = 0; second < TEST_COUNT(sizes); second++) {
        const size_t of_new = fill_of_new(sizes[second]);
        CHECK_GE(of_new * sizes[second], LIMIT_BYTES / 100 * FILLED_PERCENT);
        for (size_t first = 0; first < TEST_COUNT(sizes); first++)
            try_pair(sizes[first], sizes[second], of_new);
    }
    return 0;
}
