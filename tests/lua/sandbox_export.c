/* test: races */
/* Where the host asks for it, each sandbox is shown from when it is made until it is destroyed, by itself and in a pool,
 * while it runs, is rolled back, and is stopped; the thread that looks takes no part in any of it. */
#include "sandbox_test.h"

#include "../export/export_test.h"

enum { SANDBOXES = 40, REQUESTS = 300 };

static void by_themselves(void)
{
    static emma_sandbox *sandboxes[SANDBOXES];
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = 2 * TEST_MIB;
    options.name = "script";
    for (size_t i = 0; i < SANDBOXES; i++)
        sandboxes[i] = sandbox_test_create(&options);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), SANDBOXES);
    export_slot slot = { .number = 0 };
    export_test_count(getpid(), "script", &slot);
    CHECK(slot.number != 0 && strcmp(slot.kind, "sandbox") == 0);
    const uint64_t before = slot.figures[EXPORT_FIGURE_FOOTPRINT];
    sandbox_test_expect(sandboxes[SANDBOXES - 1], "kept = ('x'):rep(1000000)", EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandboxes[SANDBOXES - 1], "more = ('x'):rep(3000000)", EMMA_SANDBOX_MEMORY);
    for (int i = 0; i < EXPORT_TEST_WAITS && slot.figures[EXPORT_FIGURE_REFUSED] == 0; i++) {
        usleep(EXPORT_TEST_WAIT_US);
        export_test_count(getpid(), "script", &slot);
    }
    CHECK_GT(slot.figures[EXPORT_FIGURE_REFUSED], 0);
    CHECK_GE(slot.figures[EXPORT_FIGURE_PEAK], before + 1000000);
    for (size_t i = 0; i < SANDBOXES; i++)
        emma_sandbox_destroy(sandboxes[i]);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 0);
}

static void in_a_pool(void)
{
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    options.sandbox.limit_bytes = TEST_MIB;
    options.sandboxes_max = 4;
    options.prelude =
        "function handle(n) local t = {} for i = 1, n do t[i] = {i} end return #t end";
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, message);
    CHECK(pool != NULL);
    CHECK_EQ(emma_sandbox_pool_prepare(pool, 4), EMMA_SANDBOX_DONE);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 4);
    for (int i = 0; i < REQUESTS; i++) {
        emma_sandbox *sandbox;
        const emma_sandbox_value count = { .type = EMMA_SANDBOX_INTEGER,
                                           .as.integer = i % 7 * 200 };
        CHECK_EQ(emma_sandbox_pool_acquire(pool, &sandbox), EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_sandbox_call(sandbox, "handle", &count, 1), EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_sandbox_pool_release(pool, sandbox), EMMA_SANDBOX_DONE);
    }
    export_slot slot = { .number = 0 };
    for (int i = 0; i < EXPORT_TEST_WAITS; i++) { /* it was added before its checkpoint */
        export_test_count(getpid(), "sandbox", &slot);
        if (slot.figures[EXPORT_FIGURE_CHECKPOINT])
            break;
        usleep(EXPORT_TEST_WAIT_US);
    }
    CHECK(slot.number != 0);
    CHECK_GT(slot.figures[EXPORT_FIGURE_CHECKPOINT], 0);
    emma_sandbox_pool_destroy(pool);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 0);
}

int main(void)
{
    emma_sandbox *early = sandbox_test_create(NULL);
    CHECK_EQ(emma_export_start(), 0);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 0);
    by_themselves();
    in_a_pool();
    emma_sandbox_destroy(early);
    emma_export_stop();
    return 0;
}
