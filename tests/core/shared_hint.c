/* test: whole */
/* The hint where free chunks begin may be moved behind one that another thread made free meanwhile: blocks and runs
 * find that chunk all the same before they are refused. */
#include "emma_test.h"

#include "../../core/emma.c"

enum { BLOCKS_MAX = 20000, RUN_CHUNKS = 3 };

static void *blocks[BLOCKS_MAX];

/* Allocates until the region is full; returns how many blocks that were. */
static size_t fill(emma *instance, size_t bytes)
{
    size_t count = 0;
    while (count < BLOCKS_MAX && (blocks[count] = emma_malloc(instance, bytes)))
        count++;
    CHECK_LT(count, BLOCKS_MAX);
    return count;
}

/* Fills the region, makes all free again but for the last blocks, and moves the hint behind what is free. */
static size_t free_below_hint(emma *instance, size_t bytes)
{
    const size_t count = fill(instance, bytes);
    const size_t freed = count * 3 / 4;
    CHECK_GT(freed, 0);
    for (size_t i = 0; i < freed; i++)
        emma_free(instance, blocks[i]);
    emma_trim(instance);
    const uint32_t hint = instance->low_hint;
    CHECK_LT(hint, instance->chunk_count);
    instance->low_hint = (uint32_t)instance->chunk_count;
    return freed;
}

int main(void)
{
    const size_t sizes[] = { 4000, (RUN_CHUNKS * EMMAI_CHUNK_BYTES) - 100 };
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        emma_options options = test_options();
        options.reserve_bytes = 16 * TEST_MIB;
        options.flags = EMMA_SHARED;
        emma *instance = emma_create(&options);
        CHECK(instance != NULL);
        const size_t freed = free_below_hint(instance, sizes[i]);
        size_t again = 0;
        while (emma_malloc(instance, sizes[i]))
            again++;
        CHECK_GE(again, freed * 9 / 10);
        CHECK_EQ(emma_check(instance), EMMA_OK);
        emma_destroy(instance);
    }
    return 0;
}
