/* Bytes by type: what scripts make shows in its type and nowhere else, wherever it hangs, and
 * all types together are what is live. */
#include "sandbox_test.h"

#if defined(EMMA_CHECKS) && EMMA_CHECKS
#define CHECKED 1
#else
#define CHECKED 0
#endif

enum { KIB_100 = 100 * 1024 };

static emma_sandbox_type_bytes look(emma_sandbox *sandbox)
{
    emma_sandbox_type_bytes bytes;
    const size_t live = sandbox_test_stats(sandbox).live_bytes;
    CHECK_EQ(emma_sandbox_get_type_bytes(sandbox, &bytes), EMMA_SANDBOX_DONE);
    const size_t sum = bytes.strings + bytes.tables + bytes.functions + bytes.userdata +
                       bytes.threads + bytes.rest;
    CHECK_LE(sum, live);
    if (!CHECKED) /* whose blocks are larger than what a walk tells */
        CHECK_EQ(sum, live);
    return bytes;
}

static int make_userdata(lua_State *state)
{
    memset(lua_newuserdatauv(state, KIB_100, 1), 0, KIB_100);
    lua_pushvalue(state, 1);
    lua_setiuservalue(state, -2, 1);
    return 1;
}

/* Scripts that make a string of 100 KiB, and where it hangs. */
static const char *const places[] = {
    "kept = S()",
    "kept = {S()}",
    "kept = {[S()] = true}",
    "kept = setmetatable({}, {S()})",
    "local s = S() kept = function() return s end",
    "kept = userdata(S())",
    "kept = coroutine.wrap(function() local s = S() coroutine.yield() return s end) kept()",
    "kept = coroutine.create(function(s) coroutine.yield(s) end) coroutine.resume(kept, S())",
    "getmetatable('').kept = S()",
    "local t = {} for i = 1, 100000 do t = {t} end t[1] = {S(), t[1]} kept = t",
};

static void find_string(emma_sandbox *sandbox, unsigned level, const char *script)
{
    const emma_sandbox_type_bytes before = look(sandbox);
    sandbox_test_expect(sandbox, script, EMMA_SANDBOX_DONE);
    const emma_sandbox_type_bytes after = look(sandbox);
    if (after.strings < before.strings + KIB_100)
        fprintf(stderr, "%s: strings %zu, before %zu\n", script, after.strings, before.strings);
    CHECK_GE(after.strings, before.strings + KIB_100);
    CHECK_LT(after.strings, before.strings + 2 * KIB_100);
    CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
}

int main(void)
{
    emma_sandbox *sandbox = sandbox_test_create(NULL);
    unsigned level;
    CHECK_EQ(emma_sandbox_register(sandbox, "userdata", make_userdata, NULL), EMMA_SANDBOX_DONE);
    sandbox_test_expect(sandbox, "function S() return ('x'):rep(100 * 1024) end",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    for (size_t i = 0; i < TEST_COUNT(places); i++)
        find_string(sandbox, level, places[i]);

    const emma_sandbox_type_bytes before = look(sandbox);
    CHECK_EQ(look(sandbox).strings, before.strings);
    sandbox_test_expect(sandbox,
                        "t, f, u, c = {}, {}, userdata(), {} for i = 1, 1000 do t[i] = {} "
                        "f[i] = function() return i end c[i] = coroutine.create(print) end",
                        EMMA_SANDBOX_DONE);
    const emma_sandbox_type_bytes after = look(sandbox);
    CHECK_GE(after.tables, before.tables + 1000 * 56);
    CHECK_GE(after.functions, before.functions + 1000 * 32);
    CHECK_GE(after.threads, before.threads + 1000 * 100);
    CHECK_GE(after.userdata, before.userdata + KIB_100);
    CHECK_LT(after.strings, before.strings + 1000);
    sandbox_test_expect(sandbox, "t, f, u, c = nil collectgarbage() collectgarbage()",
                        EMMA_SANDBOX_DONE);
    CHECK_LE(look(sandbox).tables, before.tables + 1000);
    emma_sandbox_destroy(sandbox);
    return 0;
}
