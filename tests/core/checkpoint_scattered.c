/* test: +valgrind +asan */
/* More stretches of written pages than one question to the kernel is answered by: all are rolled back, and all are
 * copied by a further checkpoint. */
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
    return 0;
}
