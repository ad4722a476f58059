/* malloc, calloc, realloc, reallocarray, free: zero bytes, alignment, contents, errno. */
#include "malloc_test.h"

void free_sized(void *block, size_t bytes);
void free_aligned_sized(void *block, size_t alignment, size_t bytes);

static void test_zero_bytes(void)
{
    void *one = malloc(0), *other = malloc(0);
    CHECK(one && other && one != other);
    free(one);
    free(other);
    one = calloc(0, 8);
    other = calloc(8, 0);
    CHECK(one && other && one != other);
    free(one);
    free(other);
    one = realloc(NULL, 0);
    CHECK(one != NULL);
    free(one);
}

static void test_realloc_to_zero(void)
{
    void *block = malloc(100);
    errno = 0;
    CHECK(realloc(block, 0) == NULL);
    CHECK_EQ(errno, 0);
    block = malloc(100);
    CHECK(reallocarray(block, 0, 8) == NULL);
    CHECK_EQ(errno, 0);
    const size_t blocks = mallinfo2().uordblks;
    for (int i = 0; i < 1000; i++)
        CHECK(realloc(malloc(4000), 0) == NULL);
    CHECK_LE(mallinfo2().uordblks, blocks + 8192); /* freed, not kept */
}

static void test_alignment_and_contents(void)
{
    enum { STEPS = 3000 };
    static void *blocks[STEPS];
    for (size_t i = 0; i < STEPS; i++) {
        blocks[i] = i % 2 ? malloc(i * 7) : calloc(i, 7);
        CHECK(blocks[i] != NULL);
        CHECK_EQ((uintptr_t)blocks[i] % 16, 0);
        CHECK_GE(malloc_usable_size(blocks[i]), i * 7);
        if (i % 2 == 0)
            CHECK(test_zeroed(blocks[i], i * 7));
        test_fill(blocks[i], i * 7, i);
    }
    for (size_t i = 0; i < STEPS; i++) {
        blocks[i] = realloc(blocks[i], i * 13 + 1);
        CHECK(blocks[i] != NULL);
        CHECK_EQ((uintptr_t)blocks[i] % 16, 0);
        CHECK(test_filled(blocks[i], i * 7 / 8 * 8, i));
    }
    for (size_t i = 0; i < STEPS; i++)
        free(blocks[i]);
}

static void test_errno_stays(void)
{
    errno = 12345;
    void *block = malloc(10);
    void *large = malloc(50 * TEST_MIB);
    free(NULL);
    free(block);
    free(large);
    block = realloc(malloc(10), 100000);
    free(block);
    CHECK_EQ(errno, 12345);
}

static void test_sized_frees(void)
{
    free_sized(malloc(33), 33);
    free_sized(calloc(3, 11), 33);
    free_sized(NULL, 5);
    free_aligned_sized(aligned_alloc(256, 512), 256, 512);
    free_aligned_sized(NULL, 64, 64);
}

int main(void)
{
    malloc_test_serves();
    test_zero_bytes();
    test_realloc_to_zero();
    test_alignment_and_contents();
    test_errno_stays();
    test_sized_frees();
    return 0;
}
