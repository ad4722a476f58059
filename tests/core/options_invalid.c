/* Options out of their range are refused by emma_create and told by emma_options_check; those at
 * the edge of it are taken. */
#include "emma_test.h"

static void expect(const emma_options *options, enum emma_status status)
{
    CHECK_EQ(emma_options_check(options), status);
    emma *instance = emma_create(options);
    CHECK_EQ(instance != NULL, status == EMMA_OK);
    emma_destroy(instance);
}

static void try_limits(void)
{
    emma_options options = test_options();
    const size_t bad[] = { 0, 1, 64, 4096, EMMA_LIMIT_MIN_BYTES - 4096, EMMA_LIMIT_MIN_BYTES - 1 };
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        options.limit_bytes = bad[i];
        expect(&options, EMMA_INVALID);
    }
    const size_t good[] = { EMMA_LIMIT_MIN_BYTES, EMMA_LIMIT_MIN_BYTES + 1, TEST_MIB,
                            (size_t)PTRDIFF_MAX,  EMMA_UNLIMITED - 1,       EMMA_UNLIMITED };
    for (size_t i = 0; i < TEST_COUNT(good); i++) {
        options.limit_bytes = good[i];
        expect(&options, EMMA_OK);
    }
}

static void try_reserves(void)
{
    emma_options options = test_options();
    const size_t bad[] = { 1, 4096, EMMA_RESERVE_MIN_BYTES - 1 };
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        options.reserve_bytes = bad[i];
        expect(&options, EMMA_INVALID);
    }
    const size_t good[] = { 0, EMMA_RESERVE_MIN_BYTES, EMMA_RESERVE_MIN_BYTES + 1, 3 * TEST_MIB };
    for (size_t i = 0; i < TEST_COUNT(good); i++) {
        options.reserve_bytes = good[i];
        expect(&options, EMMA_OK);
    }
    /* More than there is: whatever the check says, nothing is created and nothing breaks. */
    const size_t absurd[] = { (size_t)1 << 47,  (size_t)1 << 56, (size_t)PTRDIFF_MAX,
                              SIZE_MAX / 2 + 2, SIZE_MAX - 4096, SIZE_MAX - 1,
                              SIZE_MAX };
    for (size_t i = 0; i < TEST_COUNT(absurd); i++) {
        options.reserve_bytes = absurd[i];
        CHECK_EQ(emma_create(&options), NULL);
    }
}

static void try_spares(void)
{
    emma_options options = test_options();
    options.limit_bytes = TEST_MIB;
    const size_t bad[] = { TEST_MIB, TEST_MIB + 1, SIZE_MAX };
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        options.spare_bytes = bad[i];
        expect(&options, EMMA_INVALID);
    }
    options.spare_bytes = 64 * TEST_KIB;
    expect(&options, EMMA_OK);
}

static void try_soft_limits(void)
{
    emma_options options = test_options();
    options.soft_limit_bytes = 0;
    expect(&options, EMMA_INVALID);
    options.soft_limit_bytes = 1;
    expect(&options, EMMA_OK);
}

static void try_flags(void)
{
    emma_options options = test_options();
    for (unsigned bit = 0; bit < 32; bit++) {
        options.flags = 1u << bit;
        if (options.flags & ~(unsigned)(EMMA_ALIGN8 | EMMA_SHARED | EMMA_CHECKPOINTS)) {
            CHECK_NE(emma_options_check(&options), EMMA_OK);
            CHECK_EQ(emma_create(&options), NULL);
            options.flags |= EMMA_ALIGN8;
            CHECK_EQ(emma_create(&options), NULL);
        }
    }
    options.flags = EMMA_ALIGN8;
    expect(&options, EMMA_OK);
}

int main(void)
{
    expect(NULL, EMMA_OK);
    try_limits();
    try_reserves();
    try_spares();
    try_soft_limits();
    try_flags();
    return 0;
}
