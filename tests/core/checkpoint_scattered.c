/* test: +valgrind +asan */
/* More stretches of written pages than one question to the kernel is answered by: all are rolled back, and all are
 * copied by a further checkpoint. And blocks that went and came meanwhile. */
#include "emma_test.h"

enum { STRETCHES = 1000, STRIDE_BYTES = 3 * 4096, SOME = 7 };

static unsigned char *block;

/* Writes to one page of each stride, or of each n-th only. */
static void scatter(uint64_t tag, size_t every)
{
    for (size_t i = 0; i < STRETCHES; i += every)
        test_fill(block + i * STRIDE_BYTES, 100, tag + i);
}

static void expect_scattered(uint64_t tag, size_t every)
{
    for (size_t i = 0; i < STRETCHES; i += every)
        CHECK(test_filled(block + i * STRIDE_BYTES, 100, tag + i));
}

static size_t bytes_of(size_t i)
{
    return i % 5 ? 50 + i : 30000;
}

/* Blocks that went, came, or have another size since are what they were. */
static void go_and_come(void)
{
    enum { BLOCKS = 40 };
    unsigned char *blocks[BLOCKS];
    unsigned level;
    emma *instance = test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK); /* there is none */
    CHECK(emma_malloc(instance, 100) != NULL && emma_malloc(instance, 100000) != NULL);
    CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK((blocks[i] = emma_malloc(instance, bytes_of(i))) != NULL);
        test_fill(blocks[i], bytes_of(i), i);
    }
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, blocks[i]);
    CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 3 == 0)
            emma_free(instance, blocks[i]);
        else if (i % 3 == 1)
            CHECK(emma_realloc(instance, blocks[i], bytes_of(i) + 1) != NULL);
    }
    for (size_t i = 0; i < 2 * BLOCKS; i++)
        CHECK(emma_malloc(instance, 60 + 7 * i) != NULL);
    CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[i], bytes_of(i), i));
        emma_free(instance, blocks[i]);
    }
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    unsigned first, second;
    emma *instance = test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS);
    CHECK((block = emma_malloc(instance, STRETCHES * (size_t)STRIDE_BYTES)) != NULL);
    scatter(1, 1);
    CHECK_EQ(emma_checkpoint(instance, &first), EMMA_OK);
    scatter(5000, 1);
    CHECK_EQ(emma_rollback(instance, first), EMMA_OK);
    expect_scattered(1, 1);

    scatter(9000, 1);
    CHECK_EQ(emma_checkpoint(instance, &second), EMMA_OK);
    scatter(20000, SOME);
    CHECK_EQ(emma_rollback(instance, second), EMMA_OK);
    expect_scattered(9000, 1);
    scatter(30000, SOME);
    CHECK_EQ(emma_rollback(instance, first), EMMA_OK);
    expect_scattered(1, 1);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    go_and_come();
    return 0;
}
