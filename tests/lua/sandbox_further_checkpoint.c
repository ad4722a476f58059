/* A further checkpoint collects only after much was allocated since the last collection: a collection writes to every page. */
#include "sandbox_test.h"

/* How many bytes a checkpoint's collection frees. */
static size_t collected(emma_sandbox *sandbox, unsigned *level)
{
    const size_t before = sandbox_test_stats(sandbox).live_bytes;
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, level), EMMA_SANDBOX_DONE);
    return before - sandbox_test_stats(sandbox).live_bytes;
}

int main(void)
{
    const emma_sandbox_options options = sandbox_test_options();
    emma_sandbox *sandbox = sandbox_test_create(&options);
    unsigned first, second, third;
    sandbox_test_expect(sandbox, "objects = {} for i = 1, 20000 do objects[i] = {i} end",
                        EMMA_SANDBOX_DONE);
    collected(sandbox, &first);
    sandbox_test_expect(sandbox, "objects[7][1] = 'second' for i = 1, 100 do local t = {i} end",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(collected(sandbox, &second), 0);
    sandbox_test_expect(sandbox, "collectgarbage('stop') for i = 1, 40000 do local t = {i} end",
                        EMMA_SANDBOX_DONE);
    CHECK(collected(sandbox, &third) > options.collect_after_bytes);

    /* The collection of the one that is rolled back does not count any more. */
    CHECK_EQ(emma_sandbox_rollback(sandbox, second), EMMA_SANDBOX_DONE);
    CHECK_EQ(collected(sandbox, &third), 0);
    sandbox_test_expect(sandbox, "objects[7][1] = 'third'", EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_rollback(sandbox, second), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "return objects[7][1]", "second");
    CHECK_EQ(emma_sandbox_rollback(sandbox, first), EMMA_SANDBOX_DONE);
    sandbox_test_result(sandbox, "return tostring(objects[7][1])", "7");
    emma_sandbox_destroy(sandbox);
    return 0;
}
