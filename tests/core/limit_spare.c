/* The spare part of the limit is out of reach until it is opened; open, it serves; closing it
 * succeeds also while part of it is in use, and then only frees help. */
#include "emma_test.h"

#define LIMIT_BYTES TEST_MIB
#define SPARE_BYTES (256 * TEST_KIB)

static size_t fill(emma *instance, size_t bytes)
{
    size_t count = 0;
    while (emma_malloc(instance, bytes))
        count++;
    return count;
}

static void run(size_t bytes)
{
    emma_options options = test_options();
    options.limit_bytes = LIMIT_BYTES;
    options.spare_bytes = SPARE_BYTES;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    CHECK_EQ(test_stats(instance).spare_bytes, SPARE_BYTES);
    CHECK_EQ(emma_use_spare(instance, false), EMMA_OK); /* as it is already */

    void *last = emma_malloc(instance, bytes);
    CHECK(last != NULL);
    CHECK_GT(fill(instance, bytes), 0);
    CHECK_LE(test_stats(instance).footprint_bytes, LIMIT_BYTES - SPARE_BYTES);
    CHECK_EQ(emma_use_spare(instance, true), EMMA_OK);
    CHECK_EQ(emma_use_spare(instance, true), EMMA_OK);
    CHECK_EQ(test_stats(instance).spare_bytes, 0);
    const size_t more = fill(instance, bytes);
    CHECK_GE(more * bytes, SPARE_BYTES / 2);
    CHECK_LE(test_stats(instance).footprint_bytes, LIMIT_BYTES);
    CHECK_GT(test_stats(instance).footprint_bytes, LIMIT_BYTES - SPARE_BYTES);

    CHECK_EQ(emma_use_spare(instance, false), EMMA_OK);
    CHECK_EQ(test_stats(instance).spare_bytes, SPARE_BYTES);
    CHECK_EQ(fill(instance, bytes), 0);
    emma_free(instance, last); /* its place may be used again: no more footprint is needed */
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_GT(fill(instance, bytes), 0);
    CHECK_LE(test_stats(instance).footprint_bytes, LIMIT_BYTES - SPARE_BYTES);
    emma_destroy(instance);
}

int main(void)
{
    run(64);
    run(1000);
    run(20000);
    return 0;
}
