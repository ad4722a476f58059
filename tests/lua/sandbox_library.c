/* What scripts see is plain Lua: the same results and the same messages as from a state with Lua's own libraries, but for
 * what is not there. */
#include "sandbox_test.h"

#include <lualib.h>

#define SHOW                                                                                      \
    "local function show(...) local t = table.pack(...) for i = 1, t.n do t[i] = tostring(t[i]) " \
    "end return table.concat(t, ' ') end local function try(...) return show(pcall(...)) end "

static const char *const scripts[] = {
    "return show(pcall(error))",
    "return show(pcall(error, 'x', 0)) .. try(error, 'x') .. try(error, 'x', 2)",
    "return show(pcall(function(...) return ... end, 1, nil, 3, nil))",
    "return try(pcall) .. try(pcall, nil) .. try(pcall, 5) .. try(pcall, pcall, error, 'e')",
    "return show(pcall(pcall, function() error({}, 2) end) == true)",
    "return try(function() pcall() end)",
    "return show(xpcall(error, function(m) return m .. '!' end, 'x'))",
    "return show(xpcall(function(...) return select('#', ...), ... end, print, 1, nil, nil))",
    "return try(xpcall) .. try(xpcall, print) .. try(function() xpcall(print, nil) end)",
    "return show(xpcall(error, error)) .. show(xpcall(error, 5 and print and tostring, 'm'))",
    "return show(select('#', xpcall(error, function(m) error('again') end, 'x')))",
    "return show(xpcall(function() local x = nil + 1 end, function(m) return m:upper() end))",
    "return show((xpcall(function() error() end, debug and print or tostring)))",
    "local co = coroutine.create(function(a, b) local c = coroutine.yield(a + b) error('e' .. c) "
    "end) "
    "return show(coroutine.resume(co, 1, 2)) .. coroutine.status(co) .. show(coroutine.resume(co, "
    "'c')) "
    ".. coroutine.status(co) .. show(coroutine.resume(co)) .. show(coroutine.close(co))",
    "return try(coroutine.resume) .. try(coroutine.resume, 5) .. try(coroutine.wrap, 5)",
    "return try(function() coroutine.resume(nil) end) .. try(function() coroutine.close() end)",
    "return show(coroutine.resume(coroutine.running()))",
    "return show(coroutine.isyieldable(), coroutine.wrap(function() return "
    "coroutine.isyieldable(), "
    "select(2, coroutine.running()) end)())",
    "return try(coroutine.yield, 1) .. try(function() coroutine.yield() end)",
    "local f = coroutine.wrap(function() error('boom') end) return try(f) .. try(f)",
    "local f = coroutine.wrap(function() error('boom', 0) end) return try(function() f() end)",
    "local f = coroutine.wrap(function() error({}) end) return show(type(select(2, pcall(f))))",
    "local f f = coroutine.wrap(function() f() end) return try(f)",
    "local co co = coroutine.create(function() return pcall(coroutine.close, co) end) "
    "return show(coroutine.resume(co))",
    "local co co = coroutine.create(function() return coroutine.wrap(function() return "
    "pcall(coroutine.close, co) end)() end) return show(coroutine.resume(co))",
    "local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = "
    "function() "
    "error('c') end}) coroutine.yield() end) coroutine.resume(co) return show(coroutine.close(co)) "
    ".. coroutine.status(co) .. show(coroutine.close(co))",
    "local f = coroutine.wrap(function() local x <close> = setmetatable({}, {__close = function(_, "
    "e) "
    "error(e .. 'c', 0) end}) error('e', 0) end) return try(f)",
    "local co = coroutine.wrap(function() return pcall(function() coroutine.yield(1) "
    "error('after') "
    "end) end) return show(co()) .. show(co())",
    "local co = coroutine.wrap(function() return xpcall(function() coroutine.yield(1) "
    "error('after', 0) "
    "end, function(m) return m .. '+' end) end) return show(co()) .. show(co())",
    "return show(load('return 1 + 1')()) .. show(load('x = ')) .. show(load('x =', '=name'))",
    "local n = 0 return show(load(function() n = n + 1 return ({'return ', '4', '2'})[n] end)())",
    "return show(load(function() error('r', 0) end))",
    "return show(load('return ...', 'n', 't', {})(7)) .. show(pcall(load('return x', 'n', 't', "
    "nil)))",
    "return show(load('return x', 'n', 't', {x = 5})())",
    "return try(load) .. try(load, nil) .. try(load, {}) .. try(load, '', {}) .. try(load, '', '', "
    "{})",
    "return try(function() load() end) .. try(function() load('', {}) end)",
    "return show(load('return 1', 'n', 'b'))",
    "return try(setmetatable) .. try(setmetatable, 1, {}) .. try(setmetatable, {}) .. "
    "try(setmetatable, {}, 1)",
    "return try(function() setmetatable({}, 1) end) .. try(function() setmetatable() end)",
    "local t = setmetatable({}, {__metatable = 'no'}) return getmetatable(t) .. "
    "try(function() setmetatable(t, {}) end) .. try(setmetatable, t, nil)",
    "local t, m = {}, {} return show(setmetatable(t, m) == t, getmetatable(t) == m, "
    "setmetatable(t, nil) == t, getmetatable(t))",
    "return show(print()) .. try(print, setmetatable({}, {__tostring = function() return 1 end}))",
    "return try(string.rep) .. try(function() ('x'):rep({}) end) .. try(function() ('x'):bad() "
    "end)",
    "return try(function() local t = nil; t.x = 1 end) .. try(function() undefined() end)",
    "return show(select('#', table.unpack({}, 1, 3))) .. try(string.format, '%d', 1.5)",
    "return try(function() table.sort({3, 1, 'x'}) end)",
};

