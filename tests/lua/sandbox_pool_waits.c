/* Pools: a wait for a sandbox ends when its time is over, or one comes back; a pool that ends while
 * its thread is in a preparation that fails ends, and so does one that this thread destroys. */
#include "sandbox_test.h"

#include "emma_sandbox_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define NAP_US 50000

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

typedef struct lease {
    emma_sandbox_pool *pool;
    emma_sandbox *sandbox;
} lease;

static void *give_back(void *arg)
{
    lease *given = arg;
    usleep(NAP_US);
    CHECK_EQ(emma_sandbox_pool_release(given->pool, given->sandbox), EMMA_SANDBOX_DONE);
    return NULL;
}

static void check_waits(void)
{
    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    options.sandboxes_max = 1;
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, NULL);
    CHECK(pool != NULL);
    lease first = { .pool = pool };
    emma_sandbox *second = (emma_sandbox *)&first;
    CHECK_EQ(emma_sandbox_pool_acquire_within(pool, 0, &first.sandbox), EMMA_SANDBOX_DONE);
    CHECK_EQ(emma_sandbox_pool_acquire_within(pool, 0, &second), EMMA_SANDBOX_BUSY);
    CHECK(second == NULL);
    const int64_t before = now_us();
    CHECK_EQ(emma_sandbox_pool_acquire_within(pool, NAP_US, &second), EMMA_SANDBOX_BUSY);
    CHECK_GE(now_us() - before, NAP_US);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, give_back, &first), 0);
    CHECK_EQ(emma_sandbox_pool_acquire_within(pool, UINT64_MAX, &second), EMMA_SANDBOX_DONE);
    CHECK(second != NULL);
    pthread_join(thread, NULL);
    emma_sandbox_pool_stats stats = { .struct_bytes = sizeof stats };
    emma_sandbox_pool_get_stats(pool, &stats);
    CHECK_EQ(stats.acquired_count, 2);
    CHECK_EQ(stats.waited_count, 1);
    CHECK_EQ(emma_sandbox_pool_release(pool, second), EMMA_SANDBOX_DONE);
    emma_sandbox_pool_destroy(pool);
}

/* The first one succeeds, those that the pool's thread prepares take their time and fail. */
static enum emma_sandbox_status prepare(void *arg, emma_sandbox *sandbox)
{
    (void)sandbox;
    if (++*(int *)arg == 1)
        return EMMA_SANDBOX_DONE;
    usleep(NAP_US);
    return EMMA_SANDBOX_ERROR;
}

static void check_ends(void)
{
    int count = 0;
    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    options.ahead = 2;
    options.prepare = prepare;
    options.prepare_arg = &count;
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, NULL);
    CHECK(pool != NULL);
    usleep(NAP_US / 5);
    emma_sandbox_pool_destroy(pool); /* while it prepares */
    CHECK_EQ(count, 2);
}

/* A pool that its own thread destroys, from inside of a preparation. */
typedef struct own_end {
    _Atomic(emma_sandbox_pool *) pool;
    atomic_int prepared;
    atomic_bool was_gone_inside;
    atomic_bool is_gone;
} own_end;

static void note_gone(void *arg)
{
    own_end *end = arg;
    atomic_store(&end->is_gone, true);
}

static enum emma_sandbox_status destroy_inside(void *arg, emma_sandbox *sandbox)
{
    own_end *end = arg;
    (void)sandbox;
    if (atomic_fetch_add(&end->prepared, 1) == 0)
        return EMMA_SANDBOX_DONE;
    emma_sandbox_pool *pool;
    while (!(pool = atomic_load(&end->pool)))
        usleep(NAP_US / 50);
    CHECK(emma_sandbox_pool_is_inside(pool));
    emma_sandbox_pool_destroy_then(pool, note_gone, end);
    atomic_store(&end->was_gone_inside, atomic_load(&end->is_gone));
    return EMMA_SANDBOX_DONE;
}

static void check_ends_inside(void)
{
    own_end end;
    memset(&end, 0, sizeof end);
    emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
    options.ahead = 3;
    options.prepare = destroy_inside;
    options.prepare_arg = &end;
    emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, NULL);
    CHECK(pool != NULL);
    CHECK(!emma_sandbox_pool_is_inside(pool));
    atomic_store(&end.pool, pool);
    while (!atomic_load(&end.is_gone))
        usleep(NAP_US / 50);
    CHECK(!atomic_load(&end.was_gone_inside));
    CHECK_EQ(atomic_load(&end.prepared), 2);
}

int main(void)
{
    check_waits();
    check_ends();
    check_ends_inside();
    return 0;
}
