/* posix_memalign, aligned_alloc, memalign, valloc, pvalloc: alignments from 1 to 64 MiB, those that are
 * none, and that such blocks are resized and freed as others. */
#include "malloc_test.h"

static void use(void *block, size_t alignment, size_t bytes)
{
    CHECK(block != NULL);
    CHECK_EQ((uintptr_t)block % alignment, 0);
    CHECK_EQ((uintptr_t)block % 16, 0);
    CHECK_GE(malloc_usable_size(block), bytes);
    test_fill(block, bytes, bytes);
    block = realloc(block, bytes + 5000);
    CHECK(block != NULL);
    CHECK(test_filled(block, bytes / 8 * 8, bytes));
    free(block);
}

static void test_powers(void)
{
    static const size_t sizes[] = { 0, 1, 24, 100, 1000, 5000, 20000, 300000 };
    for (size_t alignment = 1; alignment <= 64 * TEST_MIB; alignment *= 2)
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            void *block = NULL;
            use(memalign(alignment, sizes[i]), alignment, sizes[i]);
            use(aligned_alloc(alignment, sizes[i]), alignment, sizes[i]);
            if (alignment < sizeof(void *))
                continue;
            CHECK_EQ(posix_memalign(&block, alignment, sizes[i]), 0);
            use(block, alignment, sizes[i]);
        }
}

static void test_no_alignments(void)
{
    static const volatile size_t wrong[] = { 0, 3, 24, 48, 100, SIZE_MAX, SIZE_MAX / 2, 4097 };
    for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
        void *out = &out;
        errno = 77;
        CHECK_EQ(posix_memalign(&out, wrong[i], 16), EINVAL);
        CHECK_EQ(errno, 77);
        CHECK(out == &out);
        CHECK_REFUSED(aligned_alloc(wrong[i], 16), EINVAL);
    }
    for (size_t alignment = 1; alignment < sizeof(void *); alignment *= 2) {
        void *out = &out;
        CHECK_EQ(posix_memalign(&out, alignment, 16), EINVAL);
        CHECK(out == &out);
    }
    /* memalign rounds up, as far as there are powers of two. */
    static const volatile size_t odd = 48, most = SIZE_MAX / 2 + 1;
    void *block = memalign(odd, 10);
    CHECK(block != NULL);
    CHECK_EQ((uintptr_t)block % 64, 0);
    free(block);
    CHECK_REFUSED(memalign(most + 1, 10), EINVAL);
    CHECK_REFUSED(memalign(most, 10), ENOMEM);
}

static void test_pages(void)
{
    const size_t page = TEST_PAGE_BYTES;
    use(valloc(1), page, 1);
    use(pvalloc(1), page, page);
    use(pvalloc(page + 1), page, 2 * page);
    void *block = pvalloc(0);
    CHECK(block != NULL);
    CHECK_EQ((uintptr_t)block % page, 0);
    free(block);
}

int main(void)
{
    malloc_test_serves();
    test_powers();
    test_no_alignments();
    test_pages();
    return 0;
}
