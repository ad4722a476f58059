/* A reservation of terabytes: the map of metadata pages has a bit for each of them, its own included. */
#include "emma_test.h"

enum { BLOCKS = 3000, BLOCK_BYTES = 8000 };

static void use(size_t reserve_bytes, unsigned flags)
{
    static void *blocks[BLOCKS];
    emma_options options = EMMA_OPTIONS_INIT;
    options.reserve_bytes = reserve_bytes;
    options.flags = flags;
    emma *instance = emma_create(&options);
    if (!instance)
        test_skip("this system has not so much address space");
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, blocks[i]);
    emma_trim(instance);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
}

int main(void)
{
    for (size_t tib = 1; tib <= 4; tib *= 2) {
        use(tib << 40, EMMA_SHARED);
        use(tib << 40, 0);
    }
    return 0;
}
