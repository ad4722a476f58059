/* Scripts that mean harm: each ends in a status of its own, within its limit, and neither the sandbox, once it is
 * rolled back, nor the one beside it knows of it. */
#include "sandbox_test.h"

#include <pthread.h>

#define BIT(status) (1u << (status))
#define DONE        BIT(EMMA_SANDBOX_DONE)
#define ERROR       BIT(EMMA_SANDBOX_ERROR)
#define MEMORY      BIT(EMMA_SANDBOX_MEMORY)
#define TIMED       BIT(EMMA_SANDBOX_DEADLINE)
#define COUNTED     BIT(EMMA_SANDBOX_INSTRUCTIONS)
#define STOPPED     (TIMED | COUNTED) /* by the budget that there is */
#define ANY         (DONE | ERROR | MEMORY | STOPPED)

/* Needs: no hook runs in it for long, or it only ends early enough with so much memory. */
enum { NEEDS_TIME = 1, NEEDS_ROOM = 2 };

#define ENDLESS "while true do end "
#define FOREVER "function() while true do end end"
#define CLOSING "local x <close> = setmetatable({}, {__close = " FOREVER "}) "

typedef struct hostile {
    const char *text;
    unsigned statuses; /* that are right */
    unsigned needs;
    unsigned flags; /* of the sandbox */
} hostile;

