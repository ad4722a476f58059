/* What Lua demands of a lua_Alloc, with no Lua in between: NULL for what is freed, type tags that
 * are no sizes, contents kept, shrinks that succeed at the full limit. */
#include "lua_test.h"

enum { LIMIT_BYTES = 1 << 20, SLOTS = 40000, LARGEST_TAG = 16, SHRINK_ROUNDS = 4 };

typedef struct slot {
    void *block;
    size_t bytes;
} slot;

static slot slots[SLOTS];

static void frees_return_null(emma *instance)
{
    CHECK(emma_lua_alloc(instance, NULL, 0, 0) == NULL);
    CHECK(emma_lua_alloc(instance, NULL, SIZE_MAX, 0) == NULL);
    void *block = emma_lua_alloc(instance, NULL, 0, 56);
    CHECK(block != NULL);
    CHECK(emma_lua_alloc(instance, block, 56, 0) == NULL);
    lua_test_empty(instance);
}

static void tags_are_no_sizes(emma *instance)
{
    static const size_t sizes[] = { 1, 8, 24, 56, 200, 1000, 5000, 70000 };
    for (size_t tag = 0; tag <= LARGEST_TAG; tag++) {
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            void *block = emma_lua_alloc(instance, NULL, tag, sizes[i]);
            CHECK(block != NULL);
            CHECK_GE(emma_usable_size(instance, block), sizes[i]);
            CHECK_EQ((uintptr_t)block % (LUA_VERSION_NUM <= 504 ? 8 : 16), 0);
            test_fill(block, sizes[i], tag);
            CHECK(test_filled(block, sizes[i], tag));
            CHECK(emma_lua_alloc(instance, block, sizes[i], 0) == NULL);
        }
    }
    lua_test_empty(instance);
}

static void absurd_sizes_are_refused(emma *instance)
{
    void *block = emma_lua_alloc(instance, NULL, 0, 100);
    test_fill(block, 100, 1);
    for (size_t less = 0; less < 100; less++) {
        CHECK(emma_lua_alloc(instance, NULL, 0, SIZE_MAX - less) == NULL);
        CHECK(emma_lua_alloc(instance, block, 100, SIZE_MAX - less) == NULL);
        CHECK(emma_lua_alloc(instance, block, 100, (size_t)PTRDIFF_MAX - 50 + less) == NULL);
    }
    CHECK(test_filled(block, 100, 1));
    CHECK(emma_lua_alloc(instance, block, 100, 0) == NULL);
    lua_test_empty(instance);
}

/* Leaves not even the smallest block. */
static size_t fill_up(emma *instance, test_rng *rng)
{
    size_t used = 0;
    size_t most = 8000;
    while (used < SLOTS && most > 0) {
        const size_t bytes = 1 + test_below(rng, most);
        void *block = emma_lua_alloc(instance, NULL, 5, bytes);
        if (block == NULL) {
            most /= 2;
            continue;
        }
        test_fill(block, bytes, used);
        slots[used] = (slot){ block, bytes };
        used++;
    }
    CHECK_LT(used, SLOTS);
    return used;
}

static void shrinks_succeed_at_the_limit(emma *instance, test_rng *rng)
{
    const size_t used = fill_up(instance, rng);
    for (int round = 0; round < SHRINK_ROUNDS; round++) {
        for (size_t i = 0; i < used; i++) {
            slot *at = &slots[i];
            const size_t bytes = 1 + test_below(rng, at->bytes);
            void *block = emma_lua_alloc(instance, at->block, at->bytes, bytes);
            CHECK(block != NULL);
            *at = (slot){ block, bytes };
            CHECK(test_filled(block, bytes & ~(size_t)7, i));
        }
        CHECK_EQ(emma_check(instance), EMMA_OK);
    }
    for (size_t i = 0; i < used; i++) {
        CHECK(test_filled(slots[i].block, slots[i].bytes & ~(size_t)7, i));
        emma_lua_alloc(instance, slots[i].block, slots[i].bytes, 0);
    }
    lua_test_empty(instance);
}

int main(int argc, char **argv)
{
    test_rng rng = test_rng_from(test_choose_seed(argc, argv, 7));
    emma_options options = lua_test_options();
    options.limit_bytes = LIMIT_BYTES;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    CHECK_EQ(emma_options_check(&options), EMMA_OK);
    frees_return_null(instance);
    tags_are_no_sizes(instance);
    absurd_sizes_are_refused(instance);
    shrinks_succeed_at_the_limit(instance, &rng);
    emma_destroy(instance);
    return 0;
}
