/* emma_owns: true for the addresses that blocks come from, false for every other one, whatever it
 * is; and it brings no page into memory. */
#include "emma_test.h"

enum { ADDRESSES = 20000, BLOCKS = 500 };

static test_maps own;

static bool within(const test_maps *maps, uintptr_t address)
{
    for (size_t i = 0; i < maps->count; i++) {
        if (address >= maps->ranges[i].start && address < maps->ranges[i].end)
            return true;
    }
    return false;
}

static void expect_foreign_edges(const emma *instance)
{
    for (size_t i = 0; i < own.count; i++) {
        const bool joined_below = within(&own, own.ranges[i].start - 1);
        const bool joined_above = within(&own, own.ranges[i].end);
        CHECK(joined_below || !emma_owns(instance, (void *)(own.ranges[i].start - 1)));
        CHECK(joined_above || !emma_owns(instance, (void *)own.ranges[i].end));
    }
}

int main(void)
{
    test_need_own_maps();
    emma *other = test_create(EMMA_UNLIMITED, 0);
    emma *instance = test_create_mapped(NULL, &own);
    int on_the_stack = 0;
    void *of_libc = malloc(100);
    void *of_other = emma_malloc(other, 100);
    CHECK(of_libc && of_other);
    const void *outside[] = { NULL,
                              (void *)1,
                              &on_the_stack,
                              &own,
                              of_libc,
                              of_other,
                              (void *)UINTPTR_MAX,
                              (void *)(uintptr_t)main,
                              "literal",
                              (void *)(UINTPTR_MAX / 2 + 1) };
    for (size_t i = 0; i < TEST_COUNT(outside); i++)
        CHECK(!emma_owns(instance, outside[i]));
    CHECK(emma_owns(other, of_other));
    expect_foreign_edges(instance);

    test_rng rng = test_rng_from(31);
    for (size_t i = 0; i < BLOCKS; i++) {
        const size_t bytes = test_random_size(&rng, TEST_MIB);
        unsigned char *block = emma_malloc(instance, bytes);
        CHECK(block != NULL);
        CHECK(emma_owns(instance, block));
        CHECK(emma_owns(instance, block + emma_usable_size(instance, block) - 1));
        CHECK(!emma_owns(other, block));
    }
    const size_t resident = test_resident_bytes(&own);
    size_t owned = 0;
    for (size_t i = 0; i < ADDRESSES; i++) {
        const test_range *range = &own.ranges[test_below(&rng, own.count)];
        const uintptr_t inside = range->start + test_below(&rng, range->end - range->start);
        owned += emma_owns(instance, (void *)inside);
        const uintptr_t anywhere = test_random(&rng) >> test_below(&rng, 64);
        CHECK(within(&own, anywhere) || !emma_owns(instance, (void *)anywhere));
    }
    CHECK_GT(owned, 0);
    CHECK_EQ(test_resident_bytes(&own), resident);
    emma_destroy(instance);
    emma_destroy(other);
    free(of_libc);
    return 0;
}
