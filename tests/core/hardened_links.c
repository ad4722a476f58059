/* test: whole plain */
/* EMMA_ENCODED_LINKS: whatever is written to the link of a freed block, a byte, all of it, or the link of another,
 * the allocator neither follows it out of the region nor hands out what it leads to: it tells. */
#define EMMA_CHECKS        1
#define EMMA_ENCODED_LINKS 1
#include "emma_fault.h"

enum { BLOCKS = 30, BLOCK_BYTES = 64, VALUES = 256 };

static test_crimes crimes = { EMMA_MISUSE_AFTER_FREE, 0 };

static emma *create(void)
{
    emma_options options = test_options();
    options.misuse_handler = test_count_crime;
    options.misuse_arg = &crimes;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    return instance;
}

/* Frees one of some blocks, writes `link` to it, frees another one, and allocates until that has told. */
static void damage(emma *instance, void **blocks, uint64_t link, bool is_last)
{
    uint64_t before;
    emma_free(instance, blocks[3]);
    memcpy(&before, blocks[3], sizeof before);
    if (link == before) {
        blocks[3] = emma_malloc(instance, BLOCK_BYTES);
        return;
    }
    memcpy(blocks[3], &link, sizeof link);
    if (!is_last)
        emma_free(instance, blocks[4]);
    const unsigned told = crimes.found;
    void *block = NULL;
    for (size_t i = 0; i < 2 * BLOCKS && crimes.found == told; i++) {
        block = emma_malloc(instance, BLOCK_BYTES);
        CHECK(crimes.found > told || block != NULL);
        for (size_t j = 0; j < BLOCKS; j++)
            CHECK(j == 3 || (j == 4 && !is_last) || !block || block != blocks[j]);
    }
    CHECK_EQ(crimes.found, told + 1);
}

int main(void)
{
    for (unsigned byte = 0; byte < 8; byte++) {
        for (unsigned value = 0; value < VALUES; value += 5) {
            emma *instance = create();
            void *blocks[BLOCKS];
            for (size_t i = 0; i < BLOCKS; i++)
                CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
            uint64_t link;
            emma_free(instance, blocks[3]);
            memcpy(&link, blocks[3], sizeof link);
            CHECK_EQ(emma_malloc(instance, BLOCK_BYTES), blocks[3]);
            link &= ~(((uint64_t)VALUES - 1) << (8 * byte));
            damage(instance, blocks, link | (uint64_t)value << (8 * byte), value % 2);
            emma_destroy(instance);
        }
    }
    /* As links were without a secret; of another block; none. */
    uint64_t link;
    emma *instance = create();
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    damage(instance, blocks, (uintptr_t)blocks[7], true);
    CHECK((blocks[3] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    emma_free(instance, blocks[9]);
    memcpy(&link, blocks[9], sizeof link);
    blocks[9] = NULL;
    damage(instance, blocks, link, false);
    CHECK((blocks[3] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    damage(instance, blocks, 0, true);
    emma_destroy(instance);
    return 0;
}
