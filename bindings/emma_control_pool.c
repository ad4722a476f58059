/* emma_control_pool.c - handles of pools. */

/* Nothing calls its functions any more. */
static void free_pool(void *arg)
{
    control_pool *handle = arg;
    for (size_t i = 0; i < handle->functions.count; i++)
        free(handle->names[i]);
    free(handle->names);
    drop_functions(&handle->functions);
    free(handle);
}

/* The last of its users frees it; a collector may be that, in the pool's own thread. */
static void leave_pool(control_pool *handle)
{
    if (atomic_fetch_sub(&handle->users, 1) == 1)
        emma_sandbox_pool_destroy_then(handle->pool, free_pool, handle);
}

/* Holds a function under a name, or, as print, under none. */
static const control_function *pool_hold(control_pool *handle, const char *name,
                                         const control_function *function)
{
    char *copy = name ? strdup(name) : NULL;
    char **names = realloc(handle->names, (handle->functions.count + 1) * sizeof *names);
    if (names)
        handle->names = names;
    const control_function *held =
        names && (copy || !name) ? add_function(&handle->functions, function) : NULL;
    if (held) {
        names[handle->functions.count - 1] = copy;
        return held;
    }
    free(copy);
    drop_function(function);
    fail_memory();
    return NULL;
}

control_pool *control_pool_new(const control_function *print)
{
    control_pool *handle = calloc(1, sizeof *handle);
    if (!handle) {
        fail_memory();
        drop_function(print);
        return NULL;
    }
    atomic_init(&handle->users, 1);
    if (print && print->callable)
        handle->printer = pool_hold(handle, NULL, print);
    if (!last_error->kind)
        return handle;
    control_pool_free(handle);
    return NULL;
}

/* One user more: it is not closed meanwhile. */
static bool join_pool(control_pool *handle)
{
    size_t users = atomic_load(&handle->users);
    while (users && !atomic_compare_exchange_weak(&handle->users, &users, users + 1))
        continue;
    if (users && handle->pool)
        return true;
    if (users)
        leave_pool(handle);
    control_fail(CONTROL_CLOSED, "this pool is closed");
    return false;
}

void control_pool_provide(control_pool *handle, const char *name, const control_function *function)
{
    if (handle->pool) {
        control_fail(EMMA_SANDBOX_INVALID, "%s: this pool is open already", name);
        drop_function(function);
        return;
    }
    pool_hold(handle, name, function);
}

/* Registers what the pool's sandboxes have. */
static enum emma_sandbox_status prepare_sandbox(void *arg, emma_sandbox *sandbox)
{
    const control_pool *handle = arg;
    enum emma_sandbox_status status = EMMA_SANDBOX_DONE;
    for (size_t i = 0; i < handle->functions.count && status == EMMA_SANDBOX_DONE; i++) {
        const control_function *function = handle->functions.items[i];
        if (handle->names[i])
            status =
                emma_sandbox_provide(sandbox, handle->names[i], function->call, function->callable);
    }
    return status;
}

/* What a pool says begins with a status; without one, an option is wrong. */
static void fail_as_told(const char *message)
{
    for (unsigned kind = EMMA_SANDBOX_ERROR; kind <= EMMA_SANDBOX_UNSUPPORTED; kind++) {
        const char *status = emma_sandbox_status_text((enum emma_sandbox_status)kind);
        const size_t bytes = strlen(status);
        if (strncmp(message, status, bytes) == 0 && strncmp(message + bytes, ": ", 2) == 0) {
            control_fail(kind, "%s", message + bytes + 2);
            return;
        }
    }
    control_fail(EMMA_SANDBOX_INVALID, "%s", message);
}

/* Until it leaves, nobody else opens it, nor closes it, which a function that the first preparation
 * calls could do. */
