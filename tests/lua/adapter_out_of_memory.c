/* A script that meets the limit sees Lua's memory error, catches it, and goes on; so do its
 * coroutines. */
#include "lua_test.h"

enum { LIMIT_BYTES = 4 << 20, ROUNDS = 10 };

static const char greedy_script[] =
    "local kinds = {\n"
    "    function() local t = {} for i = 1, 1e8 do t[i] = {i} end end,\n"
    "    function() local s = 'x' while true do s = s .. s end end,\n"
    "    function() local t = {} for i = 1, 1e8 do t[i] = i end end,\n"
    "    function() local t = {} for i = 1, 1e8 do t[i] = function() return i, t end end end,\n"
    "    function() local t = {} for i = 1, 1e8 do t['key' .. i] = i .. '' end end,\n"
    "    function() local t = {} for i = 1, 1e8 do t[i] = coroutine.create(function() end) end "
    "end,\n"
    "}\n"
    "local caught = 0\n"
    "for i = 1, #kinds do\n"
    "    local ok, message = pcall(kinds[i])\n"
    "    collectgarbage() collectgarbage()\n" /* 5.1 does not do so itself when memory is out */
    "    assert(not ok and tostring(message):find('not enough memory'), message)\n"
    "    local inside = coroutine.create(kinds[i])\n"
    "    ok, message = coroutine.resume(inside)\n"
    "    inside = nil\n"
    "    collectgarbage() collectgarbage()\n"
    "    assert(not ok and tostring(message):find('not enough memory'), message)\n"
    "    local t = {}\n"
    "    for k = 1, 1000 do t[k] = {k} end\n"
    "    assert(#t == 1000 and t[1000][1] == 1000)\n"
    "    caught = caught + 1\n"
    "end\n"
    "return caught\n";

static int run_greedy(lua_State *state)
{
    lua_test_open_libraries(state);
    for (int round = 0; round < ROUNDS; round++) {
        if (luaL_loadstring(state, greedy_script) != LUA_OK)
            lua_error(state);
        lua_call(state, 0, 1);
        CHECK_EQ(lua_tointeger(state, -1), 6);
        lua_settop(state, 0);
    }
    return 0;
}

int main(void)
{
    const char *expected = lua_test_need_expected();
    if (LUA_IS_JIT && CHECKED)
        test_skip("after a failed allocation LuaJIT itself frees a block of 48 bytes as one of 40");
    emma_options options = lua_test_options();
    options.limit_bytes = LIMIT_BYTES;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    lua_State *state = lua_test_state(emma_lua_alloc, instance);
    CHECK(state != NULL);
    const int status = lua_test_protect(state, run_greedy, NULL);
    if (status != LUA_OK)
        fprintf(stderr, "status %d: %s\n", status, lua_tostring(state, -1));
    CHECK_EQ(status, LUA_OK);
    CHECK_GE(test_stats(instance).refused_count, 6);
    CHECK_LE(test_stats(instance).peak_footprint_bytes, LIMIT_BYTES);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    char result[LUA_TEST_RESULT_BYTES];
    lua_settop(state, 0);
    CHECK_EQ(lua_test_protect(state, lua_test_work, result), LUA_OK);
    CHECK(strcmp(result, expected) == 0);
    lua_close(state);
    lua_test_empty(instance);
    emma_destroy(instance);
    return 0;
}
