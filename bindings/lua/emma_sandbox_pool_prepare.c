/* emma_sandbox_pool_prepare.c - how a pool's sandboxes come to be: on
 * demand, and ahead by a thread. */
#include "emma_sandbox_internal.h"

#include <stdio.h>
#include <string.h>

static enum emma_sandbox_status pool_run_prelude(emma_sandbox_pool *pool, emma_sandbox *sandbox)
{
    const emma_sandbox_pool_options *options = &pool->options;
    if (options->prepare) {
        pthread_mutex_lock(&pool->preparing);
        const enum emma_sandbox_status status = options->prepare(options->prepare_arg, sandbox);
        pthread_mutex_unlock(&pool->preparing);
        if (status != EMMA_SANDBOX_DONE)
            return status;
    }
    if (!options->prelude)
        return EMMA_SANDBOX_DONE;
    if (!(options->sandbox.flags & EMMA_SANDBOX_LIMIT_ALL))
        emma_sandbox_set_limit(sandbox, EMMA_UNLIMITED);
    emma_sandbox_set_budget(sandbox, 0, options->prelude_us);
    return emma_sandbox_run(sandbox, options->prelude_name, options->prelude,
                            options->prelude_bytes);
}

/* Why a preparation failed. A null character in an error would be its end: it becomes "\0". */
static void pool_describe(char *message, enum emma_sandbox_status status,
                          const emma_sandbox *sandbox)
{
    size_t bytes;
    const char *why = emma_sandbox_message_bytes(sandbox, &bytes);
    size_t used = (size_t)snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES, "%s: %s",
                                   emma_sandbox_status_text(status),
                                   bytes ? "" : "so the prepare function said");
    for (size_t i = 0; i < bytes && used < EMMA_SANDBOX_MESSAGE_BYTES - 2; i++) {
        if (!why[i])
            message[used++] = '\\';
        message[used++] = why[i] ? why[i] : '0';
    }
    message[used] = '\0';
}

/* Makes a sandbox and brings it to its checkpoint; `message` tells why it could not be. */
static enum emma_sandbox_status pool_make(emma_sandbox_pool *pool, emmai_pool_slot *slot,
                                          char *message)
{
    const emma_sandbox_options *options = &pool->options.sandbox;
    slot->sandbox = emma_sandbox_create(options);
    if (!slot->sandbox) {
        snprintf(message, EMMA_SANDBOX_MESSAGE_BYTES,
                 "memory: a limit or the kernel refused memory or address space for a sandbox");
        return EMMA_SANDBOX_MEMORY;
    }
    enum emma_sandbox_status status = pool_run_prelude(pool, slot->sandbox);
    slot->sandbox->options.limit_bytes = options->limit_bytes; /* from the checkpoint on */
    if (status == EMMA_SANDBOX_DONE)
        status = emma_sandbox_checkpoint(slot->sandbox, &slot->level);
    if (status == EMMA_SANDBOX_DONE)
        status =
            emma_sandbox_set_budget(slot->sandbox, options->instructions, options->deadline_us);
    if (status != EMMA_SANDBOX_DONE) {
        pool_describe(message, status, slot->sandbox);
        emma_sandbox_destroy(slot->sandbox);
        slot->sandbox = NULL;
    }
    return status;
}

static size_t pool_free_place(const emma_sandbox_pool *pool)
{
    size_t place = 0;
    while (pool->slots[place].sandbox || pool->slots[place].leased)
        place++;
    return place;
}

static enum emma_sandbox_status emmai_pool_prepare_one(emma_sandbox_pool *pool, size_t *place)
{
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    emmai_pool_slot *slot = &pool->slots[ *place = pool_free_place(pool)];
    slot->leased = true;
    pool->count++;
    pthread_mutex_unlock(&pool->lock);
    emmai_pool_slot made = { .leased = true };
    const enum emma_sandbox_status status = pool_make(pool, &made, message);
    emmai_pool_lock(pool);
    if (status == EMMA_SANDBOX_DONE) {
        *slot = made;
        made.sandbox->place = *place;
        pool->stats.prepared_count++;
        return status;
    }
    slot->leased = false;
    pool->count--;
    pool->stats.failed_count++;
    memcpy(pool->message, message, sizeof message);
    pthread_cond_broadcast(&pool->changed);
    return status;
}

static void emmai_pool_put_idle(emma_sandbox_pool *pool, size_t place)
{
    pool->slots[place].leased = false;
    pool->idle[pool->idle_count++] = place;
    if (pool->waiting)
        pthread_cond_broadcast(&pool->changed);
}

static _Thread_local const emma_sandbox_pool *emmai_pool_of_thread;

/* After a failure it waits until something changes: the next preparation on demand tells the
 * user. */
static void *emmai_pool_keep_ahead(void *arg)
{
    emma_sandbox_pool *pool = arg;
    emmai_pool_of_thread = pool;
    emmai_pool_lock(pool);
    while (!pool->ends) {
        size_t place;
        const bool is_due =
            pool->idle_count < pool->options.ahead && pool->count < pool->options.sandboxes_max;
        if (is_due && emmai_pool_prepare_one(pool, &place) == EMMA_SANDBOX_DONE)
            emmai_pool_put_idle(pool, place);
        else if (!pool->ends) /* the lock was free meanwhile */
            pthread_cond_wait(&pool->changed, &pool->lock);
    }
    const bool is_orphan = pool->is_orphan;
    pthread_mutex_unlock(&pool->lock);
    emmai_pool_of_thread = NULL;
    if (is_orphan)
        emmai_pool_free(pool);
    return NULL;
}
