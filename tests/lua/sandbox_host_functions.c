/* Functions of the host's: arguments, errors with place and name, calls back, threads; and that none is left in the
 * middle, whatever comes while it runs. */
#include "sandbox_test.h"

#include <pthread.h>
#include <stdatomic.h>

static int spawn(lua_State *state)
{
    const char *kind = luaL_checkstring(state, 1);
    luaL_argcheck(state, *kind, 1, "empty");
    if (strcmp(kind, "bad") == 0)
        return luaL_error(state, "no %s today", kind);
    lua_pushfstring(state, "%s%d", kind, *(int *)emma_sandbox_arg(state));
    return 1;
}

static int raise_it(lua_State *state)
{
    lua_settop(state, 1);
    return lua_error(state);
}

static int call_back(lua_State *state)
{
    lua_call(state, lua_gettop(state) - 1, LUA_MULTRET);
    return lua_gettop(state);
}

static int yield_across(lua_State *state)
{
    return lua_yield(state, lua_gettop(state));
}

/* Runs a function in a thread of its own until that yields or ends; true and what it gave, or false and the error. */
static int run_thread(lua_State *state)
{
    lua_State *thread = lua_newthread(state);
    int count;
    lua_pushvalue(state, 1);
    lua_xmove(state, thread, 1);
    const int status = emma_sandbox_resume(thread, state, 0, &count);
    const bool good = status == LUA_OK || status == LUA_YIELD;
    lua_pushboolean(state, good);
    lua_xmove(thread, state, good ? count : 1);
    return good ? count + 1 : 2;
}

static void register_all(emma_sandbox *sandbox)
{
    static int number = 7;
    CHECK_EQ(emma_sandbox_register(sandbox, "game.spawn", spawn, &number), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(sandbox, "raise", raise_it, NULL), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(sandbox, "back", call_back, NULL), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(sandbox, "across", yield_across, NULL), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(sandbox, "thread", run_thread, NULL), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(sandbox, "game", NULL, NULL), EMMA_SANDBOX_INVALID);
    CHECK_EQ(emma_sandbox_register(sandbox, "", spawn, NULL), EMMA_SANDBOX_INVALID);
}

/* Texts and the string that each results in. */
static const char *const results[][2] = {
    { "return game.spawn('elf')", "elf7" },
    { "return (select(2, pcall(game.spawn)))",
      "bad argument #1 to 'game.spawn' (string expected, got no value)" },
    { "return (select(2, pcall(function() game.spawn({}) end)))",
      "test:1: bad argument #1 to 'game.spawn' (string expected, got table)" },
    { "return (select(2, pcall(function() game.spawn('') end)))",
      "test:1: bad argument #1 to 'game.spawn' (empty)" },
    { "return (select(2, pcall(function() game.spawn('bad') end)))", "test:1: no bad today" },
    { "local e = {} local ok, got = pcall(raise, e) return tostring(not ok and got == e)", "true" },
    { "local ok, got = pcall(raise, nil) return tostring(not ok and got == nil)", "true" },
    { "return (select(2, pcall(back, error, 'x:1: y')))", "x:1: y" },
    { "return back(function(a, b) return a .. b end, 'x', 'y')", "xy" },
    { "return back(back, back, back, function(a) return a end, 'deep')", "deep" },
    { "return tostring((pcall(back, function() local x = nil + 1 end)))", "false" },
    { "local co = coroutine.create(function() back(coroutine.yield) end) "
      "return (select(2, coroutine.resume(co)))",
      "test:1: attempt to yield across a C-call boundary" },
    { "local co = coroutine.create(function() across() end) "
      "return (select(2, coroutine.resume(co)))",
      "test:1: attempt to yield across a C-call boundary" },
    { "return (select(2, thread(function() coroutine.yield('half') end)))", "half" },
    { "return (select(2, thread(function() error('x') end)))", "test:1: x" },
    { "return tostring(thread(function() for i = 1, 10 do coroutine.wrap(function() end)() end "
      "end))",
      "true" },
};

/* ---- What comes meanwhile ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static emma_sandbox *locking;
static atomic_bool ends;

/* Is killed, or its time is over, as it holds a lock and is long in Lua's own code. */
static int hold_lock(lua_State *state)
{
    enum { TIMES = 10000 };
    pthread_mutex_lock(&lock);
    for (int i = 0; i < TIMES; i++) {
        lua_pushfstring(state, "%d %s %f", i, "text", (lua_Number)i);
        lua_pop(state, 1);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

static void *kill_often(void *arg)
{
    (void)arg;
    while (!atomic_load(&ends)) {
        emma_sandbox_kill(locking);
        usleep(300);
    }
    return NULL;
}

static void expect_unlocked(const char *text, uint64_t deadline_us, bool kills)
{
    enum { ROUNDS = 30 };
    pthread_t thread;
    unsigned level;
    locking = sandbox_test_create(NULL);
    CHECK_EQ(emma_sandbox_register(locking, "hold", hold_lock, NULL), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(locking, "thread", run_thread, NULL), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(locking, &level), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_budget(locking, 0, deadline_us), EMMA_SANDBOX_DONE);
    atomic_store(&ends, false);
    if (kills)
        CHECK_EQ(pthread_create(&thread, NULL, kill_often, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        sandbox_test_expect(locking, text, kills ? EMMA_SANDBOX_KILLED : EMMA_SANDBOX_DEADLINE);
        CHECK_EQ(pthread_mutex_trylock(&lock), 0);
        pthread_mutex_unlock(&lock);
        CHECK_EQ(emma_sandbox_rollback(locking, level), EMMA_SANDBOX_DONE);
    }
    atomic_store(&ends, true);
    if (kills)
        CHECK_EQ(pthread_join(thread, NULL), 0);
    emma_sandbox_destroy(locking);
}

static int oversleep(lua_State *state)
{
    usleep((useconds_t)(2 * SANDBOX_TEST_DEADLINE_US));
    lua_pushboolean(state, true);
    return 1;
}

static void sleep_past_deadline(void)
{
    emma_sandbox *sandbox = sandbox_test_create(NULL);
    CHECK_EQ(emma_sandbox_register(sandbox, "sleep", oversleep, NULL), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, SANDBOX_TEST_DEADLINE_US), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, "pcall(sleep) after = true", EMMA_SANDBOX_DEADLINE);
    CHECK_EQ(sandbox_test_stats(sandbox).broken_count, 0);
    sandbox_test_result(sandbox, "return tostring(after)", "nil");
    emma_sandbox_destroy(sandbox);
}

int main(void)
{
    emma_sandbox *sandbox = sandbox_test_create(NULL);
    register_all(sandbox);
    for (size_t i = 0; i < TEST_COUNT(results); i++)
        sandbox_test_result(sandbox, results[i][0], results[i][1]);
    emma_sandbox_destroy(sandbox);
    sleep_past_deadline();
    expect_unlocked("while true do hold() end", 1000, false);
    expect_unlocked("while true do pcall(hold) end", 0, true);
    expect_unlocked("thread(function() while true do hold() end end)", 1000, false);
    expect_unlocked("while true do thread(function() coroutine.wrap(function() hold() "
                    "coroutine.yield() end)() end) collectgarbage() end",
                    1000, false);
    return 0;
}