static const hostile scripts[] = {
    { ENDLESS, STOPPED, 0, 0 },
    { "::a:: goto a", STOPPED, 0, 0 },
    { "coroutine.wrap(" FOREVER ")()", STOPPED, 0, 0 },
    { "local x = setmetatable({}, {__index = " FOREVER "}).x", STOPPED, 0, 0 },
    { "table.sort({1, 2, 3}, " FOREVER ")", STOPPED, 0, 0 },
    { "table.sort({3, 1, 2}, function() return true end)", ERROR | DONE, 0, 0 },
    { CLOSING, STOPPED, 0, 0 },
    { CLOSING ENDLESS, STOPPED, 0, 0 },
    { CLOSING "error('x')", STOPPED, 0, 0 },
    { "coroutine.wrap(function() " CLOSING ENDLESS " end)()", STOPPED, 0, 0 },
    { "xpcall(error, " FOREVER ")", STOPPED, 0, 0 },
    { "for i in " FOREVER " do end", STOPPED, 0, 0 },
    { "print(setmetatable({}, {__tostring = " FOREVER "}))", STOPPED, 0, 0 },
    { "error(setmetatable({}, {__tostring = " FOREVER "}))", STOPPED, 0, 0 },
    { "error(setmetatable({}, {__tostring = error}))", ERROR, 0, 0 },
    { "error(setmetatable({}, {__name = ('x'):rep(1e5)}))", ERROR, 0, 0 },
    { "load(" FOREVER ")", STOPPED, 0, 0 },
    { "load(function() return ' ' end)", STOPPED, NEEDS_TIME, 0 },
    { "while true do pcall(" FOREVER ") end", STOPPED, 0, 0 },
    { "while true do xpcall(" FOREVER ", " FOREVER ") end", STOPPED, 0, 0 },
    { "while true do coroutine.resume(coroutine.create(" FOREVER ")) end", STOPPED, 0, 0 },
    { "while true do pcall(string.rep, 'x', 1e9) end", TIMED, NEEDS_TIME,
      EMMA_SANDBOX_CATCH_MEMORY },
    { "while true do pcall(string.rep, 'x', 1e9) end", MEMORY, 0, 0 },
    { "while true do xpcall(string.rep, print, 'x', 1e9) end", MEMORY, 0, 0 },
    { "while true do coroutine.resume(coroutine.create(string.rep), 'x', 1e9) end", MEMORY, 0, 0 },
    { "while true do load(function() return ('x'):rep(1e9) end) end", MEMORY, 0, 0 },
    { "local function f() pcall(f) pcall(f) end f()", STOPPED | MEMORY, 0, 0 },
    { "local t = {} for i = 1, 1e3 do t[i] = pcall end pcall(table.unpack(t))", DONE, 0, 0 },
    { "setmetatable({}, {__gc = " FOREVER "}) collectgarbage()", TIMED, NEEDS_TIME,
      EMMA_SANDBOX_FINALIZERS },
    { "local function f(o) setmetatable(o, {__gc = f}) all = o end f({}) for i = 1, 1e3 do all = "
      "nil "
      "collectgarbage('step') end",
      DONE | TIMED, NEEDS_TIME, EMMA_SANDBOX_FINALIZERS },
    { "setmetatable({}, {__gc = print})", ERROR, 0, 0 },
    { "('x'):rep(1e10)", ERROR | MEMORY, 0, 0 },
    { "('x'):rep(1e8)", MEMORY, 0, 0 },
    { "('x'):rep(1e18, 'yyy')", ERROR | MEMORY, 0, 0 },
    { "('a'):rep(40):find(('a*'):rep(40) .. 'b')", TIMED, NEEDS_TIME, 0 },
    { "('a'):rep(1e5):match(('a?'):rep(1e5) .. 'b')", ERROR, 0, 0 },
    { "('x'):rep(1e5):gsub('.', pcall)", DONE | STOPPED, 0, 0 },
    { "('x'):rep(1e5):gsub('.', " FOREVER ")", STOPPED, 0, 0 },
    { "local t = {} while true do t[#t + 1] = {} end", MEMORY | STOPPED, 0, 0 },
    { "local t = {} while true do t = {t} end", MEMORY | STOPPED, 0, 0 },
    { "local s = 'x' while true do s = s .. s end", MEMORY, 0, 0 },
    { "local t = {} for i = 1, 1e6 do t[i] = 'x' .. i end table.concat(t, t[9])", MEMORY | STOPPED,
      0, 0 },
    { "local function f() return 1 + f() end f()", ERROR | MEMORY | STOPPED, 0, 0 },
    { "local m = {} local t = setmetatable({}, m) m.__index = function(_, k) return t[k + 1] end "
      "return t[1]",
      ERROR, 0, 0 },
    { "local m = {} m.__eq = function(a, b) return a == b end return setmetatable({}, m) == "
      "setmetatable({}, m)",
      ERROR, 0, 0 },
    { "local m = {} m.__concat = function(a, b) return a .. b end return setmetatable({}, m) .. ''",
      ERROR, 0, 0 },
    { "local t = {} setmetatable(t, {__index = t}) for i = 1, 3e3 do t = setmetatable({}, "
      "{__index = t}) end return t.x",
      ERROR, 0, 0 },
    { "assert(load('return ' .. ('('):rep(1e5)))", ERROR, 0, 0 },
    { "assert(load('return ' .. ('{'):rep(1e5)))", ERROR, 0, 0 },
    { "assert(load('return ' .. ('- '):rep(1e5) .. '1'))", ERROR, 0, 0 },
    { "assert(load('return ' .. ('a..'):rep(1e5) .. 'a'))", ERROR, 0, 0 },
    { "assert(load(('do '):rep(1e5)))", ERROR, 0, 0 },
    { "assert(load(('f(function() '):rep(1e5)))", ERROR | MEMORY, 0, 0 },
    { "assert(load('\\27Lua' .. ('x'):rep(99)))", ERROR, 0, 0 },
    { "local t = {} for i = 1, 6e5 do t[i] = i end error(t)", ERROR | STOPPED, NEEDS_ROOM, 0 },
    { "error(('x'):rep(1e7))", ERROR | TIMED, NEEDS_ROOM, 0 },
    { "return ('x'):rep(1e7)", ERROR | TIMED, NEEDS_ROOM, 0 },
    { "local t = {} for i = 1, 3e5 do t[i] = i end return t", ERROR | STOPPED, NEEDS_ROOM, 0 },
    { "local t = {} for i = 1, 200 do t = {t} end return t", ERROR, 0, 0 },
    { "xpcall(error, error)", DONE, 0, 0 },
    { "local function h(e) error(e) end xpcall(error, h, 'x')", DONE, 0, 0 },
    { "local t = {} while true do t[#t + 1] = coroutine.create(print) end", MEMORY | STOPPED, 0,
      0 },
    { "local function f() coroutine.wrap(f)() end f()", ERROR | MEMORY, 0, 0 },
    { "local function f() return coroutine.resume(coroutine.create(f)) end while true do f() end",
      STOPPED | MEMORY, 0, 0 },
    { "local function f(g) return coroutine.wrap(function() return f(coroutine.wrap(g or f)) "
      "end)() "
      "end f()",
      ERROR | MEMORY, 0, 0 },
    { "local co local function deep() ('x'):gsub('x', deep) end for i = 1, 9e3 do local last = co "
      "co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() "
      "if last then coroutine.close(last) end deep() end}) coroutine.yield() end) "
      "coroutine.resume(co) end assert(coroutine.close(co))",
      ERROR | STOPPED, NEEDS_ROOM, 0 },
    { "for k in pairs(_G) do if k ~= 'setmetatable' and k ~= '_G' then _G[k] = nil end end "
      "setmetatable(_ENV, "
      "{__index = " FOREVER "}) return x",
      STOPPED, 0, 0 },
    { "local m = getmetatable('') m.__index = " FOREVER " m.__add = 1 _G.string = nil print = nil "
      "return ('x').y",
      STOPPED, 0, 0 },
    { "setmetatable(_G, {__newindex = " FOREVER ", __metatable = 1}) data = nil y = 1", STOPPED, 0,
      0 },
    { "data[2], step, pcall = 0, print, nil", DONE, 0, 0 },
};

static const char prelude[] =
    "data = {1, 2, 3, text = ('x'):rep(5000)} calls = 0 "
    "function step() calls = calls + 1 local globals = 0 for k in pairs(_G) do globals = globals + "
    "1 "
    "end assert(pcall(next, data) and not pcall(error) and getmetatable(_G) == nil) "
    "for k in pairs(getmetatable('')) do globals = globals + 1 end "
    "return calls .. ' ' .. globals .. ' ' .. data[2] .. ' ' .. #data.text .. ' ' .. ('x'):upper() "
    "end return (step())";
