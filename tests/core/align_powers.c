/* test: +canaries +hardened */
/* emma_aligned_alloc: every power of two up to 1 GiB in an instance with the default reservation,
 * no other alignment, and NULL without a trace for what cannot be. */
#include "emma_test.h"

enum { GIB_SHIFT = 30, BLOCKS = 64 };

static unsigned char *blocks[BLOCKS];

/* Several at a time, of odd sizes, that must neither overlap nor lose their alignment to each
 * other. */
static void try_alignment(emma *instance, unsigned shift)
{
    const size_t alignment = (size_t)1 << shift;
    const size_t sizes[] = {
        0, 1, 8, 24, 100, alignment - 1, alignment, alignment + 1, 5000, 70000
    };
    size_t count = 0;
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        if (sizes[i] > 2 * TEST_MIB)
            continue;
        unsigned char *block = emma_aligned_alloc(instance, alignment, sizes[i]);
        if (shift > 26 && count > 0 && !block)
            continue; /* the region holds only so many places with such an alignment */
        CHECK(block != NULL);
        CHECK_EQ((uintptr_t)block % alignment, 0);
        CHECK_EQ((uintptr_t)block % 8, 0);
        CHECK_GE(emma_usable_size(instance, block), sizes[i]);
        test_fill(block, sizes[i], i);
        blocks[count++] = block;
    }
    CHECK_EQ(test_stats(instance).live_blocks, count);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    for (size_t i = 0, k = 0; k < count; i++) {
        if (sizes[i] > 2 * TEST_MIB)
            continue;
        if (shift <= 26)
            CHECK(test_filled(blocks[k], sizes[i], i));
        emma_free(instance, blocks[k++]);
    }
    CHECK_EQ(test_stats(instance).live_blocks, 0);
}

static void expect_refused(emma *instance, size_t alignment)
{
    const emma_stats before = test_stats(instance);
    CHECK_EQ(emma_aligned_alloc(instance, alignment, 0), NULL);
    CHECK_EQ(emma_aligned_alloc(instance, alignment, 1), NULL);
    CHECK_EQ(emma_aligned_alloc(instance, alignment, alignment), NULL);
    CHECK_EQ(emma_aligned_alloc(instance, alignment, SIZE_MAX - alignment + 2), NULL);
    CHECK_EQ(test_stats(instance).footprint_bytes, before.footprint_bytes);
    CHECK_EQ(test_stats(instance).live_blocks, before.live_blocks);
}

static void run(unsigned flags)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    for (unsigned shift = 0; shift <= GIB_SHIFT; shift++)
        try_alignment(instance, shift);
    for (unsigned shift = 48; shift < 64; shift++)
        expect_refused(instance, (size_t)1 << shift);
    expect_refused(instance, 0);
    for (unsigned shift = 1; shift < 64; shift++) {
        expect_refused(instance, ((size_t)1 << shift) + 1);
        expect_refused(instance, ((size_t)1 << shift) | ((size_t)1 << (shift - 1)));
        expect_refused(instance, ((size_t)2 << shift) - 1);
    }
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    return 0;
}
