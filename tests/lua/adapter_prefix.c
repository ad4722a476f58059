/* The adapter bears the prefix of its copy of emma, and its options are those of emma's own header.
 *
 * test: prefix */
#include "lua_test.h"

void *twin_emma_lua_alloc(void *instance, void *ptr, size_t osize, size_t nsize);

int main(void)
{
    const emma_options options = lua_test_options();
    const emma_options defaults = EMMA_OPTIONS_INIT;
    CHECK_EQ(options.struct_bytes, defaults.struct_bytes);
    CHECK_EQ(options.limit_bytes, EMMA_UNLIMITED);
    CHECK_EQ(options.soft_limit_bytes, EMMA_UNLIMITED);
    CHECK_EQ(options.spare_bytes, 0);
    CHECK_EQ(options.reserve_bytes, 0);
    CHECK_EQ(options.flags, LUA_VERSION_NUM <= 504 ? EMMA_ALIGN8 : 0);
    CHECK(strcmp(options.name, "lua") == 0);
    CHECK(options.misuse_handler == NULL && options.limit_handler == NULL);

    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    CHECK((void *)(uintptr_t)emma_lua_alloc == (void *)(uintptr_t)twin_emma_lua_alloc);
    void *block = twin_emma_lua_alloc(instance, NULL, 0, 100);
    CHECK(block != NULL && emma_owns(instance, block));
    CHECK(twin_emma_lua_alloc(instance, block, 100, 0) == NULL);
    lua_test_empty(instance);
    emma_destroy(instance);
    return 0;
}
