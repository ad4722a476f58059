/* A host function of one sandbox runs another: what stops the inner one does not stop the outer one; what stops the
 * outer one, its time or a kill, ends both. */
#include "sandbox_victim.h"

static enum emma_sandbox_status inner_status;

static int run_inner(lua_State *state)
{
    emma_sandbox *inner = emma_sandbox_arg(state);
    inner_status = sandbox_test_run(inner, luaL_checkstring(state, 1));
    lua_pushinteger(state, (lua_Integer)inner_status);
    return 1;
}

static void expect_nested(victim *outer, const char *text, enum emma_sandbox_status outer_status,
                          enum emma_sandbox_status expected_inner)
{
    sandbox_test_expect(outer->sandbox, text, outer_status);
    CHECK_EQ(inner_status, expected_inner);
}

int main(void)
{
    victim outer = victim_create(0), inner = victim_create(0);
    pthread_t thread;
    CHECK_EQ(emma_sandbox_register(outer.sandbox, "inner", run_inner, inner.sandbox),
             EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(inner.sandbox, "begin", victim_begin, &inner),
             EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(inner.sandbox, "kill_outer", victim_begin, &outer),
             EMMA_SANDBOX_DONE);

    /* The inner one is killed: the outer one goes on. */
    CHECK_EQ(pthread_create(&thread, NULL, victim_kill, &inner), 0);
    expect_nested(&outer, "return inner('begin() while true do end')", EMMA_SANDBOX_DONE,
                  EMMA_SANDBOX_KILLED);
    CHECK_EQ(pthread_join(thread, NULL), 0);

    /* The outer one is, as the inner one runs without end: both end, whatever variables do when they are closed. */
    CHECK_EQ(pthread_create(&thread, NULL, victim_kill, &outer), 0);
    expect_nested(&outer, VICTIM_CLOSING "inner('kill_outer() while true do end')",
                  EMMA_SANDBOX_KILLED, EMMA_SANDBOX_KILLED);
    CHECK_EQ(pthread_join(thread, NULL), 0);

    /* The outer one's time ends both, also where the inner one is in C. */
    CHECK_EQ(emma_sandbox_set_budget(outer.sandbox, 0, SANDBOX_TEST_DEADLINE_US),
             EMMA_SANDBOX_DONE);
    expect_nested(&outer, "pcall(inner, 'while true do end')", EMMA_SANDBOX_DEADLINE,
                  EMMA_SANDBOX_DEADLINE);
    expect_nested(&outer, "inner(\"" VICTIM_C_LOOP "\")", EMMA_SANDBOX_DEADLINE,
                  EMMA_SANDBOX_DEADLINE);
    CHECK_EQ(sandbox_test_stats(inner.sandbox).broken_count, 1);
    CHECK_EQ(sandbox_test_stats(outer.sandbox).broken_count, 0);
    emma_sandbox_destroy(inner.sandbox);
    emma_sandbox_destroy(outer.sandbox);
    return 0;
}
