/* test: +canaries +hardened */
/* Sizes that cannot be, to every entry that takes one: NULL, with every figure unchanged but the
 * count of refusals, and every block intact. */
#include "emma_test.h"

enum { AROUND = 40 };

static emma *instance;
static unsigned char *small, *large;
static emma_stats before;

static void expect_unchanged(void)
{
    emma_stats now = test_stats(instance);
    CHECK_GE(now.refused_count, before.refused_count);
    now.refused_count = before.refused_count;
    CHECK(memcmp(&now, &before, sizeof now) == 0);
    CHECK(test_filled(small, 100, 1));
    CHECK(test_filled(large, 100000, 2));
}

static void expect_refused(size_t bytes)
{
    CHECK_EQ(emma_malloc(instance, bytes), NULL);
    CHECK_EQ(emma_calloc(instance, 1, bytes), NULL);
    CHECK_EQ(emma_calloc(instance, bytes, 1), NULL);
    CHECK_EQ(emma_realloc(instance, NULL, bytes), NULL);
    CHECK_EQ(emma_realloc(instance, small, bytes), NULL);
    CHECK_EQ(emma_realloc(instance, large, bytes), NULL);
    CHECK_EQ(emma_realloc_sized(instance, NULL, 0, bytes), NULL);
    CHECK_EQ(emma_realloc_sized(instance, small, 100, bytes), NULL);
    CHECK_EQ(emma_realloc_sized(instance, large, 100000, bytes), NULL);
    for (unsigned shift = 0; shift < 64; shift++)
        CHECK_EQ(emma_aligned_alloc(instance, (size_t)1 << shift, bytes), NULL);
    expect_unchanged();
}

static void expect_refused_products(void)
{
    const size_t root = (size_t)1 << 32;
    const size_t pairs[][2] = {
        { root, root },
        { root, root + 1 },
        { SIZE_MAX, 2 },
        { 2, SIZE_MAX },
        { SIZE_MAX, SIZE_MAX },
        { SIZE_MAX / 2 + 1, 2 },
        { SIZE_MAX / 3 + 1, 3 },
        { SIZE_MAX / 16 + 1, 16 },
        { SIZE_MAX / 16 + 2, 16 },
        { 48, SIZE_MAX / 48 + 1 },
        { (size_t)1 << 63, 2 },
        { ((size_t)1 << 63) + 1, 2 },
        { root * 2, root / 2 },
        { (size_t)PTRDIFF_MAX, 2 },
        { 8, SIZE_MAX / 8 },
    };
    for (size_t i = 0; i < TEST_COUNT(pairs); i++) {
        CHECK_EQ(emma_calloc(instance, pairs[i][0], pairs[i][1]), NULL);
        expect_unchanged();
    }
}

static void run(unsigned flags, size_t limit_bytes)
{
    instance = test_create(limit_bytes, flags);
    small = emma_malloc(instance, 100);
    large = emma_malloc(instance, 100000);
    CHECK(small && large);
    test_fill(small, 100, 1);
    test_fill(large, 100000, 2);
    before = test_stats(instance);
    const size_t centres[] = { (size_t)PTRDIFF_MAX, SIZE_MAX / 4, before.reserve_bytes };
    for (size_t i = 0; i < TEST_COUNT(centres); i++) {
        for (size_t k = 0; k < AROUND; k++) {
            expect_refused(centres[i] + k);
            expect_refused(centres[i] - k);
            expect_refused(centres[i] + ((size_t)1 << k));
        }
    }
    for (size_t k = 0; k < 3 * AROUND; k++)
        expect_refused(SIZE_MAX - k);
    for (size_t shift = 0; shift < 17; shift++)
        expect_refused(SIZE_MAX - ((size_t)1 << shift));
    expect_refused_products();
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    run(0, EMMA_UNLIMITED);
    run(EMMA_ALIGN8, EMMA_UNLIMITED);
    run(0, TEST_MIB);
    return 0;
}
