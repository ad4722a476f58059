/* Under every limit from 0 to 64 KiB in steps of 64, however it was set, there is a clean
 * error or a state that works. */
#include "lua_test.h"

enum { LIMIT_STEP_BYTES = 64, LIMIT_LAST_BYTES = 64 * 1024, ROOMY_BYTES = 4 << 20 };

/* How far each attempt came. */
enum outcome { NO_INSTANCE, NO_STATE, NO_LIBRARIES, NO_SCRIPT, WORKED, OUTCOMES };

static const char *const outcome_names[OUTCOMES] = { "no instance", "no state", "no libraries",
                                                     "libraries", "libraries and a script" };

static size_t newstate_footprint;

static int open_libraries(lua_State *state)
{
    lua_test_open_libraries(state);
    return 0;
}

static int run_script(lua_State *state)
{
    if (luaL_loadstring(state, "local t = {}\n"
                               "for i = 1, 20 do t[i] = {i, 'text ' .. i} end\n"
                               "return t[7][2]") != LUA_OK)
        lua_error(state);
    lua_call(state, 0, 1);
    CHECK(strcmp(lua_tostring(state, -1), "text 7") == 0);
    return 0;
}

/* True: done; false: for want of memory, which the instance has counted. */
static bool attempt(emma *instance, lua_State *state, lua_CFunction act)
{
    const int status = lua_test_protect(state, act, NULL);
    CHECK(lua_test_fair_end(state, status));
    if (status == LUA_OK)
        return true;
    CHECK_GT(test_stats(instance).refused_count, 0);
    return false;
}

static enum outcome work_in(emma *instance)
{
    if (!LUA_NEWSTATE_SURVIVES_FAILURE && test_stats(instance).limit_bytes < newstate_footprint)
        return NO_STATE;
    lua_State *state = lua_test_state(emma_lua_alloc, instance);
    if (state == NULL)
        return NO_STATE;
    enum outcome outcome = NO_LIBRARIES;
    if (attempt(instance, state, open_libraries))
        outcome = attempt(instance, state, run_script) ? WORKED : NO_SCRIPT;
    lua_close(state);
    return outcome;
}

static enum outcome limited_from_the_start(size_t limit_bytes)
{
    emma_options options = lua_test_options();
    options.limit_bytes = limit_bytes;
    emma *instance = emma_create(&options);
    CHECK(instance == NULL || limit_bytes >= EMMA_LIMIT_MIN_BYTES);
    if (instance == NULL)
        return NO_INSTANCE;
    const enum outcome outcome = work_in(instance);
    lua_test_empty(instance);
    CHECK_LE(test_stats(instance).peak_footprint_bytes, limit_bytes);
    emma_destroy(instance);
    return outcome;
}

static enum outcome limited_later(size_t limit_bytes)
{
    emma_options options = lua_test_options();
    options.limit_bytes = ROOMY_BYTES;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    const enum emma_status status = emma_set_limit(instance, limit_bytes);
    enum outcome outcome = NO_INSTANCE;
    if (limit_bytes < EMMA_LIMIT_MIN_BYTES) {
        CHECK_EQ(status, EMMA_INVALID);
        CHECK_EQ(test_stats(instance).limit_bytes, ROOMY_BYTES);
    } else if (status == EMMA_OK) {
        outcome = work_in(instance);
        CHECK_LE(test_stats(instance).peak_footprint_bytes, limit_bytes);
    } else {
        CHECK_EQ(status, EMMA_NO_MEMORY);
    }
    lua_test_empty(instance);
    emma_destroy(instance);
    return outcome;
}

int main(void)
{
    lua_test_need_expected();
    newstate_footprint = lua_test_newstate_footprint();
    size_t counts[OUTCOMES] = { 0 };
    for (size_t limit = 0; limit <= LIMIT_LAST_BYTES; limit += LIMIT_STEP_BYTES) {
        counts[limited_from_the_start(limit)]++;
        counts[limited_later(limit)]++;
    }
    for (int i = 0; i < OUTCOMES; i++)
        printf("%s: %zu\n", outcome_names[i], counts[i]);
    CHECK_GT(counts[NO_INSTANCE], 0);
    CHECK_GT(counts[NO_STATE] + counts[NO_LIBRARIES], 0);
    if (!LUA_IS_JIT && !CHECKED) /* its libraries are larger; a checked block is too */
        CHECK_GT(counts[NO_SCRIPT] + counts[WORKED], 0);
    CHECK_EQ(limited_from_the_start(ROOMY_BYTES), WORKED);
    return 0;
}
