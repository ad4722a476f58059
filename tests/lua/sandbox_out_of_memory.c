/* test: whole */
/* Each allocation of a sandbox's life fails in its turn, the interpreter's and the host's alike: alone, with the one
 * that Lua tries after a collection, and with all that follow. Every function says so by its status, what is there
 * goes on, and nothing is left behind. */
#include "sandbox_test.h"

static struct {
    size_t count; /* of requests that take memory, so far */
    size_t first; /* the first one that fails; 0: none */
    size_t span;  /* how many fail */
    size_t host_blocks;
} failing;

static bool fails(void)
{
    failing.count++;
    return failing.first && failing.count >= failing.first &&
           failing.count - failing.first < failing.span;
}

static void *failing_alloc(void *instance, void *ptr, size_t osize, size_t nsize)
{
    if (nsize > (ptr ? osize : 0) && fails())
        return NULL;
    return emma_resize(instance, ptr, osize, nsize);
}

static void *host_realloc(void *block, size_t bytes)
{
    if (fails())
        return NULL;
    failing.host_blocks += block == NULL;
    return realloc(block, bytes);
}

static void *host_calloc(size_t count, size_t bytes)
{
    void *block = host_realloc(NULL, count * bytes);
    return block ? memset(block, 0, count * bytes) : NULL;
}

