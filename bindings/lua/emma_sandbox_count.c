/* emma_sandbox_count.c - the budget of instructions, exact over all coroutines.
 *
 * Lua's count hook has a counter in each thread (lua_State), which only that thread's
 * instructions bring down, and which no function of Lua's reads. So that a script cannot run for
 * nothing in coroutines that end before their counters do, the counter goes with control:
 * whoever passes it from one thread to another copies it. Where it lies in a lua_State is found
 * once in a state made for that: it is the word that has the count after lua_sethook and is
 * lower by the same number each time the same code has run. Where that is not so, there are no
 * budgets (EMMA_SANDBOX_UNSUPPORTED). */
#include "emma_sandbox_internal.h"

#include <pthread.h>
#include <string.h>

/* What the counter is set to at most; the rest of a budget is in sandbox->left. */
#define QUANTUM ((uint64_t)1 << 30)

static struct {
    pthread_once_t once;
    size_t offset; /* of the counter, from the lua_State's start; 0: not found */
} count_place = { .once = PTHREAD_ONCE_INIT };

static int count_get(const lua_State *state)
{
    int count;
    memcpy(&count, (const char *)state + count_place.offset, sizeof count);
    return count;
}

static void count_set(lua_State *state, int count)
{
    memcpy((char *)state + count_place.offset, &count, sizeof count);
}

/* ---- Where the counter is ---- */

#define PROBE_COUNT_A 0x5a1c2e37
#define PROBE_COUNT_B 0x2d9f4b61

typedef struct count_block {
    const char *address; /* in: what to look for; out: where its block begins */
    size_t bytes;
} count_block;

static bool count_visit(void *arg, void *block, size_t bytes)
{
    count_block *wanted = arg;
    const size_t offset = (size_t)(wanted->address - (const char *)block);
    if (offset >= bytes)
        return true;
    wanted->bytes = bytes - offset; /* behind the address */
    return false;
}

static int count_fired; /* by the only thread that looks for the place */

static void count_probe_hook(lua_State *state, lua_Debug *info)
{
    (void)state;
    (void)info;
    count_fired++;
}

/* By how much the word at an offset goes down as the function at index 1 of the thread runs. */
static int count_cost(lua_State *thread, size_t offset)
{
    count_place.offset = offset;
    const int before = count_get(thread);
    lua_pushvalue(thread, 1);
    if (lua_pcall(thread, 0, 0, 0) != LUA_OK)
        return 0;
    return before - count_get(thread);
}

/* The word is the counter if running code brings it down, evenly, and the hook runs when it was
 * set to be near its end. */
static bool count_is_place(lua_State *thread, size_t offset)
{
    lua_sethook(thread, count_probe_hook, LUA_MASKCOUNT, PROBE_COUNT_B);
    const int cost = count_cost(thread, offset);
    if (cost <= 1 || count_cost(thread, offset) != cost)
        return false;
    count_fired = 0;
    count_set(thread, cost + 1);
    count_cost(thread, offset);
    const bool early = count_fired != 0;
    count_cost(thread, offset);
    return !early && count_fired == 1;
}

static int count_search(lua_State *state)
{
    emma *instance = lua_touserdata(state, 1);
    lua_State *thread = lua_newthread(state);
    if (luaL_loadstring(thread, "local sum = 0 for i = 1, 3 do sum = sum + i end") != LUA_OK)
        return 0;
    count_block wanted = { (const char *)thread, 0 };
    emma_walk(instance, count_visit, &wanted);
    size_t found = 0;
    for (size_t offset = sizeof(int); offset + sizeof(int) <= wanted.bytes; offset += sizeof(int)) {
        count_place.offset = offset;
        lua_sethook(thread, count_probe_hook, LUA_MASKCOUNT, PROBE_COUNT_A);
        if (count_get(thread) != PROBE_COUNT_A)
            continue;
        lua_sethook(thread, count_probe_hook, LUA_MASKCOUNT, PROBE_COUNT_B);
        if (count_get(thread) != PROBE_COUNT_B || !count_is_place(thread, offset))
            continue;
        if (found) {
            found = 0; /* two of them: neither is to be trusted */
            break;
        }
        found = offset;
    }
    lua_pushinteger(state, (lua_Integer)found);
    return 1;
}

static void count_find_place(void)
{
    const emma_options options = EMMA_LUA_OPTIONS_INIT;
    emma *instance = emma_create(&options);
    lua_State *state = instance ? lua_newstate(emma_lua_alloc, instance) : NULL;
    size_t found = 0;
    if (state) {
        lua_pushcfunction(state, count_search);
        lua_pushlightuserdata(state, instance);
        if (lua_pcall(state, 1, 1, 0) == LUA_OK)
            found = (size_t)lua_tointeger(state, -1);
    }
    emma_destroy(instance);
    count_place.offset = found;
}

static bool emmai_count_is_possible(void)
{
    pthread_once(&count_place.once, count_find_place);
    return count_place.offset != 0;
}

/* ---- A call ---- */

/* Takes the next part of the budget out of `left`. */
static int count_take(emma_sandbox *sandbox)
{
    const uint64_t part = sandbox->left < QUANTUM ? sandbox->left : QUANTUM;
    sandbox->left -= part;
    return (int)part;
}

/* The hook runs before the instruction that it counts: the one after the last of the budget is
 * to be stopped. */
static void emmai_count_enter(emma_sandbox *sandbox, uint64_t instructions)
{
    sandbox->counting = instructions != 0;
    if (!sandbox->counting)
        return;
    sandbox->left = instructions < UINT64_MAX ? instructions + 1 : instructions;
    lua_sethook(sandbox->state, emmai_stop_hook, LUA_MASKCOUNT, count_take(sandbox));
}

static void emmai_count_close(emma_sandbox *sandbox, const lua_State *state)
{
    if (!sandbox->counting)
        return;
    sandbox->left += (uint64_t)count_get(state);
    sandbox->counting = false;
}

static uint64_t emmai_count_leave(emma_sandbox *sandbox, uint64_t instructions)
{
    if (instructions == 0)
        return 0;
    emmai_count_close(sandbox, sandbox->state);
    return sandbox->left > instructions ? 0 : instructions + 1 - sandbox->left;
}

static bool emmai_count_go_on(emma_sandbox *sandbox, lua_State *state)
{
    if (sandbox->left == 0) {
        sandbox->left = 1; /* what was counted last is not executed */
        sandbox->counting = false;
        return false;
    }
    count_set(state, count_take(sandbox));
    return true;
}

static void emmai_count_pass(emma_sandbox *sandbox, lua_State *from, lua_State *to)
{
    const bool counts = lua_gethookmask(to) == LUA_MASKCOUNT;
    if (!sandbox->counting) {
        if (lua_gethook(to) && emmai_sandbox_stopped(sandbox) == EMMA_SANDBOX_DONE)
            lua_sethook(to, NULL, 0, 0); /* a call before had a budget, or was stopped */
        return;
    }
    if (!counts) /* none, or one that stopped a call before */
        lua_sethook(to, emmai_stop_hook, LUA_MASKCOUNT, (int)QUANTUM);
    count_set(to, count_get(from));
}
