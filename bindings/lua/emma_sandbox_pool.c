/* emma_sandbox_pool.c - sandboxes that stand ready: the pool itself, and leases. Idle ones are a
 * stack: the last one that came back, whose pages are in the caches, goes out first. */
#include "emma_sandbox_internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *pool_options_wrong(const emma_sandbox_pool_options *options)
{
    const char *why = NULL;
    if (options->struct_bytes != sizeof *options)
        return "struct_bytes: not that of this version's emma_sandbox_pool_options";
    if (options->sandboxes_max == 0 || options->sandboxes_max > INT32_MAX)
        return "sandboxes_max: out of its range";
    if (options->ahead > options->sandboxes_max)
        return "ahead: more than sandboxes_max";
    if (!options->prelude && options->prelude_bytes)
        return "prelude: NULL";
    if (options->prelude_bytes > PTRDIFF_MAX)
        return "prelude_bytes: too large";
    if (!(options->sandbox.flags & EMMA_SANDBOX_CHECKPOINTS))
        return "sandbox.flags: EMMA_SANDBOX_CHECKPOINTS is needed";
    if (emma_sandbox_options_check(&options->sandbox, &why) != EMMA_SANDBOX_DONE)
        return why;
    if (options->prelude_us && !emmai_stop_can_escape())
        return "prelude_us: this program cannot be stopped by a signal";
    return NULL;
}

/* Copies what the options point to; false: no memory. */
static bool pool_copy_texts(emma_sandbox_pool *pool)
{
    emma_sandbox_pool_options *options = &pool->options;
    const char *name = options->sandbox.name ? options->sandbox.name : "sandbox";
    const char *prelude_name = options->prelude_name ? options->prelude_name : "prelude";
    if (options->prelude && !options->prelude_bytes)
        options->prelude_bytes = strlen(options->prelude);
    char *prelude = options->prelude ? malloc(options->prelude_bytes + 1) : NULL;
    if (prelude)
        memcpy(prelude, options->prelude, options->prelude_bytes);
    const bool wanted = options->prelude != NULL;
    options->prelude = prelude;
    options->sandbox.name = strdup(name);
    options->prelude_name = strdup(prelude_name);
    return options->sandbox.name && options->prelude_name && (!wanted || prelude);
}

static void emmai_pool_free(emma_sandbox_pool *pool)
{
    const emma_sandbox_gone_fn gone = pool->gone;
    void *arg = pool->gone_arg;
    while (pool->idle_count)
        emma_sandbox_destroy(pool->slots[pool->idle[--pool->idle_count]].sandbox);
    free((void *)(uintptr_t)pool->options.prelude);
    free((void *)(uintptr_t)pool->options.prelude_name);
    free((void *)(uintptr_t)pool->options.sandbox.name);
    free(pool->slots);
    free(pool->idle);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->preparing);
    pthread_cond_destroy(&pool->changed);
    free(pool);
    if (gone)
        gone(arg);
}

/* A condition that wakes by the monotonic clock. */
static void pool_make_locks(emma_sandbox_pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pthread_mutex_init(&pool->preparing, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->changed, &clock);
    pthread_condattr_destroy(&clock);
}

/* What `renewed` says of this process: there is one of both for each, in the order of forks. */
#define RENEWED(generation)  (2 * (generation))
#define RENEWING(generation) (2 * (generation) + 1)

/* In the child of a fork the first use makes the locks anew: to the old ones, threads wait that are
 * not there. */
static void pool_renew(emma_sandbox_pool *pool)
{
    const unsigned generation = emmai_stop_generation();
    unsigned seen = atomic_load(&pool->renewed);
    while (seen != RENEWED(generation)) {
        if (seen == RENEWING(generation)) { /* by another thread */
            sched_yield();
            seen = atomic_load(&pool->renewed);
        } else if (atomic_compare_exchange_strong(&pool->renewed, &seen, RENEWING(generation))) {
            pool_make_locks(pool);
            pool->waiting = 0;
            pool->has_thread = false;
            seen = RENEWED(generation);
            atomic_store(&pool->renewed, seen);
        }
    }
}

static void emmai_pool_lock(emma_sandbox_pool *pool)
{
    pool_renew(pool);
    pthread_mutex_lock(&pool->lock);
}

static bool pool_start(emma_sandbox_pool *pool, char *message)
{
    if (!pool_copy_texts(pool) || !pool->slots || !pool->idle) {
        snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES, "the host has no memory");
        return false;
    }
    emmai_pool_lock(pool);
    size_t place;
    const enum emma_sandbox_status status = emmai_pool_prepare_one(pool, &place);
    if (status == EMMA_SANDBOX_DONE)
        emmai_pool_put_idle(pool, place);
    pthread_mutex_unlock(&pool->lock);
    if (status != EMMA_SANDBOX_DONE) {
        emma_sandbox_pool_message(pool, message);
        return false;
    }
    if (pool->options.ahead)
        pool->has_thread = pthread_create(&pool->thread, NULL, emmai_pool_keep_ahead, pool) == 0;
    if (pool->has_thread || !pool->options.ahead)
        return true;
    snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES, "no thread to prepare sandboxes ahead");
    return false;
}

