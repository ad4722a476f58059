/* What free chunks keep is used again before memory is taken from the kernel: single chunks between
 * others in use, and what large blocks leave. */
#include "emma_test.h"

enum { CHUNK_SHIFT = 14, BLOCK_BYTES = 1000, BLOCKS = 4096 };
#define LARGE_BYTES (BLOCKS * (size_t)BLOCK_BYTES)
#define SLACK_BYTES (512 * TEST_KIB)

static emma *instance;
static void *blocks[BLOCKS];

/* Given back to the kernel because the footprint would otherwise have grown. */
static uint64_t returned(void)
{
    return test_stats(instance).returned_bytes;
}

static void fill(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        if (!blocks[i])
            CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
}

static bool is_in_odd_chunk(const void *block)
{
    return (uintptr_t)block >> CHUNK_SHIFT & 1;
}

static void empty(bool all)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        if (!all && !is_in_odd_chunk(blocks[i]))
            continue;
        emma_free(instance, blocks[i]);
        blocks[i] = NULL;
    }
}

int main(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    void *large = emma_malloc(instance, LARGE_BYTES);
    CHECK(large != NULL);
    memset(large, 1, LARGE_BYTES);
    emma_free(instance, large);
    fill();
    empty(false);
    fill();
    CHECK_LE(returned(), TEST_MARKS_BYTES(LARGE_BYTES)); /* in place of which it takes its map */
    CHECK(test_stats(instance).footprint_bytes < LARGE_BYTES + SLACK_BYTES);
    empty(true);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