static char plain[4096];

/* What Lua itself makes of it, in `plain`. */
static void run_plain(const char *text)
{
    size_t bytes;
    lua_State *state = luaL_newstate();
    CHECK(state != NULL);
    luaL_openlibs(state);
    lua_pushnil(state);
    lua_setglobal(state, "debug");
    luaL_loadbuffer(state, text, strlen(text), "=test");
    if (lua_pcall(state, 0, 1, 0) != LUA_OK)
        fprintf(stderr, "%s\nplain: %s\n", text, lua_tostring(state, -1));
    const char *result = lua_tolstring(state, -1, &bytes);
    CHECK(result && bytes < sizeof plain);
    memcpy(plain, result, bytes + 1);
    lua_close(state);
}

/* Names of what must be nil under some options. */
static void expect_absent(const emma_sandbox_options *options, const char *names)
{
    static const char text[] = "for name in (...):gmatch('%S+') do local value = _G for part in "
                               "name:gmatch('[^.]+') do value = value and value[part] end "
                               "assert(value == nil, name) end";
    char script[1024];
    emma_sandbox *sandbox = sandbox_test_create(options);
    snprintf(script, sizeof script, "(function(...) %s end)('%s')", text, names);
    sandbox_test_expect(sandbox, script, EMMA_SANDBOX_DONE);
    emma_sandbox_destroy(sandbox);
}

int main(void)
{
    char script[2048];
    emma_sandbox_options options = sandbox_test_options();
    emma_sandbox *sandbox = sandbox_test_create(&options);
    for (size_t i = 0; i < TEST_COUNT(scripts); i++) {
        snprintf(script, sizeof script, "%s%s", SHOW, scripts[i]);
        run_plain(script);
        sandbox_test_result(sandbox, script, plain);
    }
    emma_sandbox_destroy(sandbox);
    expect_absent(&options, "io os package require debug dofile loadfile string.dump");
    options.libraries |= EMMA_SANDBOX_DEBUG | EMMA_SANDBOX_OS | EMMA_SANDBOX_PACKAGE;
    expect_absent(&options, "io dofile loadfile debug.sethook debug.debug string.dump");
    options.libraries = EMMA_SANDBOX_BASE | EMMA_SANDBOX_STRING;
    expect_absent(&options, "coroutine table math utf8 io os package debug");
    return 0;
}
