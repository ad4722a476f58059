/* Each allocation of a state, its libraries and a script fails in its turn: alone, and with all
 * that follow. Whatever Lua makes of it, no block is lost and the instance is sound. */
#include "lua_test.h"

typedef struct failing {
    emma *instance;
    size_t count;   /* of requests that take memory, so far */
    size_t nth;     /* the one that fails */
    bool and_later; /* and those after it */
} failing;

static void *failing_alloc(void *arg, void *ptr, size_t osize, size_t nsize)
{
    failing *f = arg;
    const bool grows = nsize != 0 && (ptr == NULL || nsize > osize);
    if (grows) {
        f->count++;
        if (f->count == f->nth || (f->and_later && f->count > f->nth))
            return NULL;
    }
    return emma_lua_alloc(f->instance, ptr, osize, nsize);
}

/* False: the n-th allocation never came. */
static bool run(size_t nth, bool and_later, const char *expected)
{
    char result[LUA_TEST_RESULT_BYTES];
    emma_options options = lua_test_options();
    failing f = { emma_create(&options), 0, nth, and_later };
    CHECK(f.instance != NULL);
    lua_State *state = lua_test_state(failing_alloc, &f);
    if (state != NULL) {
        const int status = lua_test_protect(state, lua_test_work, result);
        CHECK(lua_test_fair_end(state, status));
        CHECK(status != LUA_OK || strcmp(result, expected) == 0);
        CHECK(status == LUA_OK || f.count >= nth);
        lua_close(state);
    } else {
        CHECK_GE(f.count, nth);
    }
    lua_test_empty(f.instance);
    emma_destroy(f.instance);
    return f.count >= nth;
}

static size_t newstate_requests(void)
{
    emma_options options = lua_test_options();
    failing f = { emma_create(&options), 0, 0, false };
    CHECK(f.instance != NULL);
    CHECK(lua_test_state(failing_alloc, &f) != NULL);
    emma_destroy(f.instance);
    return f.count;
}

int main(void)
{
    const char *expected = lua_test_need_expected();
    if (LUA_IS_JIT && CHECKED)
        test_skip("after a failed allocation LuaJIT itself frees a block of 48 bytes as one of 40");
    const size_t step = TEST_SLOW_BUILD || test_under_valgrind() ? 7 : 1;
    size_t nth = LUA_NEWSTATE_SURVIVES_FAILURE ? 1 : newstate_requests() + 1;
    for (bool reached = true; reached; nth += step) {
        const bool alone = run(nth, false, expected);
        reached = run(nth, true, expected) || alone;
    }
    printf("%zu allocations\n", nth);
    CHECK_GT(nth, 1000);
    return 0;
}
