/* The alignment that a block has without asking: 16; with EMMA_ALIGN8 8, and 16 where the size is a
 * multiple of
 * 16. Sizes up to 64 KiB, and again after a realloc to each. */
#include "emma_test.h"

enum { SIZES = 65536, STRIDE = 7 };

static void run(unsigned flags)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    void *moving = NULL;
    for (size_t bytes = 0; bytes <= SIZES; bytes += bytes < 4096 ? 1 : STRIDE) {
        const size_t alignment = (flags & EMMA_ALIGN8) && (bytes == 0 || bytes % 16 != 0) ? 8 : 16;
        void *block = emma_malloc(instance, bytes);
        void *second = emma_calloc(instance, bytes, 1);
        moving = emma_realloc(instance, moving, bytes);
        CHECK(block && second && moving);
        CHECK_EQ((uintptr_t)block % alignment, 0);
        CHECK_EQ((uintptr_t)second % alignment, 0);
        CHECK_EQ((uintptr_t)moving % alignment, 0);
        emma_free(instance, block);
        emma_free(instance, second);
    }
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    return 0;
}
