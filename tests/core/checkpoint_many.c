/* Ten thousand instances with a checkpoint each are alive at once, with 1,024 descriptors allowed and none kept,
 * within the kernel's limit on mappings; each is rolled back to its own. */
#include "emma_test.h"

enum { INSTANCES = 10000, MAPPINGS_MAX = 6, BLOCKS = 10, DESCRIPTORS_MAX = 1024 };

static test_maps before, during, after;
static emma *instances[INSTANCES];
static unsigned levels[INSTANCES];
static void *blocks[INSTANCES][BLOCKS];

static emma *make(size_t i)
{
    emma_options options = test_options();
    options.flags = EMMA_CHECKPOINTS;
    options.limit_bytes = TEST_MIB;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    for (size_t k = 0; k < BLOCKS; k++) {
        blocks[i][k] = emma_malloc(instance, (size_t)1 << k);
        CHECK(blocks[i][k] != NULL);
        test_fill(blocks[i][k], (size_t)1 << k, i * BLOCKS + k);
    }
    CHECK_EQ(emma_checkpoint(instance, &levels[i]), EMMA_OK);
    for (size_t k = 0; k < BLOCKS; k++)
        test_fill(blocks[i][k], (size_t)1 << k, 7);
    return instance;
}

int main(void)
{
    test_need_own_maps();
    const struct rlimit few = { DESCRIPTORS_MAX, DESCRIPTORS_MAX };
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    const uint64_t descriptors = test_descriptors();
    test_maps_read(&before);
    for (size_t i = 0; i < INSTANCES; i++)
        instances[i] = make(i);
    CHECK_EQ(test_descriptors(), descriptors);
    test_maps_read(&during);
    CHECK_LE(during.count - before.count, (size_t)INSTANCES * MAPPINGS_MAX);
    for (size_t i = 0; i < INSTANCES; i++) {
        CHECK_EQ(emma_rollback(instances[i], levels[i]), EMMA_OK);
        for (size_t k = 0; k < BLOCKS; k++)
            CHECK(test_filled(blocks[i][k], (size_t)1 << k, i * BLOCKS + k));
    }
    for (size_t i = 0; i < INSTANCES; i++)
        emma_destroy(instances[i]);
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
    return 0;
}
