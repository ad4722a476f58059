/* After a fork both processes have all sandboxes: calls, rollbacks and deadlines go on in each, also where the fork
 * was in the middle of a call, in a function of the host's. */
#include "sandbox_test.h"

enum { SANDBOXES = 3, CALLS = 200 };

#define C_LOOP "('a'):rep(40):find(('a*'):rep(40) .. 'b')"

static emma_sandbox *sandboxes[SANDBOXES];
static unsigned levels[SANDBOXES];

static const char prelude[] = "data = {} for i = 1, 1000 do data[i] = {i} end "
                              "function handle(n) calls = (calls or 0) + 1 for i = 1, n do "
                              "data[i] = {n + i} end return calls .. ' ' .. data[5][1] end";

static void expect_handled(emma_sandbox *sandbox, int64_t n, const char *expected)
{
    const emma_sandbox_value argument = sandbox_test_integer(n);
    size_t count;
    CHECK_EQ(emma_sandbox_call(sandbox, "handle", &argument, 1), EMMA_SANDBOX_DONE);
    CHECK(strcmp(emma_sandbox_results(sandbox, &count)->as.text.data, expected) == 0);
}

/* Calls that differ by `n` from those of the other process. */
static void go_on(int64_t n)
{
    char expected[32];
    snprintf(expected, sizeof expected, "1 %d", (int)n + 5);
    for (size_t i = 0; i < CALLS; i++) {
        const size_t at = i % SANDBOXES;
        expect_handled(sandboxes[at], n, expected);
        CHECK_EQ(emma_sandbox_rollback(sandboxes[at], levels[at]), EMMA_SANDBOX_DONE);
    }
    for (size_t at = 0; at < SANDBOXES; at++) {
        CHECK_EQ(emma_sandbox_set_budget(sandboxes[at], 0, SANDBOX_TEST_DEADLINE_US),
                 EMMA_SANDBOX_DONE);
        sandbox_test_expect(sandboxes[at], "while true do end", EMMA_SANDBOX_DEADLINE);
        sandbox_test_expect(sandboxes[at], C_LOOP, EMMA_SANDBOX_DEADLINE);
        sandbox_test_expect(sandboxes[at], "", EMMA_SANDBOX_BROKEN);
        CHECK_EQ(emma_sandbox_rollback(sandboxes[at], levels[at]), EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_sandbox_set_budget(sandboxes[at], 0, 0), EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_check(emma_sandbox_instance(sandboxes[at])), EMMA_OK);
        expect_handled(sandboxes[at], n, expected);
        CHECK_EQ(emma_sandbox_rollback(sandboxes[at], levels[at]), EMMA_SANDBOX_DONE);
    }
}

static void expect_ended_well(pid_t child)
{
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

static void fork_between_calls(void)
{
    expect_handled(sandboxes[0], 9, "1 14"); /* what each process rolls back for itself */
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    expect_handled(sandboxes[0], child ? 10 : 20, child ? "2 15" : "2 25");
    CHECK_EQ(emma_sandbox_rollback(sandboxes[0], levels[0]), EMMA_SANDBOX_DONE);
    go_on(child ? 100 : 200);
    if (child == 0)
        _exit(0);
    expect_ended_well(child);
    go_on(300);
}

/* ---- In the middle of a call ---- */

static pid_t forked;

static int host_fork(lua_State *state)
{
    (void)state;
    fflush(NULL);
    forked = fork();
    CHECK(forked >= 0);
    return 0;
}

static void fork_in_call(const char *text)
{
    emma_sandbox_options options = sandbox_test_options();
    options.deadline_us = SANDBOX_TEST_DEADLINE_US;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    CHECK_EQ(emma_sandbox_register(sandbox, "fork", host_fork, NULL), EMMA_SANDBOX_DONE);
    unsigned level;
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, text, EMMA_SANDBOX_DEADLINE);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "return 'alive'", "alive");
    sandbox_test_expect(sandbox, C_LOOP, EMMA_SANDBOX_DEADLINE);
    emma_sandbox_destroy(sandbox);
    if (forked == 0)
        _exit(0);
    expect_ended_well(forked);
}

int main(void)
{
    for (size_t i = 0; i < SANDBOXES; i++) {
        sandboxes[i] = sandbox_test_create(NULL);
        sandbox_test_expect(sandboxes[i], prelude, EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_sandbox_checkpoint(sandboxes[i], &levels[i]), EMMA_SANDBOX_DONE);
    }
    fork_between_calls();
    fork_in_call("fork(); while true do end");
    fork_in_call("fork(); " C_LOOP);
    for (size_t i = 0; i < SANDBOXES; i++)
        emma_sandbox_destroy(sandboxes[i]);
    return 0;
}
