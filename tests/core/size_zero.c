/* Zero bytes: each request gets a block of its own, which may be freed, resized and asked about.
 * NULL is no block: freeing it does nothing, resizing it allocates. */
#include "emma_test.h"

enum { BLOCKS = 2000 };

static void *blocks[BLOCKS];

static void *allocate_zero(emma *instance, size_t i)
{
    switch (i % 8) {
    case 0:
        return emma_malloc(instance, 0);
    case 1:
        return emma_calloc(instance, 0, 0);
    case 2:
        return emma_calloc(instance, 0, SIZE_MAX);
    case 3:
        return emma_calloc(instance, SIZE_MAX, 0);
    case 4:
        return emma_aligned_alloc(instance, (size_t)1 << i % 13, 0);
    case 5:
        return emma_realloc(instance, NULL, 0);
    case 6:
        return emma_realloc_sized(instance, NULL, 0, 0);
    default:
        return emma_realloc(instance, emma_malloc(instance, 100), 0);
    }
}

static int by_address(const void *left, const void *right)
{
    const uintptr_t a = *(const uintptr_t *)left, b = *(const uintptr_t *)right;
    return (a > b) - (a < b);
}

static void run(unsigned flags)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = allocate_zero(instance, i);
        CHECK(blocks[i] != NULL);
        CHECK(emma_owns(instance, blocks[i]));
        CHECK_EQ((uintptr_t)blocks[i] % (flags & EMMA_ALIGN8 ? 8 : 16), 0);
    }
    CHECK_EQ(test_stats(instance).live_blocks, BLOCKS);
    qsort(blocks, BLOCKS, sizeof blocks[0], by_address);
    for (size_t i = 1; i < BLOCKS; i++)
        CHECK_NE(blocks[i - 1], blocks[i]);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 3 == 0) {
            blocks[i] = emma_realloc(instance, blocks[i], 50);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], 1, 50);
            emma_free_sized(instance, blocks[i], 50);
        } else if (i % 3 == 1) {
            emma_free_sized(instance, blocks[i], 0);
        } else {
            emma_free(instance, blocks[i]);
        }
    }
    const emma_stats before = test_stats(instance);
    CHECK_EQ(before.live_blocks, 0);
    emma_free(instance, NULL);
    emma_free_sized(instance, NULL, 0);
    emma_free_sized(instance, NULL, 77);
    CHECK_EQ(emma_resize(instance, NULL, 0, 0), NULL);
    CHECK_EQ(emma_usable_size(instance, NULL), 0);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_EQ(test_stats(instance).footprint_bytes, before.footprint_bytes);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    return 0;
}
