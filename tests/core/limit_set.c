/* emma_set_limit: up, down to what the footprint allows, never below the minimum or the spare; a
 * refusal leaves the limit as it was. */
#include "emma_test.h"

enum { BLOCK_BYTES = 1000 };

static size_t fill(emma *instance)
{
    size_t count = 0;
    while (emma_malloc(instance, BLOCK_BYTES))
        count++;
    return count;
}

static void expect(emma *instance, size_t limit, enum emma_status status)
{
    const size_t before = test_stats(instance).limit_bytes;
    CHECK_EQ(emma_set_limit(instance, limit), status);
    const size_t after = test_stats(instance).limit_bytes;
    if (status != EMMA_OK) {
        CHECK_EQ(after, before);
    } else { /* whole pages are counted: part of one is no use */
        CHECK_LE(after, limit);
        CHECK_LT(limit - after, TEST_PAGE_BYTES);
    }
}

int main(void)
{
    emma_options options = test_options();
    options.limit_bytes = TEST_MIB;
    options.spare_bytes = 64 * TEST_KIB;
    options.reserve_bytes = 64 * TEST_MIB;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);

    expect(instance, 0, EMMA_INVALID);
    expect(instance, EMMA_LIMIT_MIN_BYTES - 1, EMMA_INVALID);
    expect(instance, 64 * TEST_KIB, EMMA_INVALID); /* all of it would be spare */
    expect(instance, 64 * TEST_KIB - 1, EMMA_INVALID);

    const size_t first = fill(instance);
    expect(instance, TEST_MIB / 2, EMMA_NO_MEMORY);
    expect(instance, 2 * TEST_MIB, EMMA_OK);
    const size_t second = fill(instance);
    CHECK_GE(second, first / 2);
    CHECK_LE(test_stats(instance).footprint_bytes, 2 * TEST_MIB);
    expect(instance, TEST_MIB, EMMA_NO_MEMORY);

    /* Beyond the region: taken, and the region bounds. */
    expect(instance, EMMA_UNLIMITED, EMMA_OK);
    expect(instance, (size_t)PTRDIFF_MAX, EMMA_OK);
    CHECK_GT(fill(instance), second);
    const size_t reserve = test_stats(instance).reserve_bytes;
    CHECK_LE(test_stats(instance).footprint_bytes, reserve + TEST_MIB + TEST_MARKS_BYTES(reserve));
    expect(instance, 16 * TEST_MIB, EMMA_NO_MEMORY);

    /* Down again once the blocks are gone, though their memory is still kept. */
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    expect(instance, 512 * TEST_KIB, EMMA_OK);
    CHECK_LT(fill(instance), first);
    CHECK_LE(test_stats(instance).footprint_bytes, 512 * TEST_KIB);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
