/* Inside a call of its own a sandbox refuses whatever would enter or change its interpreter, and the call goes on as if
 * nothing had been asked: above all a rollback, under which the running script would be gone. */
#include "sandbox_test.h"

static unsigned level;
static unsigned refused;

static void expect_busy(enum emma_sandbox_status status)
{
    CHECK_EQ(status, EMMA_SANDBOX_BUSY);
    refused++;
}

static int ask_all(lua_State *state)
{
    emma_sandbox *self = emma_sandbox_of(state);
    emma_sandbox_type_bytes bytes;
    unsigned ignored;
    CHECK_EQ(self, emma_sandbox_arg(state));
    expect_busy(sandbox_test_run(self, "return 1"));
    expect_busy(emma_sandbox_call(self, "print", NULL, 0));
    expect_busy(emma_sandbox_set(self, "x", NULL));
    expect_busy(emma_sandbox_register(self, "x", ask_all, NULL));
    expect_busy(emma_sandbox_checkpoint(self, &ignored));
    expect_busy(emma_sandbox_rollback(self, level));
    expect_busy(emma_sandbox_drop(self, level));
    expect_busy(emma_sandbox_set_limit(self, TEST_MIB));
    expect_busy(emma_sandbox_get_type_bytes(self, &bytes));
    return 0;
}

static int release_own(lua_State *state)
{
    expect_busy(emma_sandbox_pool_release(emma_sandbox_arg(state), emma_sandbox_of(state)));
    return 0;
}

int main(void)
{
    emma_sandbox *sandbox = sandbox_test_create(NULL);
    CHECK_EQ(emma_sandbox_register(sandbox, "ask", ask_all, sandbox), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    const size_t limit = sandbox_test_stats(sandbox).limit_bytes;
    sandbox_test_result(sandbox,
                        "local mine = {} ask() coroutine.wrap(ask)() pcall(ask) mine[1] = 'here' "
                        "return mine[1]",
                        "here");
    CHECK_EQ(refused, 3 * 9);
    CHECK_EQ(sandbox_test_stats(sandbox).limit_bytes, limit);
    CHECK_EQ(sandbox_test_stats(sandbox).rollback_count, 0);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    emma_sandbox_destroy(sandbox);

    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, NULL);
    CHECK_EQ(emma_sandbox_pool_acquire(pool, &sandbox), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_register(sandbox, "give", release_own, pool), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "give() return 'still here'", "still here");
    CHECK_EQ(refused, 3 * 9 + 1);
    CHECK_EQ(emma_sandbox_pool_release(pool, sandbox), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_pool_release(pool, sandbox), EMMA_SANDBOX_INVALID);
    emma_sandbox_pool_destroy(pool);
    return 0;
}
