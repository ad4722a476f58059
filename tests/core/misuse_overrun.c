/* test: checks canaries hardened */
/* A write past a block's end is found when the block comes back, be it of one byte and whatever it
 * writes, where the bytes asked for fill all that the block has. Without canaries that is so where a block has so
 * many more bytes than asked for that it has its size in its last word, and that cannot be one. */
#include "emma_test.h"

enum { VALUES = 256, FAR = 8 };

static unsigned found, others;
static char expected[TEST_LINE_BYTES];

static void count(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                  const char *message)
{
    (void)arg, (void)instance, (void)address;
    if (crime == EMMA_MISUSE_OVERRUN) {
        CHECK(strcmp(message, expected) == 0);
        found++;
    } else {
        others++;
    }
}

static void free_either(emma *instance, void *block, size_t bytes, bool sized)
{
    if (sized)
        emma_free_sized(instance, block, bytes);
    else
        emma_free(instance, block);
}

static void try_overrun(emma *instance, size_t bytes, size_t distance, unsigned value)
{
    char place[TEST_PLACE_BYTES];
    size_t block_bytes;
    unsigned char *block = test_malloc_counted(instance, bytes, &block_bytes);
    test_misuse_place(place, instance, block, block_bytes);
    test_misuse_line(expected, "unnamed", "overrun block", block, place);
    const unsigned char before = block[bytes + distance];
    if (before == value) {
        emma_free(instance, block);
        return;
    }
    const unsigned crimes = found;
    block[bytes + distance] = (unsigned char)value;
    free_either(instance, block, bytes, value % 2);
    CHECK_EQ(found, crimes + 1);
    CHECK_EQ(others, 0);
    block[bytes + distance] = before;
    free_either(instance, block, bytes, value % 2);
    CHECK_EQ(found, crimes + 1);
}

static void try_size(emma *instance)
{
    char place[TEST_PLACE_BYTES];
    const size_t before = test_stats(instance).live_bytes;
    unsigned char *block = emma_aligned_alloc(instance, 4096, 100);
    CHECK(block != NULL);
    const size_t block_bytes = test_stats(instance).live_bytes - before;
    test_misuse_place(place, instance, block, block_bytes);
    test_misuse_line(expected, "unnamed", "overrun block", block, place);
    size_t *size = (size_t *)(void *)(block + block_bytes) - 1;
    CHECK_EQ(*size, 100);
    const unsigned crimes = found;
    *size = block_bytes + 1;
    emma_free(instance, block);
    CHECK_EQ(found, crimes + 1);
    CHECK_EQ(others, 0);
    *size = 100;
    emma_free(instance, block);
    CHECK_EQ(found, crimes + 1);
}

int main(void)
{
    static const size_t sizes[] = { 8, 24, 40, 56, 120, 1016, 4088, 70008, 300008 };
    emma_options options = test_options();
    options.misuse_handler = count;
    options.flags = EMMA_ALIGN8;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    try_size(instance);
    for (size_t i = 0; TEST_CANARIES && i < TEST_COUNT(sizes); i++) {
        for (unsigned value = 0; value < VALUES; value++) {
            for (size_t distance = 0; distance < FAR; distance++)
                try_overrun(instance, sizes[i], distance, value);
        }
    }
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
    return 0;
}