static char fresh[64]; /* what `step` returns the first time after the prelude */

static emma_sandbox *hostile_create(emma_sandbox_options *options)
{
    emma_sandbox *sandbox = sandbox_test_create(options);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, prelude, EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, options->instructions, options->deadline_us),
             EMMA_SANDBOX_DONE);
    return sandbox;
}

/* The sandbox answers as one that ran nothing but its prelude and `calls` calls. */
static void hostile_expect_step(emma_sandbox *sandbox, unsigned calls)
{
    char expected[sizeof fresh + 16];
    size_t count;
    snprintf(expected, sizeof expected, "%u%s", calls, strchr(fresh, ' '));
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, 0), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_call(sandbox, "step", NULL, 0), EMMA_SANDBOX_DONE);
    CHECK(strcmp(emma_sandbox_results(sandbox, &count)->as.text.data, expected) == 0);
}

static void hostile_run(const hostile *script, emma_sandbox_options options)
{
    unsigned level, right = script->statuses;
    options.limit_bytes = script->needs & NEEDS_ROOM ? 48 * TEST_MIB : 2 * TEST_MIB;
    options.flags |= script->flags;
    right &= ~((options.deadline_us ? 0 : TIMED) | (options.instructions ? 0 : COUNTED));
    if (script->needs & NEEDS_TIME && !options.deadline_us)
        return;
    emma_sandbox *sandbox = hostile_create(&options);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    const enum emma_sandbox_status status = sandbox_test_run(sandbox, script->text);
    /* Whoever is slow is stopped by the time also where something else was meant. */
    if (!(BIT(status) & (right | (options.deadline_us ? TIMED : 0)))) {
        fprintf(stderr, "%s\n%s: %s\n", script->text, emma_sandbox_status_text(status),
                emma_sandbox_message(sandbox));
        CHECK(false);
    }
    const emma_sandbox_stats stats = sandbox_test_stats(sandbox);
    CHECK_LE(stats.peak_footprint_bytes, stats.limit_bytes);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_check(emma_sandbox_instance(sandbox)), EMMA_OK);
    hostile_expect_step(sandbox, 2);
    emma_sandbox_destroy(sandbox);
}

/* Arguments that do not fit, though each is in its range. */
static void hostile_arguments(emma_sandbox_options options)
{
    enum { BYTES = 8 << 20, ARGUMENTS = 250 };
    static char text[BYTES];
    static emma_sandbox_value many[ARGUMENTS];
    unsigned level;
    options.limit_bytes = TEST_MIB;
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < ARGUMENTS; i++)
        many[i] = (emma_sandbox_value){ .type = EMMA_SANDBOX_TEXT,
                                        .as.text = { text + i, i ? TEST_MIB / 100 : BYTES } };
    emma_sandbox *sandbox = hostile_create(&options);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    for (size_t first = 0; first < 2; first++) {
        CHECK_EQ(emma_sandbox_call(sandbox, "step", many + first, ARGUMENTS - first),
                 EMMA_SANDBOX_MEMORY);
        CHECK_EQ(emma_sandbox_set(sandbox, "x", &many[0]), EMMA_SANDBOX_MEMORY);
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
        hostile_expect_step(sandbox, 2);
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    }
    emma_sandbox_destroy(sandbox);
}

static void *hostile_main(void *arg)
{
    enum { INSTRUCTIONS = 1000000, DEADLINE_US = 10000 };
    emma_sandbox_options options = sandbox_test_options();
    emma_sandbox *beside = hostile_create(&options);
    unsigned calls = 1;
    size_t count;
    (void)arg;
    snprintf(fresh, sizeof fresh, "%s", emma_sandbox_results(beside, &count)->as.text.data);
    for (size_t i = 0; i < TEST_COUNT(scripts); i++) {
        options.instructions = INSTRUCTIONS;
        options.deadline_us = 0;
        if (!(scripts[i].flags & EMMA_SANDBOX_FINALIZERS))
            hostile_run(&scripts[i], options);
        options.deadline_us = DEADLINE_US;
        hostile_run(&scripts[i], options);
        options.instructions = 0;
        hostile_run(&scripts[i], options);
        hostile_expect_step(beside, ++calls);
    }
    options.instructions = options.deadline_us = 0;
    hostile_arguments(options);
    hostile_expect_step(beside, ++calls);
    emma_sandbox_destroy(beside);
    return NULL;
}

/* On a stack as small as the kit says is enough. */
int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK_EQ(pthread_attr_init(&attributes), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attributes, TEST_SHADOW_MEMORY ? 8 * TEST_MIB : TEST_MIB),
             0);
    CHECK_EQ(pthread_create(&thread, &attributes, hostile_main, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return 0;
}
