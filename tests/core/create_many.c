/* test: +hardened */
/* Ten thousand instances of a kind, each with small and large blocks in it, are alive at once
 * within the kernel's limit on mappings, and each has what it was given: default ones, shared ones,
 * and such as have a checkpoint, which with large blocks in it would be 8 mappings each. */
#include "emma_test.h"

enum {
    INSTANCES = 10000,
    MAPPINGS_MAX = 6,
    KERNEL_MAPPINGS_MAX = 65530, /* vm.max_map_count, if nobody changes it */
    BLOCKS = 12,
    LARGE_BYTES = 20000
};

static test_maps before, during, after;
static emma *instances[INSTANCES];
static void *blocks[INSTANCES][BLOCKS];

static uint64_t tag_of(size_t i, size_t k)
{
    return i * BLOCKS + k;
}

static void create(size_t i, unsigned flags)
{
    emma *instance = instances[i] = test_create(EMMA_UNLIMITED, flags);
    for (size_t k = 0; k < BLOCKS; k++) {
        blocks[i][k] = emma_malloc(instance, (size_t)1 << k);
        CHECK(blocks[i][k] != NULL);
        test_fill(blocks[i][k], (size_t)1 << k, tag_of(i, k));
    }
    unsigned level;
    if (flags & EMMA_CHECKPOINTS)
        CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    else
        CHECK(emma_malloc(instance, LARGE_BYTES) != NULL);
}

static void verify(size_t i)
{
    for (size_t k = 0; k < BLOCKS; k++) {
        CHECK(test_filled(blocks[i][k], (size_t)1 << k, tag_of(i, k)));
        CHECK(emma_owns(instances[i], blocks[i][k]));
        CHECK(!emma_owns(instances[(i + 1) % INSTANCES], blocks[i][k]));
    }
    CHECK_EQ(emma_check(instances[i]), EMMA_OK);
}

static void run(unsigned flags)
{
    test_maps_read(&before);
    for (size_t i = 0; i < INSTANCES; i++)
        create(i, flags);
    test_maps_read(&during);
    const size_t mappings = during.count - before.count;
    printf("flags %u: %zu mappings\n", flags, mappings);
    CHECK_LE(mappings, (size_t)INSTANCES * MAPPINGS_MAX);
    CHECK_LE(during.count, KERNEL_MAPPINGS_MAX);
    size_t told = 0;
    for (size_t i = 0; i < INSTANCES; i++) {
        verify(i);
        told += test_stats(instances[i]).mapping_count;
    }
    CHECK_GE(told, mappings);
    for (size_t i = 0; i < INSTANCES; i++)
        emma_destroy(instances[i]);
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
}

int main(void)
{
    test_need_own_maps();
    run(0);
    run(EMMA_SHARED);
    run(EMMA_CHECKPOINTS);
    return 0;
}
