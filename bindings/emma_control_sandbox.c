/* emma_control_sandbox.c - handles of sandboxes. */

/* Records what the kit says of a call. */
static bool note_sandbox(const emma_sandbox *sandbox, enum emma_sandbox_status status)
{
    if (status == EMMA_SANDBOX_DONE)
        return true;
    size_t bytes;
    const char *message = emma_sandbox_message_bytes(sandbox, &bytes);
    control_fail(status, "%s", emma_sandbox_status_text(status));
    if (bytes) {
        memcpy(last_error->message, message, bytes + 1);
        last_error->message_bytes = bytes;
    }
    snprintf(last_error->traceback, sizeof last_error->traceback, "%s",
             emma_sandbox_traceback(sandbox));
    return false;
}

static bool options_are_valid(const emma_sandbox_options *options)
{
    const char *why;
    const enum emma_sandbox_status status = emma_sandbox_options_check(options, &why);
    if (status != EMMA_SANDBOX_DONE)
        control_fail(status, "%s", why);
    return status == EMMA_SANDBOX_DONE;
}

/* In the child of a fork the first use makes the mutex anew: a thread that is not there may have
 * held it. While one does so, `process` is the negative number. */
static void renew_life(control_sandbox *handle)
{
    const pid_t process = getpid();
    pid_t seen = atomic_load(&handle->process);
    while (seen != process) {
        if (seen == -process) {
            sched_yield();
            seen = atomic_load(&handle->process);
        } else if (atomic_compare_exchange_strong(&handle->process, &seen, -process)) {
            pthread_mutex_init(&handle->life, NULL);
            seen = process;
            atomic_store(&handle->process, seen);
        }
    }
}

static void lock_life(control_sandbox *handle)
{
    renew_life(handle);
    pthread_mutex_lock(&handle->life);
}

static void unlock_life(control_sandbox *handle)
{
    pthread_mutex_unlock(&handle->life);
}

/* Nothing in it yet; NULL: no memory. */
static control_sandbox *make_handle(unsigned value_depth, size_t limit_bytes)
{
    control_sandbox *handle = calloc(1, sizeof *handle);
    if (!handle)
        return NULL;
    pthread_mutex_init(&handle->life, NULL);
    atomic_init(&handle->process, getpid());
    handle->value_depth = value_depth;
    atomic_init(&handle->limit_bytes, limit_bytes);
    return handle;
}

unsigned control_sandbox_depth(const control_sandbox *handle)
{
    return handle ? handle->value_depth : 0;
}

/* A pair takes three times what Lua has for an entry of a list. */
#define BOUND_TIMES      4
#define BOUND_MORE_BYTES ((size_t)1024 * 1024)

void control_sandbox_bound(control_sandbox *handle, control_arena *arena)
{
    const size_t limit_bytes = handle ? atomic_load(&handle->limit_bytes) : EMMA_UNLIMITED;
    if (limit_bytes < PTRDIFF_MAX / BOUND_TIMES)
        arena->most_bytes = limit_bytes * BOUND_TIMES + BOUND_MORE_BYTES;
}

static void free_handle(control_sandbox *handle)
{
    pthread_mutex_destroy(&handle->life);
    free(handle);
}

control_sandbox *control_sandbox_new(const emma_sandbox_options *options, const char *name,
                                     const control_function *print)
{
    emma_sandbox_options given = *options;
    given.name = name;
    control_sandbox *handle =
        options_are_valid(options) ? make_handle(options->value_depth, options->limit_bytes) : NULL;
    if (!handle) {
        if (!last_error->kind)
            fail_memory();
        drop_function(print);
        return NULL;
    }
    if (print && print->callable)
        set_print(&given, hold_function(&handle->functions, print));
    if (!last_error->kind)
        handle->sandbox = emma_sandbox_create(&given);
    if (handle->sandbox)
        return handle;
    if (!last_error->kind)
        control_fail(CONTROL_REFUSED,
                     "the limit or the system refuses memory or address space for a sandbox");
    control_sandbox_free(handle);
    return NULL;
}

static bool use_sandbox(control_sandbox *handle)
{
    if (!take(&handle->busy, "sandbox"))
        return false;
    if (handle->sandbox)
        return true;
    give_back(&handle->busy);
    control_fail(CONTROL_CLOSED, "this sandbox is closed");
    return false;
}

static void leave_pool(control_pool *handle);

/* Throws it away, or gives it back to its pool. */
static void end_sandbox(control_sandbox *handle)
{
    control_pool *pool = handle->pool;
    lock_life(handle);
    emma_sandbox *sandbox = handle->sandbox;
    handle->sandbox = NULL;
    unlock_life(handle);
    handle->pool = NULL;
    if (!pool) {
        emma_sandbox_destroy(sandbox);
    } else {
        note_sandbox(sandbox, emma_sandbox_pool_release(pool->pool, sandbox));
        leave_pool(pool);
    }
    drop_functions(&handle->functions);
}

void control_sandbox_close(control_sandbox *handle)
{
    if (!take(&handle->busy, "sandbox"))
        return;
    end_sandbox(handle);
    give_back(&handle->busy);
}

void control_sandbox_free(control_sandbox *handle)
{
    end_sandbox(handle);
    free_handle(handle);
}

bool control_sandbox_is_closed(control_sandbox *handle)
{
    lock_life(handle);
    const bool is_closed = !handle->sandbox;
    unlock_life(handle);
    return is_closed;
}

/* After a run or call: the results, with the handle taken; or the error, with it given back. */
static control_results results_of(control_sandbox *handle, enum emma_sandbox_status status)
{
    control_results results = { .sandbox = handle };
    if (note_sandbox(handle->sandbox, status)) {
        results.items = emma_sandbox_results(handle->sandbox, &results.count);
        return results;
    }
    give_back(&handle->busy);
    return (control_results){ 0 };
}

