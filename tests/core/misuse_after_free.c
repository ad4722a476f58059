/* test: checks canaries */
/* What is written to a freed block may lead the allocator to a block that the caller has: it is not
 * handed out a second time, but reported, be it of a young slab or another, by whatever call. */
#include "emma_test.h"

enum { BLOCKS = 40 };

static unsigned found, others;
static const void *found_at;

static void count(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                  const char *message)
{
    (void)arg, (void)instance;
    if (crime == EMMA_MISUSE_AFTER_FREE) {
        CHECK(strstr(message, "write after free") != NULL);
        found_at = address;
        found++;
    } else {
        others++;
    }
}

static void *allocate(emma *instance, size_t bytes, unsigned how)
{
    switch (how % 4) {
    case 0:
        return emma_malloc(instance, bytes);
    case 1:
        return emma_calloc(instance, 1, bytes);
    case 2:
        return emma_resize(instance, NULL, 0, bytes);
    default:
        return emma_aligned_alloc(instance, 16, bytes);
    }
}

static void mislead(emma *instance, size_t bytes, unsigned how)
{
    unsigned char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK((blocks[i] = emma_malloc(instance, bytes)) != NULL);
        test_fill(blocks[i], bytes, i);
    }
    emma_free(instance, blocks[0]);
    emma_free(instance, blocks[1]);
    memcpy(blocks[0], &blocks[5], sizeof blocks[5]); /* as if it were the next free one */
    memcpy(blocks[1], &blocks[5], sizeof blocks[5]);
    const unsigned before = found;
    for (size_t i = 0; found == before && i < (size_t)64 * 1024; i++) {
        unsigned char *block = allocate(instance, bytes, how);
        CHECK(block != NULL || found > before);
        for (size_t j = 2; j < BLOCKS; j++)
            CHECK(block != blocks[j]);
    }
    CHECK_EQ(found, before + 1);
    CHECK_EQ(found_at, blocks[5]);
    CHECK_EQ(others, 0);
    for (size_t i = 2; i < BLOCKS; i++) /* its first word was taken for a link, and only read */
        CHECK(test_filled(blocks[i], bytes, i));
}

int main(void)
{
    static const size_t sizes[] = { 24, 56, 120, 500, 3000 };
    for (unsigned how = 0; how < 4; how++) {
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            emma_options options = test_options();
            options.misuse_handler = count;
            emma *instance = emma_create(&options);
            CHECK(instance != NULL);
            mislead(instance, sizes[i], how);
            emma_destroy(instance);
        }
    }
    return 0;
}
