/* A young instance is small: what is resident after creation and a few blocks of many sizes is what
 * the footprint says, and little. So is a shared one's, which has a page for each class. */
#include "emma_test.h"

enum { KINDS = 14, YOUNG_MAX_BYTES = 64 * 1024 };

static test_maps own;

static void grow_up(unsigned flags, size_t most_bytes)
{
    emma_options options = EMMA_OPTIONS_INIT;
    options.flags = flags;
    emma *instance = test_create_mapped(&options, &own);
    CHECK_LE(test_resident_bytes(&own), test_stats(instance).footprint_bytes);
    for (size_t kind = 1; kind <= KINDS; kind++)
        CHECK(emma_malloc(instance, kind * 16) != NULL);
    CHECK_LE(test_resident_bytes(&own), test_stats(instance).footprint_bytes);
    CHECK_LE(test_stats(instance).footprint_bytes, most_bytes);
    CHECK_EQ(test_stats(instance).live_blocks, KINDS);
    emma_destroy(instance);
}

int main(void)
{
    test_need_own_maps();
    grow_up(0, YOUNG_MAX_BYTES);
    grow_up(EMMA_SHARED, YOUNG_MAX_BYTES + KINDS * TEST_PAGE_BYTES);
    return 0;
}
