/* A hundred thousand requests with a rollback after each leave footprint, mappings and descriptors as they were. */
#include "sandbox_test.h"

enum { ROLLBACKS = 100000, LOOK_EVERY = 20000, WARM_UP = 100 };

static const char prelude[] =
    "data = {} for i = 1, 200 do data[i] = {id = i, name = 'n' .. i} end "
    "function handle(n) for i = 1, 5 do data[(n * 7 + i) % 200 + 1] = {id = n} end "
    "if n % 64 == 0 then local t = {} for i = 1, 300 do t[i] = {i} end end "
    "if n % 100 == 0 then error(data[1]) end return #data + n end";

static test_maps before, after;

static void request(emma_sandbox *sandbox, unsigned level, size_t n)
{
    const emma_sandbox_value argument = sandbox_test_integer((int64_t)n);
    size_t count;
    if (n % 50 == 0)
        emma_sandbox_kill(sandbox);
    const enum emma_sandbox_status expected = n % 50 == 0 ? EMMA_SANDBOX_KILLED : EMMA_SANDBOX_DONE;
    CHECK_EQ(emma_sandbox_call(sandbox, "handle", &argument, 1), expected);
    if (expected == EMMA_SANDBOX_DONE)
        CHECK_EQ(emma_sandbox_results(sandbox, &count)->as.integer, 200 + n);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
}

int main(void)
{
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = TEST_MIB;
    options.instructions = 1000000;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    unsigned level;
    sandbox_test_expect(sandbox, prelude, EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    for (size_t n = 1; n <= WARM_UP; n++)
        request(sandbox, level, n);
    const uint64_t descriptors = test_descriptors();
    emma_trim(emma_sandbox_instance(sandbox)); /* what rollbacks keep for the next request */
    const emma_sandbox_stats start = sandbox_test_stats(sandbox);
    test_maps_read(&before);
    const size_t rollbacks = test_steps(ROLLBACKS);
    for (size_t n = 1; n <= rollbacks; n++) {
        request(sandbox, level, n);
        if (n % LOOK_EVERY != 0 && n != rollbacks)
            continue;
        emma_trim(emma_sandbox_instance(sandbox));
        const emma_sandbox_stats now = sandbox_test_stats(sandbox);
        CHECK_EQ(now.footprint_bytes, start.footprint_bytes);
        CHECK_EQ(now.live_bytes, start.live_bytes);
        CHECK_EQ(now.checkpoint_bytes, start.checkpoint_bytes);
        CHECK_EQ(now.rollback_count, WARM_UP + n);
        CHECK_EQ(test_descriptors(), descriptors);
        test_maps_read(&after);
        if (!TEST_SHADOW_MEMORY)
            CHECK_EQ(after.count, before.count);
    }
    CHECK_EQ(emma_check(emma_sandbox_instance(sandbox)), EMMA_OK);
    emma_sandbox_destroy(sandbox);
    return 0;
}
