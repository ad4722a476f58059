/* test: races */
/* A pool leased from by many threads: each lease is a fresh sandbox, whatever the last one did to it, the figures add
 * up, and a pool that is gone leaves nothing. Ones that break are in sandbox_pool_broken.c. */
#include "sandbox_test.h"

#include <stdatomic.h>

#include "../core/emma_threads.h"

enum { THREADS = 8, SANDBOXES = 5, LEASES = 250 };

static const char prelude[] =
    "seen = 0 data = {} for i = 1, 100 do data[i] = {i} end "
    "function handle(n) assert(seen == 0 and data[7][1] == 7) seen = n data[n % 100 + 1] = nil "
    "return kind .. n end";

static emma_sandbox_pool *pool;
static size_t leases_each;
static atomic_uint prepared, preparing, leases;

static enum emma_sandbox_status prepare(void *arg, emma_sandbox *sandbox)
{
    CHECK_EQ(atomic_fetch_add(&preparing, 1), 0); /* never twice at once */
    const emma_sandbox_value kind = sandbox_test_text(arg);
    const enum emma_sandbox_status status = emma_sandbox_set(sandbox, "kind", &kind);
    atomic_fetch_add(&prepared, 1);
    atomic_fetch_sub(&preparing, 1);
    return status;
}

static emma_sandbox_pool_stats pool_stats(emma_sandbox_pool *from)
{
    emma_sandbox_pool_stats stats = { .struct_bytes = sizeof stats };
    emma_sandbox_pool_get_stats(from, &stats);
    return stats;
}

static emma_sandbox_pool_options pool_options(size_t ahead)
{
    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    options.sandbox.limit_bytes = TEST_MIB;
    options.sandboxes_max = SANDBOXES;
    options.ahead = ahead;
    options.prepare = prepare;
    options.prepare_arg = (void *)(uintptr_t) "kind";
    options.prelude = prelude;
    options.prelude_bytes = sizeof prelude - 1;
    options.prelude_us = 0; /* no timers where ThreadSanitizer is */
    return options;
}

static void lease(test_rng *rng)
{
    emma_sandbox *sandbox;
    char expected[32];
    size_t count;
    const emma_sandbox_value n = sandbox_test_integer((int64_t)test_below(rng, 1000));
    CHECK_EQ(emma_sandbox_pool_acquire(pool, &sandbox), EMMA_SANDBOX_DONE);
    atomic_fetch_add(&leases, 1);
    CHECK_EQ(emma_sandbox_call(sandbox, "handle", &n, 1), EMMA_SANDBOX_DONE);
    snprintf(expected, sizeof expected, "kind%d", (int)n.as.integer);
    CHECK(strcmp(emma_sandbox_results(sandbox, &count)->as.text.data, expected) == 0);
    if (test_chance(rng, 10))
        sandbox_test_expect(sandbox, "local s = 'x' while true do s = s .. s end",
                            EMMA_SANDBOX_MEMORY);
    if (test_chance(rng, 10))
        emma_sandbox_kill(sandbox); /* which the next lease does not hear of */
    emma_sandbox_pool_release(pool, sandbox);
}

/* Visits change nothing, so whoever leases the sandbox finds it as it was prepared. */
static void count_visit(void *arg, emma_sandbox *sandbox)
{
    emma_sandbox_stats stats = { .struct_bytes = sizeof stats };
    emma_sandbox_get_stats(sandbox, &stats);
    CHECK_GT(stats.live_bytes, 0);
    CHECK_EQ(emma_check(emma_sandbox_instance(sandbox)), EMMA_OK);
    ++*(size_t *)arg;
}

static size_t visits(void)
{
    size_t count = 0;
    emma_sandbox_pool_visit(pool, count_visit, &count);
    return count;
}

