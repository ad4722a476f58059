/* test: +canaries +hardened */
/* emma_usable_size: at least what was asked for, and all of it may be written: blocks filled to
 * their usable size do not overlap. Other sizes told by a free or a walk are the same. */
#include "emma_test.h"

enum { BLOCKS = 3000 };

static unsigned char *blocks[BLOCKS];
static size_t sizes[BLOCKS];

static bool visit(void *arg, void *block, size_t bytes)
{
    size_t *sum = arg;
    (void)block;
    *sum += bytes;
    return true;
}

static void run(unsigned flags)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    test_rng rng = test_rng_from(flags + 21);
    size_t sum = 0, walked = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        const size_t bytes = i < 2100 ? i : test_random_size(&rng, 400000);
        blocks[i] = emma_malloc(instance, bytes);
        CHECK(blocks[i] != NULL);
        sizes[i] = emma_usable_size(instance, blocks[i]);
        CHECK_GE(sizes[i], bytes);
        CHECK_LE(sizes[i], bytes + bytes / 4 + 2 * TEST_PAGE_BYTES);
        test_fill(blocks[i], sizes[i], i);
        sum += sizes[i];
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[i], sizes[i], i));
        CHECK_EQ(emma_usable_size(instance, blocks[i]), sizes[i]);
    }
    CHECK(emma_walk(instance, visit, &walked));
    CHECK_EQ(walked, sum);
    CHECK_GE(test_stats(instance).live_bytes, sum);
    CHECK(TEST_CHECKED_BUILD || test_stats(instance).live_bytes == sum);
    CHECK_EQ(emma_usable_size(instance, NULL), 0);
    /* Within the usable size a realloc stays a plain success, growing too. */
    for (size_t i = 0; i < BLOCKS; i++) {
        unsigned char *block = emma_realloc(instance, blocks[i], sizes[i]);
        CHECK(block != NULL);
        emma_free_sized(instance, block, sizes[i]);
    }
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    return 0;
}