emma_sandbox_pool *emma_sandbox_pool_create(const emma_sandbox_pool_options *options,
                                            char message[EMMA_SANDBOX_MESSAGE_BYTES])
{
    char ignored[EMMA_SANDBOX_MESSAGE_BYTES];
    message = message ? message : ignored;
    const char *wrong = options ? pool_options_wrong(options) : "options: NULL";
    emma_sandbox_pool *pool = wrong ? NULL : calloc(1, sizeof *pool);
    if (!pool) {
        snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES, "%s",
                 wrong ? wrong : "the host has no memory");
        return NULL;
    }
    pool->options = *options;
    atomic_init(&pool->renewed, RENEWED(emmai_stop_generation()));
    pool_make_locks(pool);
    pool->slots = calloc(options->sandboxes_max, sizeof pool->slots[0]);
    pool->idle = calloc(options->sandboxes_max, sizeof pool->idle[0]);
    if (pool_start(pool, message))
        return pool;
    emma_sandbox_pool_destroy(pool);
    return NULL;
}

void emma_sandbox_pool_destroy(emma_sandbox_pool *pool)
{
    emma_sandbox_pool_destroy_then(pool, NULL, NULL);
}

bool emma_sandbox_pool_is_inside(const emma_sandbox_pool *pool)
{
    return pool && emmai_pool_of_thread == pool;
}

void emma_sandbox_pool_destroy_then(emma_sandbox_pool *pool, emma_sandbox_gone_fn gone, void *arg)
{
    if (!pool) {
        if (gone)
            gone(arg);
        return;
    }
    emmai_pool_lock(pool);
    pool->gone = gone;
    pool->gone_arg = arg;
    pool->ends = true;
    pool->is_orphan = emma_sandbox_pool_is_inside(pool);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    if (pool->is_orphan) {
        pthread_detach(pthread_self());
        return;
    }
    if (pool->has_thread)
        pthread_join(pool->thread, NULL);
    emmai_pool_free(pool);
}

/* ---- Leases ---- */

/* Waits until there is an idle one or room for one more; with the lock held. */
static bool pool_has_room(const emma_sandbox_pool *pool)
{
    return pool->idle_count || pool->count < pool->options.sandboxes_max;
}

/* Waits until there is one, or room for one; false: the time is over. */
static bool pool_wait(emma_sandbox_pool *pool, uint64_t most_us)
{
    if (pool_has_room(pool))
        return true;
    const int64_t now_ns = emmai_stop_now_ns();
    const int64_t most_ns = most_us < (uint64_t)(INT64_MAX - now_ns) / EMMAI_NS_PER_US
                                ? (int64_t)most_us * EMMAI_NS_PER_US
                                : INT64_MAX - now_ns;
    const struct timespec until = { .tv_sec = (time_t)((now_ns + most_ns) / EMMAI_NS_PER_S),
                                    .tv_nsec = (long)((now_ns + most_ns) % EMMAI_NS_PER_S) };
    int error = 0;
    pool->stats.waited_count++;
    pool->waiting++;
    while (!pool_has_room(pool) && error == 0)
        error = pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
    pool->waiting--;
    const bool has_room = pool_has_room(pool);
    pool->stats.waited_count -= !has_room; /* it is of leases */
    return has_room;
}

enum emma_sandbox_status emma_sandbox_pool_acquire(emma_sandbox_pool *pool, emma_sandbox **sandbox)
{
    return emma_sandbox_pool_acquire_within(pool, UINT64_MAX, sandbox);
}

enum emma_sandbox_status emma_sandbox_pool_acquire_within(emma_sandbox_pool *pool, uint64_t most_us,
                                                          emma_sandbox **sandbox)
{
    enum emma_sandbox_status status = EMMA_SANDBOX_DONE;
    size_t place = 0;
    emmai_pool_lock(pool);
    if (!pool_wait(pool, most_us))
        status = EMMA_SANDBOX_BUSY;
    else if (pool->idle_count)
        pool->slots[place = pool->idle[--pool->idle_count]].leased = true;
    else {
        pool->stats.demanded_count++;
        status = emmai_pool_prepare_one(pool, &place);
    }
    const bool has_one = status == EMMA_SANDBOX_DONE;
    pool->stats.acquired_count += has_one;
    *sandbox = has_one ? pool->slots[place].sandbox : NULL;
    if (pool->has_thread && pool->idle_count < pool->options.ahead)
        pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    return status;
}

