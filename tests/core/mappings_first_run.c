/* The process has all the mappings that the kernel allows it before the instance has a large block:
 * the first ones find room among the chunks that are accessible already. */
#include "emma_mappings.h"

enum { BLOCKS = 6, BLOCK_BYTES = 10000 }; /* more than a slab's */

static void act(void *arg)
{
    (void)arg;
    unsigned char *blocks[BLOCKS];
    emma *instance = test_create(EMMA_UNLIMITED, 0);
    unsigned char *small = emma_malloc(instance, 100);
    CHECK(small != NULL);
    test_fill(small, 100, 1);
    mappings_exhaust();
    for (size_t i = 1; i < BLOCKS; i++) {
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
        test_fill(blocks[i], BLOCK_BYTES, i);
    }
    CHECK((blocks[0] = emma_realloc(instance, small, BLOCK_BYTES)) != NULL);
    CHECK(test_filled(blocks[0], 100 - 100 % 8, 1));
    CHECK_EQ(test_stats(instance).large_blocks, BLOCKS);
    for (size_t i = 1; i < BLOCKS; i++)
        CHECK(test_filled(blocks[i], BLOCK_BYTES, i));
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    mappings_in_child(act);
    return 0;
}
