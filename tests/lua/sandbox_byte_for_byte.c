/* A rollback brings every live block back, at its address, to the byte, whatever ran since and however it ended: also
 * by the jump out of the middle of Lua's code. With one checkpoint, and with a second one on top of it. */
#include "sandbox_test.h"

enum { ROUNDS = 400, BLOCKS_MAX = 1 << 17, ENTRIES = 300, DEADLINE_US = 1500 };

/* All blocks at some time, and their contents one after the other. */
typedef struct image {
    struct {
        const void *block;
        size_t bytes;
    } blocks[BLOCKS_MAX];
    size_t count;
    size_t used_bytes;
    char bytes[8 * TEST_MIB];
} image;

static image images[2], now;

/* Each is given a number; J: ends by the jump, unless time is over before. */
static const char *const requests[] = {
    "local n = ... data[n % #data + 1].name = 'new' .. n",
    "local n = ... for i = 1, #data do data[i] = {id = i, n} end collectgarbage()",
    "local n = ... for i = 1, n do data[#data + 1] = {name = 'more' .. i} end",
    "local n = ... for i = 1, #data, 2 do data[i] = nil end collectgarbage('step', n)",
    "local n = ... text = text .. ('y'):rep(n * 9) text = text:upper():reverse()",
    "local n = ... table.sort(data, function(a, b) return (a.id * n) % 97 < (b.id * n) % 97 end)",
    "assert(waiting()) assert(waiting()) error({})",
    "local t = {} while true do t[#t + 1] = text .. #t end",
    "while true do waiting() end",
    "data, text, waiting, string, _G.pcall = nil collectgarbage() collectgarbage()",
    "collectgarbage('incremental', 50, 400) for i = 1, 1e9 do data[i % 9 + 1] = {} end",
    "('a'):rep(40):find(('a*'):rep(40) .. 'b')",                  /* J */
    "data.x = {} for i = 1, 9 do data.x[i] = ('x'):rep(1e4) end " /* J */
    "table.concat({('a'):rep(30), 1}):find(('a*'):rep(30) .. 'b')",
    "coroutine.wrap(function() data = {} pcall(string.gsub, ('a'):rep(40), ('a*'):rep(40) .. 'b', "
    "'x') "
    "end)()", /* J */
};

static bool image_add(void *arg, void *block, size_t bytes)
{
    image *all = arg;
    CHECK_LT(all->count, BLOCKS_MAX);
    CHECK_LE(bytes, sizeof all->bytes - all->used_bytes);
    all->blocks[all->count].block = block;
    all->blocks[all->count++].bytes = bytes;
    memcpy(all->bytes + all->used_bytes, block, bytes);
    all->used_bytes += bytes;
    return true;
}

static void image_take(image *all, emma_sandbox *sandbox)
{
    all->count = all->used_bytes = 0;
    CHECK(emma_walk(emma_sandbox_instance(sandbox), image_add, all));
}

static void image_expect(const image *expected, emma_sandbox *sandbox)
{
    image_take(&now, sandbox);
    CHECK_EQ(now.count, expected->count);
    for (size_t i = 0; i < now.count; i++) {
        CHECK_EQ(now.blocks[i].block, expected->blocks[i].block);
        CHECK_EQ(now.blocks[i].bytes, expected->blocks[i].bytes);
    }
    CHECK_EQ(memcmp(now.bytes, expected->bytes, expected->used_bytes), 0);
    CHECK_EQ(emma_check(emma_sandbox_instance(sandbox)), EMMA_OK);
}

/* One request after another, as some hosts do it, until one breaks the sandbox. */
static void run_some(emma_sandbox *sandbox, test_rng *rng)
{
    char text[512];
    for (size_t left = 1 + test_below(rng, 3); left; left--) {
        const char *request = requests[test_below(rng, TEST_COUNT(requests))];
        snprintf(text, sizeof text, "(function(...) %s end)(%zu)", request,
                 1 + test_below(rng, ENTRIES));
        const enum emma_sandbox_status status = sandbox_test_run(sandbox, text);
        CHECK(status <= EMMA_SANDBOX_DEADLINE || status == EMMA_SANDBOX_BROKEN);
    }
}

int main(int argc, char **argv)
{
    test_rng rng = test_rng_from(test_choose_seed(argc, argv, 1));
    emma_sandbox_options options = sandbox_test_options();
    options.limit_bytes = 2 * TEST_MIB;
    emma_sandbox *sandbox = sandbox_test_create(&options);
    unsigned levels[2];
    sandbox_test_expect(sandbox,
                        "data = {} for i = 1, 500 do data[i] = {id = i, name = 'n' .. i} end "
                        "text = ('x'):rep(1e5) waiting = coroutine.wrap(function() local i = 0 "
                        "while true do i = i + 1 coroutine.yield({i}) end end) waiting()",
                        EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_checkpoint(sandbox, &levels[0]), EMMA_SANDBOX_DONE);
    image_take(&images[0], sandbox);
    CHECK_EQ(emma_sandbox_set_budget(sandbox, 0, DEADLINE_US), EMMA_SANDBOX_DONE);
    size_t depth = 1;
    const size_t rounds = test_steps(ROUNDS);
    for (size_t round = 0; round < rounds; round++) {
        run_some(sandbox, &rng);
        if (depth == 1 && test_chance(&rng, 50) &&
            emma_sandbox_checkpoint(sandbox, &levels[1]) == EMMA_SANDBOX_DONE) {
            image_take(&images[1], sandbox);
            depth = 2;
            run_some(sandbox, &rng);
        }
        depth = 1 + test_below(&rng, depth);
        CHECK_EQ(emma_sandbox_rollback(sandbox, levels[depth - 1]), EMMA_SANDBOX_DONE);
        image_expect(&images[depth - 1], sandbox);
    }
    CHECK_GT(sandbox_test_stats(sandbox).broken_count, 0);
    CHECK_EQ(sandbox_test_stats(sandbox).rollback_count, rounds);
    emma_sandbox_destroy(sandbox);
    return 0;
}