void emma_sandbox_pool_message(emma_sandbox_pool *pool, char message[EMMA_SANDBOX_MESSAGE_BYTES])
{
    emmai_pool_lock(pool);
    memcpy(message, pool->message, sizeof pool->message);
    pthread_mutex_unlock(&pool->lock);
}

/* What a lease changed of the budget and the limit ends with it; the rollback sets the limit. */
static void pool_restore_options(const emma_sandbox_pool *pool, emma_sandbox *sandbox)
{
    const emma_sandbox_options *given = &pool->options.sandbox;
    sandbox->options.instructions = given->instructions;
    sandbox->options.deadline_us = given->deadline_us;
    sandbox->options.limit_bytes = given->limit_bytes;
}

/* Whether it is leased, and if so from this pool; *level is where it goes back to. */
static bool pool_is_leased(emma_sandbox_pool *pool, const emma_sandbox *sandbox, unsigned *level)
{
    emmai_pool_lock(pool);
    bool leased = sandbox->place < pool->options.sandboxes_max;
    if (leased) {
        const emmai_pool_slot *slot = &pool->slots[sandbox->place];
        leased = slot->sandbox == sandbox && slot->leased;
        *level = slot->level;
    }
    pthread_mutex_unlock(&pool->lock);
    return leased;
}

enum emma_sandbox_status emma_sandbox_pool_release(emma_sandbox_pool *pool, emma_sandbox *sandbox)
{
    unsigned level;
    if (!sandbox || !pool_is_leased(pool, sandbox, &level))
        return EMMA_SANDBOX_INVALID;
    if (sandbox->running)
        return EMMA_SANDBOX_BUSY;
    const size_t place = sandbox->place;
    const int64_t start_ns = emmai_stop_now_ns();
    const bool was_broken = sandbox->broken;
    pool_restore_options(pool, sandbox);
    const bool usable = emma_sandbox_rollback(sandbox, level) == EMMA_SANDBOX_DONE;
    const int64_t spent_ns = emmai_stop_now_ns() - start_ns;
    if (usable)
        emmai_sandbox_forget(sandbox);
    else
        emma_sandbox_destroy(sandbox);
    emmai_pool_lock(pool);
    pool->rollback_ns += spent_ns;
    pool->stats.broken_count += was_broken && usable;
    if (usable)
        emmai_pool_put_idle(pool, place);
    else {
        pool->slots[place] = (emmai_pool_slot){ .sandbox = NULL };
        pool->count--;
        pool->stats.replaced_count++;
        pthread_cond_broadcast(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    return EMMA_SANDBOX_DONE;
}

enum emma_sandbox_status emma_sandbox_pool_prepare(emma_sandbox_pool *pool, size_t count)
{
    enum emma_sandbox_status status = EMMA_SANDBOX_DONE;
    emmai_pool_lock(pool);
    while (status == EMMA_SANDBOX_DONE && pool->idle_count < count &&
           pool->count < pool->options.sandboxes_max) {
        size_t place;
        status = emmai_pool_prepare_one(pool, &place);
        if (status == EMMA_SANDBOX_DONE)
            emmai_pool_put_idle(pool, place);
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

void emma_sandbox_pool_get_stats(emma_sandbox_pool *pool, emma_sandbox_pool_stats *out)
{
    emmai_pool_lock(pool);
    emma_sandbox_pool_stats stats = pool->stats;
    stats.sandboxes = pool->count;
    stats.idle = pool->idle_count;
    stats.microseconds = (uint64_t)(pool->rollback_ns / EMMAI_NS_PER_US);
    stats.sandboxes_max = pool->options.sandboxes_max;
    for (size_t i = 0; i < pool->idle_count; i++) {
        emma_sandbox_stats each = { .struct_bytes = sizeof each };
        emma_sandbox_get_stats(pool->slots[pool->idle[i]].sandbox, &each);
        stats.footprint_bytes += each.footprint_bytes;
    }
    pthread_mutex_unlock(&pool->lock);
    const size_t bytes = out->struct_bytes < sizeof stats ? out->struct_bytes : sizeof stats;
    if (bytes < sizeof stats.struct_bytes)
        return;
    stats.struct_bytes = bytes;
    memcpy(out, &stats, bytes);
}

void emma_sandbox_pool_visit(emma_sandbox_pool *pool, emma_sandbox_visit_fn visit, void *arg)
{
    for (size_t i = 0; i < pool->options.sandboxes_max; i++) {
        emmai_pool_lock(pool);
        if (pool->slots[i].sandbox && !pool->slots[i].leased)
            visit(arg, pool->slots[i].sandbox);
        pthread_mutex_unlock(&pool->lock);
    }
}
