/* Sizes beyond PTRDIFF_MAX and products that overflow: NULL and ENOMEM from each function, and a block
 * that could not be resized stays. */
#include "malloc_test.h"

int main(void)
{
    malloc_test_serves();
    /* volatile: compilers warn of such constants. */
    static const volatile size_t sizes[] = { (size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 15,
                                             SIZE_MAX - 4095, (size_t)PTRDIFF_MAX };
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        const size_t bytes = sizes[i];
        CHECK_REFUSED(malloc(bytes), ENOMEM);
        CHECK_REFUSED(calloc(1, bytes), ENOMEM);
        CHECK_REFUSED(calloc(bytes, 1), ENOMEM);
        CHECK_REFUSED(aligned_alloc(64, bytes), ENOMEM);
        CHECK_REFUSED(memalign(64, bytes), ENOMEM);
        CHECK_REFUSED(valloc(bytes), ENOMEM);
        CHECK_REFUSED(pvalloc(bytes), ENOMEM);
        CHECK_REFUSED(realloc(NULL, bytes), ENOMEM);
        char *block = malloc(100);
        test_fill(block, 100, i);
        CHECK_REFUSED(realloc(block, bytes), ENOMEM);
        CHECK_REFUSED(reallocarray(block, bytes, 1), ENOMEM);
        CHECK(test_filled(block, 100, i));
        free(block);
        void *out = &out;
        errno = 77;
        CHECK_EQ(posix_memalign(&out, 64, bytes), ENOMEM);
        CHECK_EQ(errno, 77);
        CHECK(out == &out);
    }
    static const volatile size_t factors[][2] = {
        { SIZE_MAX / 2 + 1, 2 }, { (size_t)1 << 33, (size_t)1 << 33 }, { 3, SIZE_MAX / 2 }, { SIZE_MAX, SIZE_MAX }
    };
    for (size_t i = 0; i < TEST_COUNT(factors); i++) {
        CHECK_REFUSED(calloc(factors[i][0], factors[i][1]), ENOMEM);
        void *block = malloc(10);
        CHECK_REFUSED(reallocarray(block, factors[i][0], factors[i][1]), ENOMEM);
        CHECK_REFUSED(reallocarray(NULL, factors[i][0], factors[i][1]), ENOMEM);
        free(block);
    }
    return 0;
}
