/* lua_test.h - what the tests of the Lua adapter share. Each test is compiled once for each Lua
 * that is installed (5.1 to 5.5, LuaJIT), so it names nothing that one of them lacks.
 *
 * Nothing that can run out of memory is called outside a protected call: a panic would end the
 * process. */
#ifndef EMMA_LUA_TEST_H
#define EMMA_LUA_TEST_H

#include "../core/emma_test.h"

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#include "emma_lua.h"

#ifndef LUA_OK
#define LUA_OK 0
#endif

#if __has_include(<luajit.h>)
#include <luajit.h>
#define LUA_IS_JIT 1
#else
#define LUA_IS_JIT 0
#endif

#if defined(EMMA_CHECKS) && EMMA_CHECKS
#define CHECKED 1
#else
#define CHECKED 0
#endif

/* LuaJIT crashes by itself in lua_newstate when one of the first allocations fails, whatever the
 * allocator. */
#define LUA_NEWSTATE_SURVIVES_FAILURE (!LUA_IS_JIT)

/* Every kind of object that all versions have, and the result of the work with them as a string. */
static const char lua_test_script[] =
    "local out, objects = {}, {}\n"
    "for i = 1, 300 do objects[i] = {id = i, name = 'object ' .. i, pair = {i, i * 2}} end\n"
    "for i = 1, 300, 3 do objects[i] = nil end\n"
    "local sum = 0\n"
    "for _, object in pairs(objects) do sum = sum + object.id + #object.name + object.pair[2] end\n"
    "out[#out + 1] = string.format('%d', sum)\n"
    "local text = string.rep('emma allocates ', 200)\n"
    "out[#out + 1] = text:gsub('(%a+)', function(word) return word:upper():reverse() end):sub(1, "
    "40)\n"
    "local function counter(n) return function() n = n + 1 return n end end\n"
    "local counters = {}\n"
    "for i = 1, 50 do counters[i] = counter(i) end\n"
    "sum = 0\n"
    "for round = 1, 3 do for i = 1, 50 do sum = sum + counters[i]() end end\n"
    "out[#out + 1] = string.format('%d', sum)\n"
    "local generator = coroutine.wrap(function()\n"
    "    for i = 1, 40 do coroutine.yield(string.rep(string.char(64 + i), i)) end\n"
    "end)\n"
    "for i = 1, 40 do out[#out + 1] = #generator() end\n"
    "local list = {}\n"
    "for i = 1, 500 do list[i] = (i * 7919) % 1009 end\n"
    "table.sort(list)\n"
    "out[#out + 1] = list[1] .. ' ' .. list[250] .. ' ' .. list[500]\n"
    "local weak = setmetatable({}, {__mode = 'k'})\n"
    "for i = 1, 100 do weak[{}] = i end\n"
    "collectgarbage()\n"
    "out[#out + 1] = next(weak) == nil and 'weak' or 'strong'\n"
    "out[#out + 1] = select('#', pcall(error, {1, 2, 3}))\n"
    "return table.concat(out, ';')\n";

#define LUA_TEST_RESULT_BYTES 1024

static inline lua_State *lua_test_state(lua_Alloc allocate, void *arg)
{
#if LUA_VERSION_NUM >= 505
    return lua_newstate(allocate, arg, 20);
#else
    return lua_newstate(allocate, arg);
#endif
}

/* Calls `act` in protected mode with `arg` as its light userdata. */
static inline int lua_test_protect(lua_State *state, lua_CFunction act, void *arg)
{
#if LUA_VERSION_NUM <= 501
    return lua_cpcall(state, act, arg);
#else
    lua_pushcfunction(state, act);
    lua_pushlightuserdata(state, arg);
    return lua_pcall(state, 1, 0, 0);
#endif
}

/* 5.1 and LuaJIT close the process's stdin, stdout or stderr where opening the io library fails
 * half-way: not io. */
static inline void lua_test_open_libraries(lua_State *state)
{
#if LUA_VERSION_NUM <= 501
    static const luaL_Reg libraries[] = {
        { "", luaopen_base },
        { LUA_TABLIBNAME, luaopen_table },
        { LUA_STRLIBNAME, luaopen_string },
        { LUA_MATHLIBNAME, luaopen_math },
        { LUA_OSLIBNAME, luaopen_os },
        { LUA_DBLIBNAME, luaopen_debug },
    };
    for (size_t i = 0; i < TEST_COUNT(libraries); i++) {
        lua_pushcfunction(state, libraries[i].func);
        lua_pushstring(state, libraries[i].name);
        lua_call(state, 1, 0);
    }
#else
    luaL_openlibs(state);
#endif
}

/* Opens the libraries and runs the script; its result goes to the buffer at index 1. */
static inline int lua_test_work(lua_State *state)
{
    char *result = lua_touserdata(state, 1);
    lua_test_open_libraries(state);
    if (luaL_loadstring(state, lua_test_script) != LUA_OK)
        lua_error(state);
    lua_call(state, 0, 1);
    const char *text = lua_tostring(state, -1);
    CHECK(strlen(text) < LUA_TEST_RESULT_BYTES);
    memcpy(result, text, strlen(text) + 1);
    return 0;
}

static inline void *lua_test_system_alloc(void *arg, void *ptr, size_t osize, size_t nsize)
{
    (void)arg;
    (void)osize;
    if (nsize == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, nsize);
}

/* True: the work ended as it should, or for want of memory (which some functions of Lua's
 * libraries tell as an ordinary error). */
static inline bool lua_test_fair_end(lua_State *state, int status)
{
    if (status == LUA_OK || status == LUA_ERRMEM)
        return true;
    const char *message = lua_tostring(state, -1);
    if (message != NULL && strstr(message, "not enough memory") != NULL)
        return true;
    fprintf(stderr, "status %d: %s\n", status, message != NULL ? message : "(no message)");
    return false;
}

/* What the script gives on the C library's allocator. NULL: this Lua takes no allocator of the
 * host's. */
static inline const char *lua_test_expected(void)
{
    static char expected[LUA_TEST_RESULT_BYTES];
    lua_State *state = lua_test_state(lua_test_system_alloc, NULL);
    if (state == NULL)
        return NULL;
    CHECK_EQ(lua_test_protect(state, lua_test_work, expected), LUA_OK);
    lua_close(state);
    CHECK(strlen(expected) > 100);
    return expected;
}

static inline const char *lua_test_need_expected(void)
{
    const char *expected = lua_test_expected();
    if (expected == NULL)
        test_skip("this LuaJIT takes no allocator (no 64-bit references)");
    return expected;
}

static inline emma_options lua_test_options(void)
{
    const emma_options options = EMMA_LUA_OPTIONS_INIT;
    return options;
}

/* The footprint of an instance in which a state has just been made. */
static inline size_t lua_test_newstate_footprint(void)
{
    emma_options options = lua_test_options();
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    CHECK(lua_test_state(emma_lua_alloc, instance) != NULL);
    const size_t footprint = test_stats(instance).peak_footprint_bytes;
    emma_destroy(instance);
    return footprint;
}

/* The instance holds no block, and all that it wrote about itself is right. */
static inline void lua_test_empty(emma *instance)
{
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

#endif
