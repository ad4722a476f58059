/* After a fork both processes have all sandboxes: calls, rollbacks and deadlines go on in each,
 * also where the fork was in the middle of a call, in a function of the host's. Pools, too, though
 * threads wait in them that the child does not have. */
#include "sandbox_test.h"

#include <pthread.h>

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

/* ---- With threads that wait in a pool ---- */

enum { HANGS_S = 60, WAIT_US = 1000 };

/* In the child, with what it has of the pool leased or not: the pool works, and ends. */
static void use_pool_in_child(emma_sandbox_pool *pool, emma_sandbox *leased)
{
    emma_sandbox *sandbox;
    alarm(HANGS_S);
    if (leased)
        CHECK_EQ(emma_sandbox_pool_release(pool, leased), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_pool_acquire(pool, &sandbox), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "return 'alive'", "alive");
    CHECK_EQ(emma_sandbox_pool_release(pool, sandbox), EMMA_SANDBOX_DONE);
    emma_sandbox_pool_destroy(pool);
    _exit(0);
}

static void fork_with_pool(emma_sandbox_pool *pool, emma_sandbox *leased)
{
    usleep(WAIT_US * 20); /* the other thread waits */
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        use_pool_in_child(pool, leased);
    expect_ended_well(child);
    child = fork(); /* one that only ends it */
    CHECK(child >= 0);
    if (child == 0) {
        alarm(HANGS_S);
        emma_sandbox_pool_destroy(pool);
        _exit(0);
    }
    expect_ended_well(child);
}

static emma_sandbox_pool *make_pool(size_t sandboxes_max, size_t ahead)
{
    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    options.sandboxes_max = sandboxes_max;
    options.ahead = ahead;
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, NULL);
    CHECK(pool != NULL);
    return pool;
}

static void fork_while_ahead(void)
{
    emma_sandbox_pool *pool = make_pool(4, 2);
    emma_sandbox_pool_stats stats = { .struct_bytes = sizeof stats };
    while (stats.idle < 2) {
        usleep(WAIT_US);
        emma_sandbox_pool_get_stats(pool, &stats);
    }
    fork_with_pool(pool, NULL);
    emma_sandbox_pool_destroy(pool);
}

static void *lease_once(void *pool)
{
    emma_sandbox *sandbox;
    CHECK_EQ(emma_sandbox_pool_acquire(pool, &sandbox), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_pool_release(pool, sandbox), EMMA_SANDBOX_DONE);
    return NULL;
}

static void fork_while_leases_wait(void)
{
    emma_sandbox_pool *pool = make_pool(1, 0);
    emma_sandbox *leased;
    pthread_t thread;
    CHECK_EQ(emma_sandbox_pool_acquire(pool, &leased), EMMA_SANDBOX_DONE);
    CHECK_EQ(pthread_create(&thread, NULL, lease_once, pool), 0);
    fork_with_pool(pool, leased);
    CHECK_EQ(emma_sandbox_pool_release(pool, leased), EMMA_SANDBOX_DONE);
    pthread_join(thread, NULL);
    emma_sandbox_pool_destroy(pool);
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
    fork_while_ahead();
    fork_while_leases_wait();
    return 0;
}
