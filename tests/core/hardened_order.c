/* test: whole plain */
/* EMMA_RANDOM_ORDER: two instances hand out the blocks of fresh pages in orders that have nothing in common, and
 * none does so upwards; each block once. */
#define EMMA_RANDOM_ORDER 1
#include "emma_fault.h"

enum { BLOCKS = 2000 };

static bool handed_out[EMMAI_MIB / 8];

static void offsets(emma *instance, size_t bytes, size_t *out)
{
    memset(handed_out, 0, sizeof handed_out);
    for (size_t i = 0; i < BLOCKS; i++) {
        void *block = emma_malloc(instance, bytes);
        CHECK(block != NULL);
        out[i] = emmai_offset(instance, block);
        CHECK_LT(out[i] / 8, TEST_COUNT(handed_out));
        CHECK(!handed_out[out[i] / 8]);
        handed_out[out[i] / 8] = true;
    }
}

int main(void)
{
    static const size_t sizes[] = { 8, 16, 48, 100, 400 };
    for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
        static size_t first[BLOCKS], second[BLOCKS];
        emma *one = test_create(EMMA_UNLIMITED, EMMA_ALIGN8);
        emma *other = test_create(EMMA_UNLIMITED, EMMA_ALIGN8);
        offsets(one, sizes[s], first);
        offsets(other, sizes[s], second);
        size_t same = 0, upwards = 0;
        for (size_t i = 1; i < BLOCKS; i++) {
            same += first[i] == second[i];
            upwards += first[i] > first[i - 1];
        }
        CHECK_LT(same, BLOCKS / 4); /* ten blocks to a page of the largest */
        CHECK_GT(upwards, BLOCKS / 3);
        CHECK_LT(upwards, BLOCKS * 2 / 3);
        CHECK_EQ(emma_check(one), EMMA_OK);
        emma_destroy(one);
        emma_destroy(other);
    }
    return 0;
}
