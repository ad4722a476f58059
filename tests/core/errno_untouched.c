/* errno is the caller's: no call changes it, whether it succeeds, fails or meets the kernel's
 * refusal. */
#include "emma_test.h"

enum { MARK = 54321 };

static bool visit(void *arg, void *block, size_t bytes)
{
    (void)arg, (void)block, (void)bytes;
    return true;
}

int main(void)
{
    emma_options options = test_options();
    options.limit_bytes = TEST_MIB;
    options.reserve_bytes = (size_t)1 << 60;
    errno = MARK;
    CHECK_EQ(emma_create(&options), NULL);
    options.reserve_bytes = 0;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    void *block = NULL;
    for (size_t bytes = 1; bytes < 4 * TEST_MIB; bytes *= 2) {
        void *grown = emma_realloc(instance, block, bytes);
        block = grown ? grown : block;
        emma_free(instance, emma_malloc(instance, bytes));
        emma_free(instance, emma_calloc(instance, bytes, bytes));
        emma_free_sized(instance, emma_aligned_alloc(instance, bytes, bytes), bytes);
        emma_trim(instance);
        CHECK_EQ(errno, MARK);
    }
    CHECK_EQ(emma_malloc(instance, SIZE_MAX), NULL);
    CHECK_EQ(emma_set_limit(instance, 1), EMMA_INVALID);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK(emma_walk(instance, visit, NULL));
    CHECK_GT(test_stats(instance).live_blocks, 0);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    emma_destroy(instance);
    CHECK_EQ(errno, MARK);
    return 0;
}