static bool join_to_open(control_pool *handle)
{
    size_t users = 1;
    if (handle->pool)
        control_fail(EMMA_SANDBOX_INVALID, "this pool is open already");
    else if (!atomic_compare_exchange_strong(&handle->users, &users, 2))
        control_fail(EMMA_SANDBOX_BUSY, "this pool is being opened or closed");
    else
        return true;
    return false;
}

void control_pool_open(control_pool *handle, const emma_sandbox_pool_options *options,
                       const char *name, const char *prelude, size_t bytes,
                       const char *prelude_name)
{
    emma_sandbox_pool_options given = *options;
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    if (!options_are_valid(&options->sandbox) || !join_to_open(handle))
        return;
    given.sandbox.name = name;
    given.prelude = prelude;
    given.prelude_bytes = bytes;
    given.prelude_name = prelude_name;
    set_print(&given.sandbox, handle->printer);
    given.prepare = prepare_sandbox;
    given.prepare_arg = handle;
    handle->value_depth = given.sandbox.value_depth;
    handle->limit_bytes = given.sandbox.limit_bytes;
    handle->pool = emma_sandbox_pool_create(&given, message);
    if (!handle->pool)
        fail_as_told(message);
    leave_pool(handle);
}

bool control_pool_is_closed(const control_pool *handle)
{
    return !handle->pool;
}

void control_pool_close(control_pool *handle)
{
    size_t users = 1;
    if (emma_sandbox_pool_is_inside(handle->pool)) {
        control_fail(EMMA_SANDBOX_BUSY,
                     "this pool is in use: by the preparation that this call is inside of");
        return;
    }
    if (!atomic_compare_exchange_strong(&handle->users, &users, 0)) {
        if (users)
            control_fail(EMMA_SANDBOX_BUSY,
                         "this pool is in use: %zu sandboxes are leased, or about to be",
                         users - 1);
        else
            control_fail(EMMA_SANDBOX_BUSY, "this pool is being closed");
        return;
    }
    emma_sandbox_pool_destroy(handle->pool);
    handle->pool = NULL;
    atomic_store(&handle->users, 1);
}

void control_pool_free(control_pool *handle)
{
    leave_pool(handle);
}

/* What the pool says of a preparation that failed. */
static void note_preparation(control_pool *handle, enum emma_sandbox_status status)
{
    char message[EMMA_SANDBOX_MESSAGE_BYTES];
    emma_sandbox_pool_message(handle->pool, message);
    if (*message)
        fail_as_told(message);
    else
        control_fail(status, "%s", emma_sandbox_status_text(status));
}

control_sandbox *control_pool_acquire(control_pool *handle, uint64_t most_us)
{
    if (!join_pool(handle))
        return NULL;
    emma_sandbox *sandbox = NULL;
    control_sandbox *lease = make_handle(handle->value_depth, handle->limit_bytes);
    const enum emma_sandbox_status status =
        lease ? emma_sandbox_pool_acquire_within(handle->pool, most_us, &sandbox)
              : EMMA_SANDBOX_MEMORY;
    if (status == EMMA_SANDBOX_DONE) {
        lease->sandbox = sandbox;
        lease->pool = handle; /* which it leaves when it is closed */
        return lease;
    }
    if (!lease)
        fail_memory();
    else if (status != EMMA_SANDBOX_BUSY)
        note_preparation(handle, status);
    if (lease)
        free_handle(lease);
    leave_pool(handle);
    return NULL;
}

void control_pool_prepare(control_pool *handle, size_t count)
{
    if (!join_pool(handle))
        return;
    const enum emma_sandbox_status status = emma_sandbox_pool_prepare(handle->pool, count);
    if (status != EMMA_SANDBOX_DONE)
        note_preparation(handle, status);
    leave_pool(handle);
}

emma_sandbox_pool_stats control_pool_stats(control_pool *handle)
{
    emma_sandbox_pool_stats stats = { .struct_bytes = sizeof stats };
    if (!join_pool(handle))
        return stats;
    emma_sandbox_pool_get_stats(handle->pool, &stats);
    leave_pool(handle);
    return stats;
}
