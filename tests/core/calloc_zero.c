/* test: +canaries +zeros +hardened */
/* emma_calloc gives zeros whatever lay there before: after blocks of the same and of other sizes
 * were filled and freed, after a shrink, a trim and a reset. */
#include "emma_test.h"

enum { ROUNDS = 6, AT_ONCE = 24 };

static void dirty(emma *instance, size_t bytes)
{
    unsigned char *blocks[AT_ONCE];
    for (size_t i = 0; i < AT_ONCE; i++) {
        blocks[i] = emma_malloc(instance, bytes);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 0xff, emma_usable_size(instance, blocks[i]));
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        if (i % 2 == 0) {
            blocks[i] = emma_realloc(instance, blocks[i], bytes / 2);
            CHECK(blocks[i] != NULL);
        }
        emma_free(instance, blocks[i]);
    }
}

static void expect_zeros(emma *instance, size_t bytes)
{
    unsigned char *blocks[AT_ONCE];
    for (size_t i = 0; i < AT_ONCE; i++) {
        blocks[i] = emma_calloc(instance, 1, bytes);
        CHECK(blocks[i] != NULL);
        CHECK(test_zeroed(blocks[i], bytes));
        memset(blocks[i], 0xff, bytes);
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        emma_free(instance, blocks[i]);
}

static void run(unsigned flags, bool trim, bool reset)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t bytes = 1; bytes < 600000; bytes += bytes / 3 + 1) {
            dirty(instance, bytes);
            if (trim)
                emma_trim(instance);
            if (reset)
                CHECK_EQ(emma_reset(instance), EMMA_OK);
            expect_zeros(instance, bytes);
            expect_zeros(instance, bytes * 3 / 2);
            expect_zeros(instance, bytes / 3);
        }
    }
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    run(0, false, false);
    run(EMMA_ALIGN8, true, false);
    run(EMMA_ALIGN8, false, true);
    return 0;
}
