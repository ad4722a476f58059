/* Nothing that was written after a checkpoint can be found after the rollback, in no page of the instance; calloc
 * is zeroed after trims and rollbacks, though the image's bytes come back where memory was given back; and a
 * hundred thousand rollbacks leave footprint, mappings and descriptors as they were. */
#include "emma_test.h"

enum { BLOCKS = 2000, ROUNDS = 40, ROLLBACKS = 100000 };
#define SECRET UINT64_C(0x5ec7e75ec7e75ec7)

static test_maps before, after, own;
static void *blocks[BLOCKS];

/* Whether the word is anywhere in the instance's readable memory. */
static bool is_anywhere(uint64_t word)
{
    test_maps_read(&after);
    test_maps_added(&before, &after, &own);
    for (size_t i = 0; i < after.count; i++) {
        const test_range *range = &after.ranges[i];
        bool ours = false;
        for (size_t k = 0; k < own.count; k++)
            ours = ours || (range->start >= own.ranges[k].start && range->end <= own.ranges[k].end);
        if (!ours || !(range->access & PROT_READ))
            continue;
        for (uintptr_t page = range->start; page < range->end; page += TEST_PAGE_BYTES) {
            unsigned char there = 0;
            if (mincore((void *)page, TEST_PAGE_BYTES, &there) != 0 || !there)
                continue;
            for (uintptr_t at = page; at < page + TEST_PAGE_BYTES; at += sizeof word)
                if (*(const volatile uint64_t *)at == word)
                    return true;
        }
    }
    return false;
}

static void write_secrets(emma *instance, test_rng *rng)
{
    const size_t count = test_below(rng, BLOCKS);
    for (size_t i = 0; i < count; i++) {
        const size_t bytes = 8 + (size_t)test_below(rng, test_chance(rng, 5) ? 30000 : 500);
        uint64_t *block = emma_malloc(instance, bytes);
        CHECK(block != NULL);
        for (size_t k = 0; k < bytes / sizeof *block; k++)
            block[k] = SECRET;
    }
    for (size_t i = 0; i < BLOCKS; i += 1 + (size_t)test_below(rng, 9))
        memset(blocks[i], 0xa5, 100);
}

static void zeroed(emma *instance, size_t bytes)
{
    char *block = emma_calloc(instance, 1, bytes);
    CHECK(block != NULL);
    CHECK(test_zeroed(block, bytes));
    emma_free(instance, block);
}

int main(int argc, char **argv)
{
    test_need_own_maps();
    test_rng rng = test_rng_from(test_choose_seed(argc, argv, 4));
    test_maps_read(&before);
    emma *instance = test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, 100);
        memset(blocks[i], (int)(i % 250), 100);
    }
    void *large = emma_malloc(instance, 300000);
    memset(large, 0x77, 300000);
    unsigned level;
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    for (size_t round = 0; round < test_steps(ROUNDS); round++) {
        write_secrets(instance, &rng);
        CHECK(is_anywhere(SECRET) || round % 5);
        if (round % 3 == 0) {
            emma_free(instance, large);
            emma_trim(instance);
        }
        zeroed(instance, 250000);
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
        CHECK(!is_anywhere(SECRET));
        for (size_t i = 0; i < BLOCKS; i++)
            CHECK_EQ(((unsigned char *)blocks[i])[99], i % 250);
        CHECK_EQ(((unsigned char *)large)[299999], 0x77);
        zeroed(instance, 250000);
    }
    emma_trim(instance);
    CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    const size_t footprint = test_stats(instance).footprint_bytes;
    const uint64_t descriptors = test_descriptors();
    test_maps_read(&after);
    const size_t mappings = after.count;
    const size_t rollbacks = test_steps(ROLLBACKS);
    for (size_t i = 0; i < rollbacks; i++) {
        memset(blocks[i % BLOCKS], 0, 100);
        emma_malloc(instance, 40);
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    }
    test_maps_read(&after);
    CHECK_EQ(after.count, mappings);
    CHECK_EQ(test_descriptors(), descriptors);
    CHECK_LE(test_stats(instance).footprint_bytes, footprint + 16 * TEST_PAGE_BYTES);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
