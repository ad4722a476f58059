/* test: uninstrumented */
/* A handler that resets a shared instance at instructions of a check, a walk and a reset of its thread's is refused
 * while that is inside: the call ends as it should, and the instance is sound. */
#include "emma_step.h"
#include "emma_threads.h"

enum { BLOCKS = 6, STOPS = 5, DONE_MAX = 2 };

static emma *instance;
static void *blocks[BLOCKS]; /* the main thread's, for the other to free */
static size_t traps, stops_at, refused, done;

static void on_trap(int number)
{
    (void)number;
    if (++traps != stops_at)
        return;
    const enum emma_status status = emma_reset(instance);
    CHECK(status == EMMA_OK || status == EMMA_BUSY);
    refused += status == EMMA_BUSY;
    done += status == EMMA_OK;
    test_trap_end();
}

static bool visit(void *arg, void *block, size_t bytes)
{
    (void)arg, (void)block, (void)bytes;
    return true;
}

static bool check(void)
{
    return emma_check(instance) == EMMA_OK;
}

static bool walk(void)
{
    return emma_walk(instance, visit, NULL);
}

static bool reset(void)
{
    return emma_reset(instance) == EMMA_OK;
}

/* Leaves blocks of its own, and others on their way home. */
static void *use(void *arg)
{
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK(emma_malloc(instance, 40 + i * 8) != NULL);
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, blocks[i]);
    return arg;
}

static void stop_once(bool (*call)(void))
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = emma_malloc(instance, 40 + i * 8);
    test_thread_run(use, NULL);
    traps = 0;
    test_trap_on();
    const bool good = call();
    test_trap_off();
    CHECK(good);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
}

int main(void)
{
    static bool (*const calls[])(void) = { check, walk, reset };
    test_trap_to(on_trap);
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        stops_at = 0;
        stop_once(calls[i]); /* counts */
        const size_t count = traps, stops = STOPS;
        refused = done = 0;
        for (size_t k = 0; k < stops; k++) { /* more often at the beginning */
            stops_at = 1 + count * k / stops * k / stops;
            stop_once(calls[i]);
        }
        printf("%zu refused, %zu done, of %zu instructions\n", refused, done, count);
        CHECK_GT(refused, done);
        CHECK_LE(done, DONE_MAX); /* before it is inside */
    }
    return 0;
}
