/* A weak table among the results loses entries to a collection while it is copied: the host is
 * given those that are left, and nothing that nobody filled in, though the memory for them held
 * something before. */
#include "sandbox_test.h"

enum { ENTRIES = 100, JUNK_FROM = 40, JUNK_TO = 60 };

/* Leaves in the host's heap what would be read as pairs. */
static const char poison[] =
    "local s = ('\\4\\0\\0\\0\\0\\0\\0\\0AAAAAAAA\\16\\0\\0\\0\\0\\0\\0\\0'):rep(200):sub(1, 4799) "
    "local t = {} for i = 1, 40 do t[i] = s end return table.unpack(t)";

/* Deep tables and many results make Lua's stack grow as the table is copied; what is junk then
 * lets it not grow without a collection. */
static const char script[] =
    "deep = {} local d = deep for i = 1, 14 do d[1] = {} d = d[1] end "
    "collectgarbage() collectgarbage('stop') "
    "local weak = setmetatable({}, {__mode = 'v'}) weak[1] = deep for i = 2, 100 do weak[i] = {} "
    "end "
    "do local n = select('#', table.unpack({}, 1, 3000)) end "
    "do local junk = {} for i = 1, N do junk[i] = ('x'):rep(8000) .. i end end "
    "return weak, table.unpack({}, 1, 5990)";

/* How many entries came; each is a number with a table. */
static size_t entries(const emma_sandbox *sandbox)
{
    size_t count;
    const emma_sandbox_value *results = emma_sandbox_results(sandbox, &count);
    CHECK_EQ(results[0].type, EMMA_SANDBOX_PAIRS);
    for (size_t i = 0; i < results[0].as.pairs.count; i++) {
        const emma_sandbox_pair *pair = &results[0].as.pairs.items[i];
        CHECK_EQ(pair->key.type, EMMA_SANDBOX_INTEGER);
        CHECK(pair->key.as.integer >= 1 && pair->key.as.integer <= ENTRIES);
        CHECK_EQ(pair->value.type, EMMA_SANDBOX_PAIRS);
    }
    return results[0].as.pairs.count;
}

int main(void)
{
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = TEST_MIB;
    unsigned lost = 0;
    for (int junk = JUNK_FROM; junk < JUNK_TO; junk++) {
        emma_sandbox *sandbox = sandbox_test_create(&options);
        const emma_sandbox_value number = sandbox_test_integer(junk);
        CHECK_EQ(emma_sandbox_set(sandbox, "N", &number), EMMA_SANDBOX_DONE);
        sandbox_test_expect(sandbox, poison, EMMA_SANDBOX_DONE);
        if (sandbox_test_run(sandbox, script) == EMMA_SANDBOX_DONE)
            lost += entries(sandbox) < ENTRIES;
        emma_sandbox_destroy(sandbox);
    }
    printf("%u tables lost entries as they were copied\n", lost);
    return 0;
}
