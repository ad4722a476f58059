/* test: whole */
/* A call that is left by the jump while the kit hands over large results or errors leaves no host memory behind, and frees
 * none twice: also where Lua is in the program itself, so that the kit's code may be taken for Lua's. */
#include "sandbox_test.h"

static long host_blocks;

static void *host_realloc(void *block, size_t bytes)
{
    void *result = realloc(block, bytes);
    for (volatile int i = 0; i < 20; i++) /* a moment in which the kit has not noted it */
        ;
    host_blocks += result && !block;
    return result;
}

static void *host_calloc(size_t count, size_t bytes)
{
    host_blocks++;
    return calloc(count, bytes);
}

static void host_free(void *block)
{
    host_blocks -= block != NULL;
    free(block);
}

#define malloc(bytes)         host_realloc(NULL, bytes)
#define realloc(block, bytes) host_realloc(block, bytes)
#define calloc(count, bytes)  host_calloc(count, bytes)
#define free(block)           host_free(block)
#include "../../bindings/lua/emma_lua.c"
#include "../../bindings/lua/emma_sandbox.c"

/* Each would take far longer than its time. */
static const char *const scripts[] = {
    "return large",
    "while true do pcall(function() return large end) end",
    "xpcall(error, function(m) return large end, large) return large, large",
    "return table.unpack(strings)",
    "error(setmetatable({}, {__tostring = function() return ('x'):rep(1e6) end}))",
};

int main(void)
{
    enum { ROUNDS = 150, ROUNDS_MAX = 3000, DEADLINE_US = 200 };
    emma_sandbox_options options = sandbox_test_options();
    options.value_bytes = SIZE_MAX;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    unsigned level;
    sandbox_test_expect(sandbox,
                        "large = {} for i = 1, 4e4 do large[i] = ('s'):rep(i % 2000) end "
                        "strings = {} for i = 1, 5000 do strings[i] = ('s'):rep(i) end",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, DEADLINE_US), EMMA_SANDBOX_DONE);
    const long before = host_blocks;
    const size_t rounds = test_steps(ROUNDS);
    /* Until some were left in the middle, however slow the kit is. */
    for (size_t i = 0; i < rounds || (!sandbox_test_stats(sandbox).broken_count && i < ROUNDS_MAX);
         i++) {
        const enum emma_sandbox_status status =
            sandbox_test_run(sandbox, scripts[i % TEST_COUNT(scripts)]);
        CHECK(status <= EMMA_SANDBOX_DEADLINE);
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
        emma_sandbox_run(sandbox, NULL, "", 0); /* frees what the last one left */
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
        CHECK_LE(host_blocks, before + 2); /* what is said of this one, if it was stopped */
    }
    CHECK_GT(sandbox_test_stats(sandbox).broken_count, 0);
    emma_sandbox_destroy(sandbox);
    CHECK_EQ(host_blocks, 0);
    return 0;
}