control_results control_sandbox_run(control_sandbox *handle, const char *text, size_t bytes,
                                    const char *name)
{
    if (!use_sandbox(handle))
        return (control_results){ 0 };
    return results_of(handle, emma_sandbox_run(handle->sandbox, name, text, bytes));
}

control_results control_sandbox_call(control_sandbox *handle, const char *function,
                                     const control_values *arguments)
{
    if (!use_sandbox(handle))
        return (control_results){ 0 };
    return results_of(
        handle, emma_sandbox_call(handle->sandbox, function, arguments->items, arguments->count));
}

void control_sandbox_done(control_sandbox *handle)
{
    give_back(&handle->busy);
}

void control_sandbox_set(control_sandbox *handle, const char *name, const control_values *value)
{
    if (!use_sandbox(handle))
        return;
    note_sandbox(handle->sandbox, emma_sandbox_set(handle->sandbox, name, value->items));
    give_back(&handle->busy);
}

void control_sandbox_provide(control_sandbox *handle, const char *name,
                             const control_function *function)
{
    if (!use_sandbox(handle)) {
        drop_function(function);
        return;
    }
    const size_t count = handle->functions.count;
    const control_function *held = hold_function(&handle->functions, function);
    if (held &&
        !note_sandbox(handle->sandbox,
                      emma_sandbox_provide(handle->sandbox, name, held->call, held->callable)) &&
        handle->functions.count > count)
        drop_last_function(&handle->functions);
    give_back(&handle->busy);
}

void control_sandbox_kill(control_sandbox *handle)
{
    lock_life(handle);
    if (handle->sandbox)
        emma_sandbox_kill(handle->sandbox);
    else
        control_fail(CONTROL_CLOSED, "this sandbox is closed");
    unlock_life(handle);
}

unsigned control_sandbox_checkpoint(control_sandbox *handle)
{
    unsigned level = 0;
    if (!use_sandbox(handle))
        return 0;
    note_sandbox(handle->sandbox, emma_sandbox_checkpoint(handle->sandbox, &level));
    give_back(&handle->busy);
    return level;
}

/* INVALID has no message of the kit's here. */
static void note_level(control_sandbox *handle, enum emma_sandbox_status status, unsigned level)
{
    if (status == EMMA_SANDBOX_INVALID)
        control_fail(status, "level: there is no checkpoint %u", level);
    else
        note_sandbox(handle->sandbox, status);
}

void control_sandbox_rollback(control_sandbox *handle, unsigned level)
{
    if (!use_sandbox(handle))
        return;
    note_level(handle, emma_sandbox_rollback(handle->sandbox, level), level);
    give_back(&handle->busy);
}

void control_sandbox_drop(control_sandbox *handle, unsigned level)
{
    if (!use_sandbox(handle))
        return;
    note_level(handle, emma_sandbox_drop(handle->sandbox, level), level);
    give_back(&handle->busy);
}

void control_sandbox_set_limit(control_sandbox *handle, size_t limit_bytes)
{
    if (!use_sandbox(handle))
        return;
    if (note_sandbox(handle->sandbox, emma_sandbox_set_limit(handle->sandbox, limit_bytes)))
        atomic_store(&handle->limit_bytes, limit_bytes);
    give_back(&handle->busy);
}

void control_sandbox_set_budget(control_sandbox *handle, uint64_t instructions,
                                uint64_t deadline_us)
{
    if (!use_sandbox(handle))
        return;
    note_sandbox(handle->sandbox,
                 emma_sandbox_set_budget(handle->sandbox, instructions, deadline_us));
    give_back(&handle->busy);
}

emma_sandbox_stats control_sandbox_stats(control_sandbox *handle)
{
    emma_sandbox_stats stats = { .struct_bytes = sizeof stats };
    if (!use_sandbox(handle))
        return stats;
    emma_sandbox_get_stats(handle->sandbox, &stats);
    give_back(&handle->busy);
    return stats;
}

emma_sandbox_type_bytes control_sandbox_types(control_sandbox *handle)
{
    emma_sandbox_type_bytes types = { 0 };
    if (!use_sandbox(handle))
        return types;
    note_sandbox(handle->sandbox, emma_sandbox_get_type_bytes(handle->sandbox, &types));
    give_back(&handle->busy);
    return types;
}

emma_stats control_sandbox_memory(control_sandbox *handle)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    if (!use_sandbox(handle))
        return stats;
    emma_get_stats(emma_sandbox_instance(handle->sandbox), &stats);
    give_back(&handle->busy);
    return stats;
}

emma_class_stats control_sandbox_class_stats(control_sandbox *handle, unsigned index)
{
    if (!use_sandbox(handle))
        return (emma_class_stats){ 0 };
    const emma_class_stats stats = class_of(emma_sandbox_instance(handle->sandbox), index);
    give_back(&handle->busy);
    return stats;
}

bool control_sandbox_walk(control_sandbox *handle, emma_walk_fn visit, void *arg)
{
    if (!use_sandbox(handle))
        return false;
    const bool whole = emma_walk(emma_sandbox_instance(handle->sandbox), visit, arg);
    give_back(&handle->busy);
    return whole;
}

void control_sandbox_check(control_sandbox *handle)
{
    if (!use_sandbox(handle))
        return;
    note_status(emma_check(emma_sandbox_instance(handle->sandbox)), "check");
    give_back(&handle->busy);
}

size_t control_sandbox_trim(control_sandbox *handle)
{
    if (!use_sandbox(handle))
        return 0;
    const size_t bytes = emma_trim(emma_sandbox_instance(handle->sandbox));
    give_back(&handle->busy);
    return bytes;
}
