/* One block grows to 200 MB, alone, and beside blocks that stand in its way; it shrinks again in
 * steps. Its contents are kept through all of it, and what it no longer needs can be trimmed. */
#include "emma_test.h"

#define TOP_BYTES (200 * TEST_MIB)
enum { OBSTACLES = 200 };

/* The first word of each page is enough to see where a page came from. */
static void mark(unsigned char *block, size_t from, size_t to)
{
    for (size_t at = (from + 4095) & ~(size_t)4095; at + 8 <= to; at += TEST_PAGE_BYTES)
        test_fill(block + at, 8, at);
}

static void expect_marks(const unsigned char *block, size_t bytes)
{
    for (size_t at = 0; at + 8 <= bytes; at += TEST_PAGE_BYTES)
        CHECK(test_filled(block + at, 8, at));
}

static unsigned char *resize(emma *instance, unsigned char *block, size_t from, size_t to)
{
    block = emma_realloc(instance, block, to);
    CHECK(block != NULL);
    CHECK_GE(emma_usable_size(instance, block), to);
    expect_marks(block, from < to ? from : to);
    mark(block, from, to);
    return block;
}

static void run(bool obstacles)
{
    unsigned char *in_the_way[OBSTACLES];
    size_t count = 0;
    emma *instance = test_create(EMMA_UNLIMITED, EMMA_ALIGN8);
    unsigned char *block = emma_malloc(instance, 10);
    CHECK(block != NULL);
    size_t bytes = 0;
    for (size_t next = 10; next < TOP_BYTES; next += next / 2) {
        block = resize(instance, block, bytes, next);
        bytes = next;
        if (obstacles && count < OBSTACLES) {
            in_the_way[count] = emma_malloc(instance, 50000 + count);
            CHECK(in_the_way[count] != NULL);
            test_fill(in_the_way[count], 50000 + count, count);
            count++;
        }
    }
    block = resize(instance, block, bytes, TOP_BYTES);
    for (bytes = TOP_BYTES; bytes > 100; bytes = bytes * 2 / 3)
        block = resize(instance, block, bytes, bytes * 2 / 3);
    for (size_t i = 0; i < count; i++) {
        CHECK(test_filled(in_the_way[i], 50000 + i, i));
        emma_free(instance, in_the_way[i]);
    }
    emma_free(instance, block);
    emma_trim(instance);
    CHECK_LT(test_stats(instance).footprint_bytes, TEST_MIB);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

/* Growth by a page at a time must not copy each time: what is copied stays within a few times the
 * top. */
static void expect_growth_in_place(void)
{
    enum { TOP = 32 << 20, COPIES_MAX = 4 };
    emma *instance = test_create(EMMA_UNLIMITED, 0);
    unsigned char *block = NULL;
    for (size_t bytes = TEST_PAGE_BYTES; bytes <= TOP; bytes += TEST_PAGE_BYTES) {
        block = emma_realloc(instance, block, bytes);
        CHECK(block != NULL);
        test_fill(block + bytes - TEST_PAGE_BYTES, 8, bytes - TEST_PAGE_BYTES);
    }
    expect_marks(block, TOP);
    CHECK_LE(test_stats(instance).moved_bytes, (uint64_t)TOP * COPIES_MAX);
    emma_destroy(instance);
}

int main(void)
{
    run(false);
    run(true);
    expect_growth_in_place();
    return 0;
}
