/* test: plain tiny */
/* The classes: sizes rise without end or gap, each serves its own size without waste, and the last
 * index is the last. A class's figures follow its blocks. */
#include "emma_test.h"

enum { BLOCKS = 700 };

static void *blocks[BLOCKS];

static void run(unsigned flags)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    emma_class_stats kind = { .struct_bytes = sizeof kind };
    size_t last_bytes = 0;
    unsigned index = 0;
    for (; emma_get_class_stats(instance, index, &kind); index++) {
        CHECK_EQ(kind.struct_bytes, sizeof kind);
        CHECK_GT(kind.block_bytes, last_bytes);
        last_bytes = kind.block_bytes;
        CHECK_EQ(kind.live_blocks, 0);
    }
    CHECK_GT(index, 10);
    for (unsigned beyond = index; beyond < index + 100; beyond++)
        CHECK(!emma_get_class_stats(instance, beyond, &kind));
    CHECK(!emma_get_class_stats(instance, ~0u, &kind));

    for (unsigned i = 0; i < index; i++) {
        CHECK(emma_get_class_stats(instance, i, &kind));
        const size_t bytes = kind.block_bytes, usable_most = bytes + 8;
        for (size_t k = 0; k < BLOCKS; k++) {
            blocks[k] = emma_malloc(instance, bytes);
            CHECK(blocks[k] != NULL);
            CHECK_LE(emma_usable_size(instance, blocks[k]), usable_most);
        }
        CHECK(emma_get_class_stats(instance, i, &kind));
        if (kind.live_blocks > 0) { /* else the alignment puts this size into the next class */
            CHECK_EQ(kind.live_blocks, BLOCKS);
            CHECK_GE(kind.slabs, 1);
            CHECK_GE(kind.footprint_bytes, BLOCKS * bytes);
        }
        for (size_t k = 0; k < BLOCKS; k++)
            emma_free(instance, blocks[k]);
        CHECK(emma_get_class_stats(instance, i, &kind));
        CHECK_EQ(kind.live_blocks, 0);
    }
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    return 0;
}
