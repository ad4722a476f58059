/* A pool's sandboxes that were left in the middle of a call come back as they were prepared; ones that cannot are
 * replaced; preparations that fail say why. */
#include "sandbox_test.h"

#include "../core/emma_threads.h"

enum { LEASES = 100 };

#define C_LOOP "('a'):rep(40):find(('a*'):rep(40) .. 'b')"

static emma_sandbox_pool_stats pool_stats(emma_sandbox_pool *from)
{
    emma_sandbox_pool_stats stats = { .struct_bytes = sizeof stats };
    emma_sandbox_pool_get_stats(from, &stats);
    return stats;
}

static emma_sandbox_pool_options pool_options(const char *prelude)
{
    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    options.sandbox.limit_bytes = TEST_MIB;
    options.sandboxes_max = 2;
    options.prelude = prelude;
    options.prelude_bytes = strlen(prelude);
    return options;
}

static emma_sandbox *pool_lease(emma_sandbox_pool *pool)
{
    emma_sandbox *sandbox;
    CHECK_EQ(emma_sandbox_pool_acquire(pool, &sandbox), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "local was = x x = 'used' return was", "fresh");
    return sandbox;
}

static void lease_broken_ones(void)
{
    enum { DEADLINE_US = 1000 };
    emma_sandbox_pool_options options = pool_options("x = 'fresh'");
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, NULL);
    CHECK(pool != NULL);
    uint64_t broken = 0;
    for (size_t left = test_steps(LEASES); left; left--) {
        emma_sandbox *sandbox = pool_lease(pool);
        CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, DEADLINE_US), EMMA_SANDBOX_DONE);
        sandbox_test_expect(sandbox, left % 2 ? C_LOOP : "while true do end",
                            EMMA_SANDBOX_DEADLINE);
        CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, 0), EMMA_SANDBOX_DONE);
        broken += sandbox_test_run(sandbox, "") == EMMA_SANDBOX_BROKEN;
        emma_sandbox_pool_release(pool, sandbox);
    }
    CHECK_GT(broken, 0);
    CHECK_EQ(pool_stats(pool).broken_count, broken);
    CHECK_EQ(pool_stats(pool).replaced_count, 0);
    CHECK_EQ(pool_stats(pool).prepared_count, 1);
    emma_sandbox_pool_destroy(pool);
}

/* A lease that drops the checkpoint leaves nothing to go back to. */
static void replace_spoilt_ones(size_t ahead)
{
    emma_sandbox_pool_options options = pool_options("x = 'fresh'");
    options.ahead = ahead;
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, NULL);
    CHECK(pool != NULL);
    for (uint64_t i = 1; i <= LEASES; i++) {
        emma_sandbox *sandbox = pool_lease(pool);
        unsigned level = 0;
        while (emma_sandbox_drop(sandbox, level) != EMMA_SANDBOX_DONE)
            CHECK_LT(level++, 100);
        emma_sandbox_pool_release(pool, sandbox);
        CHECK_EQ(pool_stats(pool).replaced_count, i);
        CHECK_LE(pool_stats(pool).sandboxes, options.sandboxes_max);
    }
    emma_sandbox_pool_release(pool, NULL);
    emma_sandbox_pool_destroy(pool);
}

static int preparations;

static enum emma_sandbox_status prepare_first_only(void *arg, emma_sandbox *sandbox)
{
    if (preparations++ < *(const int *)arg)
        return EMMA_SANDBOX_DONE;
    sandbox_test_run(sandbox, "error('no more', 0)");
    return EMMA_SANDBOX_ERROR;
}

static void expect_no_pool(const emma_sandbox_pool_options *options, const char *why)
{
    char message[EMMA_SANDBOX_MESSAGE_BYTES] = "";
    CHECK(emma_sandbox_pool_create(options, message) == NULL);
    if (!strstr(message, why))
        fprintf(stderr, "expected '%s', got '%s'\n", why, message);
    CHECK(strstr(message, why) != NULL);
}

static void fail_preparations(void)
{
    int good = 0;
    emma_sandbox *sandboxes[2];
    emma_sandbox_pool_options options = pool_options("x = 'fresh'");
    options.prepare = prepare_first_only;
    options.prepare_arg = &good;
    expect_no_pool(&options, "error: no more");
    good = 1;
    preparations = 0;
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, NULL);
    CHECK(pool != NULL);
    CHECK_EQ(emma_sandbox_pool_prepare(pool, 2), EMMA_SANDBOX_ERROR);
    sandboxes[0] = pool_lease(pool);
    CHECK_EQ(emma_sandbox_pool_acquire(pool, &sandboxes[1]), EMMA_SANDBOX_ERROR);
    CHECK(sandboxes[1] == NULL);
    CHECK_EQ(pool_stats(pool).failed_count, 2);
    CHECK_EQ(pool_stats(pool).sandboxes, 1);
    good = 100;
    sandboxes[1] = pool_lease(pool);
    emma_sandbox_pool_release(pool, sandboxes[1]);
    emma_sandbox_pool_release(pool, sandboxes[0]);
    emma_sandbox_pool_destroy(pool);
}

static void refuse_options(void)
{
    emma_sandbox_pool_options options = pool_options("error('in the prelude')");
    expect_no_pool(&options, "error: prelude:1: in the prelude");
    options.prelude_name = "start.lua";
    expect_no_pool(&options, "start.lua:1:");
    options = pool_options("while true do end");
    options.prelude_us = 2000;
    expect_no_pool(&options, "deadline:");
    options = pool_options("x = ");
    expect_no_pool(&options, "error: prelude:1:");
    expect_no_pool(NULL, "options");
    options = pool_options("");
    options.sandbox.flags = 0;
    expect_no_pool(&options, "flags");
    options = pool_options("");
    options.ahead = 3;
    expect_no_pool(&options, "ahead");
    options = pool_options("");
    options.sandboxes_max = 0;
    expect_no_pool(&options, "sandboxes_max");
    options = pool_options("");
    options.struct_bytes--;
    expect_no_pool(&options, "struct_bytes");
    options = pool_options("");
    options.sandbox.limit_bytes = 1;
    expect_no_pool(&options, "limit_bytes");
    emma_sandbox_pool_destroy(NULL);
}

int main(void)
{
    lease_broken_ones();
    const uint64_t descriptors = test_descriptors();
    replace_spoilt_ones(0);
    replace_spoilt_ones(2);
    fail_preparations();
    refuse_options();
    CHECK_EQ(test_descriptors(), descriptors);
    return 0;
}