static void *lease_often(void *arg)
{
    test_thread *self = arg;
    for (size_t left = leases_each; left; left--) {
        lease(&self->rng);
        if (left % 20 == 0) {
            const emma_sandbox_pool_stats stats = pool_stats(pool);
            CHECK_LE(stats.sandboxes, SANDBOXES);
            CHECK_LE(stats.idle, stats.sandboxes);
            CHECK_LE(visits(), SANDBOXES);
        }
    }
    return NULL;
}

/* One after the other, and all of them at once. */
static void use(size_t ahead)
{
    char message[EMMA_SANDBOX_MESSAGE_BYTES] = "";
    const emma_sandbox_pool_options options = pool_options(ahead);
    test_thread threads[THREADS];
    atomic_store(&prepared, 0);
    atomic_store(&leases, 0);
    pool = emma_sandbox_pool_create(&options, message);
    if (!pool)
        fprintf(stderr, "%s\n", message);
    CHECK(pool != NULL);
    test_threads_start(threads, THREADS, lease_often, 1);
    test_threads_join(threads, THREADS);
    CHECK_EQ(emma_sandbox_pool_prepare(pool, SANDBOXES + 1), EMMA_SANDBOX_DONE);
    while (pool_stats(pool).idle < SANDBOXES) /* the pool's own thread may be preparing the last */
        usleep(100);
    const emma_sandbox_pool_stats stats = pool_stats(pool);
    CHECK_EQ(stats.sandboxes, SANDBOXES);
    CHECK_EQ(stats.idle, SANDBOXES);
    CHECK_EQ(stats.sandboxes_max, SANDBOXES);
    CHECK_EQ(stats.prepared_count, SANDBOXES);
    CHECK_EQ(stats.prepared_count, atomic_load(&prepared));
    CHECK_EQ(stats.acquired_count, atomic_load(&leases));
    CHECK_LE(stats.demanded_count, SANDBOXES - 1);
    CHECK_LE(stats.waited_count, stats.acquired_count);
    CHECK_EQ(stats.failed_count + stats.replaced_count + stats.broken_count, 0);
    CHECK_GT(stats.footprint_bytes, SANDBOXES * 16 * TEST_KIB);
    emma_sandbox_pool_destroy(pool);
}

/* Who finds all leased waits for the first that comes back. */
static void *lease_last(void *arg)
{
    test_rng rng = { 1 };
    (void)arg;
    lease(&rng);
    return NULL;
}

static void wait_for_one(void)
{
    const emma_sandbox_pool_options options = pool_options(0);
    emma_sandbox *leased[SANDBOXES];
    pthread_t thread;
    pool = emma_sandbox_pool_create(&options, NULL);
    for (size_t i = 0; i < SANDBOXES; i++)
        CHECK_EQ(emma_sandbox_pool_acquire(pool, &leased[i]), EMMA_SANDBOX_DONE);
    CHECK_EQ(pthread_create(&thread, NULL, lease_last, NULL), 0);
    while (pool_stats(pool).waited_count == 0)
        usleep(100);
    CHECK_EQ(visits(), 0); /* of leased ones none */
    emma_sandbox_pool_release(pool, leased[0]);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(visits(), 1);
    for (size_t i = 1; i < SANDBOXES; i++)
        emma_sandbox_pool_release(pool, leased[i]);
    CHECK_EQ(pool_stats(pool).idle, SANDBOXES);
    emma_sandbox_pool_destroy(pool);
}

int main(void)
{
    static test_maps before, after;
    leases_each = test_steps(TEST_SHADOW_MEMORY ? LEASES / 10 : LEASES);
    wait_for_one();
    const uint64_t descriptors = test_descriptors();
    use(0); /* maps stacks that the C library keeps */
    test_maps_read(&before);
    use(0);
    wait_for_one();
    use(2);
    if (!TEST_SHADOW_MEMORY) {
        test_maps_read(&after);
        CHECK_LE(after.count, before.count + 2 * THREADS);
    }
    CHECK_EQ(test_descriptors(), descriptors);
    return 0;
}
