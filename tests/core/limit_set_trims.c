/* Lowering the limit gives back what is only kept for reuse: a footprint made of freed blocks is no
 * obstacle. */
#include "emma_test.h"

enum { RUNS = 40, RUN_BYTES = 200000 };

static test_maps own;

int main(void)
{
    test_need_own_maps();
    void *runs[RUNS];
    emma_options options = test_options();
    options.reserve_bytes = 64 * TEST_MIB;
    emma *instance = test_create_mapped(&options, &own);
    unsigned char *kept = emma_malloc(instance, 5000);
    CHECK(kept != NULL);
    test_fill(kept, 5000, 9);
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = emma_malloc(instance, RUN_BYTES);
        CHECK(runs[i] != NULL);
        memset(runs[i], 1, RUN_BYTES);
    }
    for (size_t i = 0; i < RUNS; i++)
        emma_free(instance, runs[i]);
    CHECK_EQ(emma_set_limit(instance, 256 * TEST_KIB), EMMA_OK);
    CHECK_LE(test_stats(instance).footprint_bytes, 256 * TEST_KIB);
    CHECK_LE(test_resident_bytes(&own), 256 * TEST_KIB);
    CHECK(test_filled(kept, 5000, 9));
    CHECK_EQ(emma_malloc(instance, RUN_BYTES * 2), NULL);
    CHECK(emma_malloc(instance, 50000) != NULL);
    emma_destroy(instance);
    return 0;
}
