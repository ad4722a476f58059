/* A state lives and works in an instance as it does on the C library's allocator; closed, it
 * leaves no block. */
#include "lua_test.h"

enum { STATES = 20 };

static void one_after_the_other(const char *expected)
{
    emma_options options = lua_test_options();
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    for (int i = 0; i < STATES; i++) {
        char result[LUA_TEST_RESULT_BYTES];
        lua_State *state = lua_test_state(emma_lua_alloc, instance);
        CHECK(state != NULL);
        CHECK(emma_owns(instance, state));
        CHECK_EQ(lua_test_protect(state, lua_test_work, result), LUA_OK);
        CHECK(strcmp(result, expected) == 0);
        CHECK_EQ(emma_check(instance), EMMA_OK);
        lua_close(state);
        lua_test_empty(instance);
    }
    emma_destroy(instance);
}

/* Each in an instance of its own, alive together, thrown away without lua_close. */
static void side_by_side(const char *expected)
{
    emma *instances[STATES];
    lua_State *states[STATES];
    char result[LUA_TEST_RESULT_BYTES];
    for (int i = 0; i < STATES; i++) {
        emma_options options = lua_test_options();
        instances[i] = emma_create(&options);
        CHECK(instances[i] != NULL);
        states[i] = lua_test_state(emma_lua_alloc, instances[i]);
        CHECK(states[i] != NULL);
    }
    for (int i = STATES - 1; i >= 0; i--) {
        CHECK_EQ(lua_test_protect(states[i], lua_test_work, result), LUA_OK);
        CHECK(strcmp(result, expected) == 0);
    }
    for (int i = 0; i < STATES; i++) {
        CHECK_EQ(emma_check(instances[i]), EMMA_OK);
        emma_destroy(instances[i]);
    }
}

/* Two states share an instance; the one that stays is not hurt by the end of the other. */
static void two_in_one(const char *expected)
{
    emma_options options = lua_test_options();
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    lua_State *goes = lua_test_state(emma_lua_alloc, instance);
    lua_State *stays = lua_test_state(emma_lua_alloc, instance);
    char result[LUA_TEST_RESULT_BYTES];
    CHECK(goes != NULL && stays != NULL);
    CHECK_EQ(lua_test_protect(goes, lua_test_work, result), LUA_OK);
    lua_close(goes);
    CHECK_EQ(lua_test_protect(stays, lua_test_work, result), LUA_OK);
    CHECK(strcmp(result, expected) == 0);
    lua_close(stays);
    lua_test_empty(instance);
    emma_destroy(instance);
}

int main(void)
{
    const char *expected = lua_test_need_expected();
    one_after_the_other(expected);
    side_by_side(expected);
    two_in_one(expected);
    return 0;
}
