/* Limits: what a script may take after the start and after each checkpoint, the soft one, the spare part; a checkpoint
 * of a large prelude under a small budget; options that are out of their range. */
#include "sandbox_test.h"

#define LIMIT_BYTES (4 * TEST_MIB)

/* Takes memory in pieces of 64 KiB until there is none; how many it got is told by the print. */
static const char take_all[] =
    "local t = {} for i = 1, 1e6 do t[i] = ('x'):rep(65000) .. i print(i) "
    "end";
static size_t taken_bytes;

static void on_print(void *arg, emma_sandbox *sandbox, const char *text, size_t bytes)
{
    (void)arg, (void)sandbox, (void)bytes;
    taken_bytes = strtoul(text, NULL, 10) * 65000;
}

static void expect_room(emma_sandbox *sandbox, size_t bytes)
{

    taken_bytes = 0;
    sandbox_test_expect(sandbox, take_all, EMMA_SANDBOX_MEMORY);
    CHECK_LE(taken_bytes, bytes);
    CHECK_GE(taken_bytes, bytes / 2); /* beside that there are buffers, and gaps */
    const emma_sandbox_stats stats = sandbox_test_stats(sandbox);
    CHECK_LE(stats.footprint_bytes, stats.limit_bytes);
}

static void count_from_checkpoints(void)
{
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = LIMIT_BYTES;
    options.print = on_print;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    unsigned level;
    expect_room(sandbox, LIMIT_BYTES);
    sandbox_test_expect(sandbox,
                        "collectgarbage() data = {} for i = 1, 16 do data[i] = "
                        "('x'):rep(65000) .. i end",
                        EMMA_SANDBOX_DONE);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
        expect_room(sandbox, LIMIT_BYTES);
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    }
    CHECK_EQ(emma_sandbox_set_limit(sandbox, 2 * LIMIT_BYTES), EMMA_SANDBOX_DONE);
    expect_room(sandbox, 2 * LIMIT_BYTES);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_limit(sandbox, LIMIT_BYTES / 2), EMMA_SANDBOX_DONE);
    expect_room(sandbox, LIMIT_BYTES / 2);
    CHECK_EQ(emma_sandbox_set_limit(sandbox, 1), EMMA_SANDBOX_INVALID);
    CHECK(strstr(emma_sandbox_message(sandbox), "limit_bytes") != NULL);
    emma_sandbox_destroy(sandbox);
}

static void count_all(void)
{
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = TEST_MIB;
    options.flags = EMMA_SANDBOX_LIMIT_ALL;
    options.print = on_print;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    sandbox_test_expect(sandbox, take_all, EMMA_SANDBOX_MEMORY);
    CHECK_LE(sandbox_test_stats(sandbox).peak_footprint_bytes,
             options.limit_bytes + options.spare_bytes);
    CHECK_EQ(emma_sandbox_set_limit(sandbox, EMMA_LIMIT_MIN_BYTES), EMMA_SANDBOX_MEMORY);
    emma_sandbox_destroy(sandbox);
    options.limit_bytes = EMMA_LIMIT_MIN_BYTES; /* too small for any state */
    CHECK(emma_sandbox_create(&options) == NULL);
}

static int ups, downs;

static void on_soft_limit(void *arg, emma_sandbox *sandbox, bool over)
{
    CHECK(arg == &ups && sandbox != NULL);
    ups += over;
    downs += !over;
}

static void cross_soft_limit(void)
{
    emma_sandbox_options options = sandbox_test_options();
    options.soft_limit_bytes = TEST_MIB;
    options.soft_handler = on_soft_limit;
    options.soft_arg = &ups;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    unsigned level;
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    CHECK_EQ(ups + downs, 0);
    for (int i = 1; i <= 3; i++) {
        sandbox_test_expect(sandbox, "x = {} for i = 1, 1e5 do x[i] = i .. '' end",
                            EMMA_SANDBOX_DONE);
        CHECK_EQ(ups, i);
        CHECK_EQ(downs, i - 1);
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
        emma_trim(emma_sandbox_instance(sandbox)); /* what rollbacks keep for the next request */
        CHECK_EQ(downs, i);
    }
    emma_sandbox_destroy(sandbox);
}

