/* test: checks hardened */
/* The last page of the map of a checked build is its own: when what lies at the region's end is
 * given back to the kernel, nothing else goes with it, whatever number of chunks the region has. */
#include "emma_test.h"

enum { BLOCKS = 4096, BLOCKS_LEAST = 50, KEPT_BYTES = 100000 };

static void *blocks[BLOCKS];

/* Fills a region to its end with blocks of a chunk, and frees all but the one that was first. */
static void fill_and_trim(size_t reserve_bytes, unsigned flags)
{
    emma_options options = test_options();
    options.reserve_bytes = reserve_bytes;
    options.flags = flags;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    void *kept = emma_malloc(instance, KEPT_BYTES);
    CHECK(kept != NULL);
    test_fill(kept, KEPT_BYTES, 1);
    size_t count = 0;
    while (count < BLOCKS && (blocks[count] = emma_malloc(instance, 12 * TEST_KIB)) != NULL)
        count++;
    CHECK_LT(count, BLOCKS);
    for (size_t i = 0; i < count; i++)
        emma_free(instance, blocks[i]);
    CHECK_GE(count, BLOCKS_LEAST);
    emma_trim(instance);
    CHECK_LT(test_stats(instance).footprint_bytes, TEST_MIB);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 1);
    CHECK_EQ(emma_usable_size(instance, kept), KEPT_BYTES);
    CHECK(test_filled(kept, KEPT_BYTES, 1));
    emma_free(instance, kept);
    emma_destroy(instance);
}

int main(void)
{
    for (size_t reserve = 2 * TEST_MIB; reserve < 2 * TEST_MIB + 128 * TEST_KIB;
         reserve += 16 * TEST_KIB) {
        fill_and_trim(reserve, 0);
        fill_and_trim(reserve, EMMA_SHARED);
        fill_and_trim(reserve, EMMA_ALIGN8);
    }
    return 0;
}
