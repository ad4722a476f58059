/* A young instance is small: what is resident after creation and a few blocks of many sizes is what
 * the footprint says, and little. */
#include "emma_test.h"

enum { KINDS = 14, YOUNG_MAX_BYTES = 64 * 1024 };

static test_maps own;

int main(void)
{
    test_need_own_maps();
    emma *instance = test_create_mapped(NULL, &own);
    CHECK_LE(test_resident_bytes(&own), test_stats(instance).footprint_bytes);
    for (size_t kind = 1; kind <= KINDS; kind++)
        CHECK(emma_malloc(instance, kind * 16) != NULL);
    CHECK_LE(test_resident_bytes(&own), test_stats(instance).footprint_bytes);
    CHECK_LE(test_stats(instance).footprint_bytes, YOUNG_MAX_BYTES);
    CHECK_EQ(test_stats(instance).live_blocks, KINDS);
    emma_destroy(instance);
    return 0;
}
