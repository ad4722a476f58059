/* test: whole plain */
/* EMMA_ZERO_ON_FREE: what was in a block is gone once it is freed, moved away from or shrunk off; what is handed
 * out is zero; and a byte that was written in between is found, by emma_check and when the block is handed out. */
#define EMMA_CHECKS       1
#define EMMA_ZERO_ON_FREE 1
#include "emma_fault.h"

enum { LINK_BYTES = 8, OTHERS_MAX = 2000 };

static test_crimes crimes = { EMMA_MISUSE_AFTER_FREE, 0 };

static bool is_zero(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i])
            return false;
    return true;
}

static unsigned char *filled(emma *instance, size_t bytes)
{
    unsigned char *block = emma_malloc(instance, bytes);
    CHECK(block != NULL);
    CHECK(is_zero(block, bytes));
    memset(block, 0xa5, bytes);
    return block;
}

static void try_contents(emma *instance, size_t bytes)
{
    unsigned char *stays = filled(instance, bytes);
    unsigned char *block = filled(instance, bytes);
    emma_free(instance, block);
    CHECK(is_zero(block + LINK_BYTES, bytes - LINK_BYTES));
    block = filled(instance, bytes);
    emma_free_sized(instance, block, bytes);
    CHECK(is_zero(block + LINK_BYTES, bytes - LINK_BYTES));

    block = filled(instance, bytes);
    unsigned char *next = filled(instance, bytes);
    unsigned char *moved = emma_realloc(instance, block, 3 * bytes);
    CHECK(moved != NULL && moved[bytes - 1] == 0xa5);
    if (moved != block)
        CHECK(is_zero(block + LINK_BYTES, bytes - LINK_BYTES));
    unsigned char *shrunk = emma_realloc_sized(instance, moved, 3 * bytes, bytes);
    CHECK(shrunk != NULL && shrunk[bytes - 1] == 0xa5);
    if (bytes > EMMAI_SLAB_MAX_BYTES) { /* in place: the rest of its last page, too */
        CHECK_EQ(shrunk, moved);
        shrunk = emma_realloc(instance, shrunk, emmai_round_up(bytes, EMMAI_PAGE_BYTES));
        CHECK_EQ(shrunk, moved);
        CHECK(is_zero(shrunk + bytes, emmai_round_up(bytes, EMMAI_PAGE_BYTES) - bytes));
    }
    emma_free(instance, shrunk);
    emma_free(instance, next);
    emma_free(instance, stays);
}

static void try_write(emma *instance, size_t bytes, size_t at)
{
    unsigned char *block = filled(instance, bytes);
    emma_free(instance, block);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    block[at] ^= 0x10;
    CHECK_EQ(emma_check(instance), EMMA_CORRUPT);
    const unsigned told = crimes.found;
    void *others[OTHERS_MAX];
    size_t count = 0;
    while ((others[count] = emma_malloc(instance, bytes)))
        CHECK_LT(++count, OTHERS_MAX);
    CHECK_EQ(crimes.found, told + 1);
    block[at] ^= 0x10;
    while (count > 0)
        emma_free(instance, others[--count]);
}

/* Large blocks grow into pages that are kept from earlier ones. */
static void try_growth(emma *instance)
{
    static const size_t sizes[] = { 500, 9000, 70000 };
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        for (size_t j = 0; j < 300; j++)
            filled(instance, sizes[j % TEST_COUNT(sizes)]);
        CHECK_EQ(emma_reset(instance), EMMA_OK);
        for (size_t j = 0; j < 10; j++) {
            const size_t bytes = 9000 + 7000 * i;
            unsigned char *block = filled(instance, bytes);
            block = emma_realloc(instance, block, 3 * bytes);
            CHECK(block != NULL);
            CHECK(is_zero(block + bytes, 2 * bytes));
        }
        CHECK_EQ(emma_reset(instance), EMMA_OK);
    }
}

int main(void)
{
    static const size_t sizes[] = { 16, 24, 40, 128, 200, 1000, 3000, 8000, 20000, 300001 };
    emma_options options = test_options();
    options.misuse_handler = test_count_crime;
    options.misuse_arg = &crimes;
    for (unsigned flags = 0; flags <= EMMA_ALIGN8; flags += EMMA_ALIGN8) {
        options.flags = flags;
        emma *instance = emma_create(&options);
        CHECK(instance != NULL);
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            try_contents(instance, sizes[i]);
            for (size_t at = LINK_BYTES; sizes[i] <= 200 && at < sizes[i]; at++)
                try_write(instance, sizes[i], at);
        }
        try_growth(instance);
        CHECK(is_zero(emma_malloc(instance, 100000), 100000));
        emma_destroy(instance);
    }
    CHECK_GT(crimes.found, 100);
    return 0;
}
