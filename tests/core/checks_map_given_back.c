/* test: checks canaries */
/* The map of a checked build takes a page for 64 KiB where blocks start, and no more: large blocks bring
 * one each along, and what is freed takes it along to the kernel. */
#include "emma_test.h"

enum { BLOCKS = 200000, BLOCK_BYTES = 72 };
#define LARGE_BYTES (16 * TEST_MIB)
#define SLACK_BYTES (256 * TEST_KIB) /* the young area, and entries */

static void *blocks[BLOCKS];

static size_t footprint(emma *instance)
{
    CHECK_EQ(emma_check(instance), EMMA_OK);
    return test_stats(instance).footprint_bytes;
}

static void run(unsigned flags)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    const size_t empty = footprint(instance);

    void *large = emma_malloc(instance, LARGE_BYTES);
    CHECK(large != NULL);
    CHECK_LE(footprint(instance), empty + LARGE_BYTES + SLACK_BYTES);
    emma_free(instance, large);
    emma_trim(instance);
    CHECK_LE(footprint(instance), empty + SLACK_BYTES);

    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < BLOCKS; i++)
            CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
        const size_t full = footprint(instance);
        CHECK_GE(full, (size_t)BLOCKS * BLOCK_BYTES / 16 * 17);
        for (size_t i = 0; i < BLOCKS; i++)
            emma_free(instance, blocks[i]);
        const size_t returned = emma_trim(instance);
        CHECK_LE(footprint(instance), empty + SLACK_BYTES);
        CHECK_EQ(test_stats(instance).returned_bytes > 0 && returned > 0, true);
    }
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_SHARED);
    return 0;
}