/* At the limit there still is room to say where the error was, and pcall does what it is told. */
static void fail_at_limit(void)
{
    static const char fill[] = "t = {} pcall(function() for i = 1, 1e7 do t[i] = i .. '' end end) "
                               "pcall(function() for i = 1, 1e7 do t = {t} end end) "
                               "error('the script says so')";
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = LIMIT_BYTES;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    sandbox_test_expect(sandbox, fill, EMMA_SANDBOX_MEMORY);
    CHECK(strcmp(emma_sandbox_message(sandbox), "not enough memory") == 0);
    emma_sandbox_destroy(sandbox);
    options.flags |= EMMA_SANDBOX_CATCH_MEMORY;
    sandbox = sandbox_test_create(&options);
    const enum emma_sandbox_status status = sandbox_test_run(sandbox, fill);
    CHECK(status == EMMA_SANDBOX_ERROR || status == EMMA_SANDBOX_MEMORY);
    if (status == EMMA_SANDBOX_ERROR) {
        CHECK(strcmp(emma_sandbox_message(sandbox), "test:1: the script says so") == 0);
        CHECK(strstr(emma_sandbox_traceback(sandbox), "in function 'error'") != NULL);
    }
    sandbox_test_expect(sandbox, "t = nil assert(not pcall(string.rep, 'x', 1e9))",
                        EMMA_SANDBOX_DONE);
    emma_sandbox_destroy(sandbox);
}

/* The collection for a checkpoint is not the script's: no deadline ends it. */
static void checkpoint_under_small_budget(void)
{
    emma_sandbox *sandbox = sandbox_test_create(NULL);
    unsigned level;
    sandbox_test_expect(sandbox, "data = {} for i = 1, 3e5 do data[i] = {i} end",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 10, 1000), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    emma_sandbox_destroy(sandbox);
}

#define EXPECT_WRONG(change, text)                                                     \
    do {                                                                               \
        emma_sandbox_options options = sandbox_test_options();                         \
        const char *reason = NULL;                                                     \
        options.change;                                                                \
        CHECK_EQ(emma_sandbox_options_check(&options, &reason), EMMA_SANDBOX_INVALID); \
        CHECK(strncmp(reason, text ":", sizeof text) == 0);                            \
        CHECK(emma_sandbox_create(&options) == NULL);                                  \
    } while (0)

static void refuse_options(void)
{
    const char *why = NULL;
    EXPECT_WRONG(struct_bytes = 8, "struct_bytes");
    EXPECT_WRONG(limit_bytes = 1, "limit_bytes");
    EXPECT_WRONG(limit_bytes = SIZE_MAX - 1, "limit_bytes");
    EXPECT_WRONG(soft_limit_bytes = 0, "soft_limit_bytes");
    EXPECT_WRONG(spare_bytes = SIZE_MAX, "spare_bytes");
    EXPECT_WRONG(reserve_bytes = 1, "reserve_bytes");
    EXPECT_WRONG(libraries = 1u << 20, "libraries");
    EXPECT_WRONG(flags = 1u << 20, "flags");
    EXPECT_WRONG(value_depth = EMMA_SANDBOX_VALUE_DEPTH_MAX + 1, "value_depth");
    EXPECT_WRONG(instructions = 1; options.flags |= EMMA_SANDBOX_FINALIZERS, "instructions");
    CHECK_EQ(emma_sandbox_options_check(NULL, &why), EMMA_SANDBOX_DONE);
    CHECK(*why == '\0');
}

int main(void)
{
    count_from_checkpoints();
    count_all();
    cross_soft_limit();
    fail_at_limit();
    checkpoint_under_small_budget();
    refuse_options();
    return 0;
}