static char *host_strdup(const char *text)
{
    char *copy = host_realloc(NULL, strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}

static void host_free(void *block)
{
    failing.host_blocks -= block != NULL;
    free(block);
}

#define emma_lua_alloc        failing_alloc
#define malloc(bytes)         host_realloc(NULL, bytes)
#define realloc(block, bytes) host_realloc(block, bytes)
#define calloc(count, bytes)  host_calloc(count, bytes)
#undef strdup
#define strdup(text) host_strdup(text)
#define free(block)  host_free(block)
#include "../../bindings/lua/emma_sandbox.c"
#undef free

static const char prelude[] =
    "sum = 0 co = coroutine.wrap(function() while true do coroutine.yield({}) end end) "
    "function add(t) for k, v in pairs(t) do sum = sum + v co() end return {sum = sum, [1] = "
    "('text'):rep(9), {tostring(sum)}} end";
static const char failure[] =
    "local t = setmetatable({}, {__tostring = function() return ('e'):rep(2000) end}) "
    "local ok, e = pcall(error, t) assert(not ok and e == t) co() error(t)";

/* A call that ends as it should, or for want of memory, but not before a request was refused. */
static bool went(enum emma_sandbox_status status, enum emma_sandbox_status expected)
{
    if (status != expected)
        CHECK_EQ(status, EMMA_SANDBOX_MEMORY);
    CHECK(status == expected || (failing.first && failing.count >= failing.first));
    return status == expected;
}

static int spawn(lua_State *state)
{
    lua_pushfstring(state, "%s %d", luaL_checkstring(state, 1), 1);
    return 1;
}

static enum emma_sandbox_status add(emma_sandbox *sandbox)
{
    const emma_sandbox_pair pairs[] = { { sandbox_test_text("x"), sandbox_test_integer(3) },
                                        { sandbox_test_integer(1), sandbox_test_integer(4) } };
    const emma_sandbox_value table = { .type = EMMA_SANDBOX_PAIRS, .as.pairs = { pairs, 2 } };
    return emma_sandbox_call(sandbox, "add", &table, 1);
}

static void release(void *resource)
{
    (void)resource;
}

/* With memory again all works, after a rollback if there is a checkpoint. */
static void expect_sound(emma_sandbox *sandbox, unsigned level, bool has_prelude)
{
    failing.first = 0;
    if (level)
        CHECK_EQ(emma_sandbox_rollback(sandbox, level), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_check(emma_sandbox_instance(sandbox)), EMMA_OK);
    if (!has_prelude)
        sandbox_test_expect(sandbox, prelude, EMMA_SANDBOX_DONE);
    CHECK_EQ(add(sandbox), EMMA_SANDBOX_DONE);
    if (level)
        sandbox_test_result(sandbox, "return sum .. game.spawn('x')", "7x 1");
    emma_sandbox_destroy(sandbox);
}

static void live_alone(void)
{
    emma_sandbox_options options = sandbox_test_options();
    emma_sandbox_type_bytes types;
    unsigned level = 0;
    emma_sandbox *sandbox = emma_sandbox_create(&options);
    if (!went(sandbox ? EMMA_SANDBOX_DONE : EMMA_SANDBOX_MEMORY, EMMA_SANDBOX_DONE))
        return;
    bool ready = went(sandbox_test_run(sandbox, prelude), EMMA_SANDBOX_DONE);
    const bool has_prelude = ready;
    ready &= went(emma_sandbox_register(sandbox, "game.spawn", spawn, NULL), EMMA_SANDBOX_DONE);
    ready = ready && went(emma_sandbox_checkpoint(sandbox, &level), EMMA_SANDBOX_DONE);
    ready = ready && went(add(sandbox), EMMA_SANDBOX_DONE);
    if (ready) {
        went(sandbox_test_run(sandbox, failure), EMMA_SANDBOX_ERROR);
        went(emma_sandbox_get_type_bytes(sandbox, &types), EMMA_SANDBOX_DONE);
        went(emma_sandbox_hold(sandbox, &types, release), EMMA_SANDBOX_DONE);
        went(sandbox_test_run(sandbox, "return game.spawn('zombie')"), EMMA_SANDBOX_DONE);
        went(sandbox_test_run(sandbox, "return game.spawn({})"), EMMA_SANDBOX_ERROR);
    }
    expect_sound(sandbox, level, has_prelude);
}

static void live_in_pool(void)
{
    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    char message[EMMA_SANDBOX_MESSAGE_BYTES] = "";
    emma_sandbox *leased[2];
    options.prelude = prelude;
    options.prelude_bytes = sizeof prelude - 1;
    options.sandboxes_max = TEST_COUNT(leased);
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, message);
    CHECK(pool || *message);
    if (!went(pool ? EMMA_SANDBOX_DONE : EMMA_SANDBOX_MEMORY, EMMA_SANDBOX_DONE))
        return;
    for (size_t i = 0; i < TEST_COUNT(leased); i++) {
        const bool has = went(emma_sandbox_pool_acquire(pool, &leased[i]), EMMA_SANDBOX_DONE);
        CHECK_EQ(leased[i] != NULL, has);
    }
    for (size_t i = 0; i < TEST_COUNT(leased); i++)
        emma_sandbox_pool_release(pool, leased[i]);
    failing.first = 0;
    CHECK_EQ(emma_sandbox_pool_acquire(pool, &leased[0]), EMMA_SANDBOX_DONE);
    CHECK_EQ(add(leased[0]), EMMA_SANDBOX_DONE);
    emma_sandbox_pool_release(pool, leased[0]);
    emma_sandbox_pool_destroy(pool);
}

static test_maps before, after;

/* False: no request was refused any more. */
static bool live(void (*life)(void), size_t first, size_t span)
{
    failing.count = 0;
    failing.first = first;
    failing.span = span;
    life();
    CHECK_EQ(failing.host_blocks, 0);
    return failing.count >= first;
}

static void sweep(void (*life)(void), size_t span)
{
    enum { MAPS_EVERY = 16 };
    const size_t step = TEST_SLOW_BUILD ? 11 : 1;
    size_t first = 1;
    live(life, 0, 0);
    const uint64_t descriptors = test_descriptors();
    if (!TEST_SHADOW_MEMORY)
        test_maps_read(&before);
    for (; live(life, first, span); first += step) {
        CHECK_EQ(test_descriptors(), descriptors);
        if (TEST_SHADOW_MEMORY || first % MAPS_EVERY != 0)
            continue;
        test_maps_read(&after);
        CHECK(test_maps_same(&before, &after));
    }
    CHECK_GT(first, 300);
}

int main(void)
{
    static const size_t spans[] = { 1, 2, SIZE_MAX };
    for (size_t i = 0; i < TEST_COUNT(spans); i++) {
        sweep(live_alone, spans[i]);
        sweep(live_in_pool, spans[i]);
    }
    return 0;
}
