/* The instruction budget is exact: what a call needed is enough for it, one less is not, and coroutines make no
 * difference. */
#include "sandbox_test.h"

static const char *const scripts[] = {
    "local sum = 0 for i = 1, 1000 do sum = sum + i end",
    "for i = 1, 100 do coroutine.wrap(function() local a = i + 1 end)() end",
    "local co = coroutine.wrap(function() for i = 1, 50 do coroutine.yield(i) end end) for i = 1, "
    "50 do co() end",
    "local function deep(n) if n > 0 then return coroutine.wrap(deep)(n - 1) end end deep(20)",
    "for i = 1, 20 do pcall(function() local co = coroutine.create(error) coroutine.resume(co, "
    "'x') end) end",
    "table.sort({5, 3, 9, 1, 7}, function(a, b) return a < b end); ('abc'):gsub('.', function(c) "
    "return c .. c end)",
    "local t = setmetatable({}, {__index = function(t, k) return k * 2 end}) for i = 1, 30 do "
    "local v = t[i] end",
};

/* How many instructions a script takes, with all the room it needs. */
static uint64_t budget_need(emma_sandbox *sandbox, const char *script)
{
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 1000000, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, script, EMMA_SANDBOX_DONE);
    return sandbox_test_stats(sandbox).instructions;
}

static void budget_is_exact(emma_sandbox *sandbox, unsigned level, const char *script)
{
    const uint64_t need = budget_need(sandbox, script);
    CHECK(need > 10);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    CHECK_EQ(budget_need(sandbox, script), need);
    for (uint64_t budget = 1; budget <= need + 1; budget += budget + 40 < need ? 37 : 1) {
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_sandbox_set_budget(sandbox, budget, 0), EMMA_SANDBOX_DONE);
        sandbox_test_expect(sandbox, script,
                            budget < need ? EMMA_SANDBOX_INSTRUCTIONS : EMMA_SANDBOX_DONE);
        CHECK_EQ(sandbox_test_stats(sandbox).instructions, budget < need ? budget : need);
    }
}

/* A thread of Lua's that was made without a budget is counted in a call with one, and the other way round. */
static void budget_follows_old_threads(emma_sandbox *sandbox)
{
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox,
                        "spin = coroutine.wrap(function() while true do coroutine.yield() "
                        "for i = 1, 1000 do end end end) spin()",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 500, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, "spin()", EMMA_SANDBOX_INSTRUCTIONS);
    sandbox_test_expect(
        sandbox,
        "kept = coroutine.create(function() coroutine.yield() for i = 1, 9000 do end end)"
        " coroutine.resume(kept)",
        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, "assert(coroutine.resume(kept))", EMMA_SANDBOX_DONE);
}

/* The budget covers the threads on the way out: what they run in closing variables is no second one. */
static void budget_covers_closing(emma_sandbox *sandbox)
{
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 100000, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(
        sandbox,
        "ran = 0 local function deep(n) local x <close> = setmetatable({}, "
        "{__close = function() ran = ran + 1 while true do end end}) "
        "if n == 0 then while true do end end coroutine.wrap(deep)(n - 1) end deep(9)",
        EMMA_SANDBOX_INSTRUCTIONS);
    CHECK_EQ(sandbox_test_stats(sandbox).instructions, 100000);
    sandbox_test_result(sandbox, "return tostring(ran)", "0");
}

/* A thread that was stopped as it yielded, with the hook for that still set, is counted in the next call. */
static void budget_follows_stopped_threads(emma_sandbox *sandbox)
{
    enum { ROUNDS = 30, DEADLINE_US = 500 };
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, 0), EMMA_SANDBOX_DONE);
        sandbox_test_expect(
            sandbox,
            "co = coroutine.wrap(function() while not spin do coroutine.yield() end "
            "for i = 1, 1e5 do end end) spin = false co()",
            EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, DEADLINE_US), EMMA_SANDBOX_DONE);
        sandbox_test_expect(sandbox, "while true do co() end", EMMA_SANDBOX_DEADLINE);
        CHECK_EQ(emma_sandbox_set_budget(sandbox, 5000, 0), EMMA_SANDBOX_DONE);
        const enum emma_sandbox_status status = sandbox_test_run(sandbox, "spin = true co()");
        CHECK(status == EMMA_SANDBOX_INSTRUCTIONS || status == EMMA_SANDBOX_ERROR); /* it is dead */
    }
}

/* What is to be closed in a thread that a stop ended is not run in a later call, where no hook would stop it. */
static void budget_of_spent_threads(emma_sandbox *sandbox)
{
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 5000, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(
        sandbox,
        "local ends = {__close = function() while true do end end} "
        "spent = coroutine.create(function() local x <close> = setmetatable({}, ends) "
        "while true do end end) coroutine.resume(spent)",
        EMMA_SANDBOX_INSTRUCTIONS);
    sandbox_test_result(sandbox, "return (select(2, pcall(coroutine.close, spent)))",
                        "cannot close a coroutine that was stopped");
    sandbox_test_result(sandbox, "return (select(2, coroutine.resume(spent)))",
                        "cannot resume dead coroutine");
    sandbox_test_result(sandbox, "return (select(2, pcall(coroutine.close, spent)))",
                        "cannot close a coroutine that was stopped");
}

int main(void)
{
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = 4 << 20;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    unsigned level;
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    for (size_t i = 0; i < TEST_COUNT(scripts); i++) {
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
        budget_is_exact(sandbox, level, scripts[i]);
    }
    budget_follows_old_threads(sandbox);
    budget_of_spent_threads(sandbox);
    budget_covers_closing(sandbox);
    budget_follows_stopped_threads(sandbox);

    /* More than Lua's counter holds at once. */
    CHECK_EQ(emma_sandbox_set_budget(sandbox, UINT64_MAX, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, scripts[0], EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, UINT64_MAX - 1, 0), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, scripts[0], EMMA_SANDBOX_DONE);
    emma_sandbox_destroy(sandbox);
    return 0;
}
