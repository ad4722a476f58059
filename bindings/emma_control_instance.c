/* emma_control_instance.c - handles of instances. */

/* A crime is prevented before; this one could be an error of emma's own. */
static void note_misuse(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                        const char *message)
{
    (void)arg, (void)instance, (void)crime, (void)address;
    control_fail(EMMA_SANDBOX_INVALID, "%s", message);
}

void control_export(void)
{
    const int error = emma_export_start();
    if (error)
        control_fail(CONTROL_REFUSED, "they cannot be shown: %s", strerror(error));
}

control_instance *control_instance_new(const emma_options *options, const char *name)
{
    emma_options given = *options;
    given.name = name;
    given.misuse_handler = note_misuse;
    const enum emma_status status = emma_options_check(&given);
    if (status != EMMA_OK) {
        note_status(status, "options");
        return NULL;
    }
    control_instance *handle = calloc(1, sizeof *handle);
    if (handle)
        handle->instance = emma_create(&given);
    if (!handle || !handle->instance) {
        free(handle);
        fail_memory();
        return NULL;
    }
    emma_export_add(handle->instance, name ? name : "unnamed", "instance", 0);
    return handle;
}

static void end_instance(control_instance *handle)
{
    emma_export_remove(handle->instance);
    emma_destroy(handle->instance);
    handle->instance = NULL;
}

static bool use_instance(control_instance *handle)
{
    if (!take(&handle->busy, "instance"))
        return false;
    if (handle->instance)
        return true;
    give_back(&handle->busy);
    control_fail(CONTROL_CLOSED, "this instance is closed");
    return false;
}

void control_instance_close(control_instance *handle)
{
    if (!take(&handle->busy, "instance"))
        return;
    end_instance(handle);
    give_back(&handle->busy);
}

void control_instance_free(control_instance *handle)
{
    end_instance(handle);
    free(handle);
}

size_t control_instance_malloc(control_instance *handle, size_t bytes)
{
    if (!use_instance(handle))
        return 0;
    void *block = emma_malloc(handle->instance, bytes);
    if (!block)
        control_fail(CONTROL_REFUSED, "the limit or the system refuses %zu bytes", bytes);
    give_back(&handle->busy);
    return (size_t)(uintptr_t)block;
}

typedef struct block_search {
    const void *block;
    size_t bytes;
    bool found;
} block_search;

static bool search_block(void *arg, void *block, size_t bytes)
{
    block_search *search = arg;
    search->found = block == search->block;
    search->bytes = bytes;
    return !search->found;
}

static bool find_block(control_instance *handle, block_search *search)
{
    emma_walk(handle->instance, search_block, search);
    if (!search->found)
        control_fail(EMMA_SANDBOX_INVALID, "address: no block begins at %p", search->block);
    return search->found;
}

void control_instance_release(control_instance *handle, size_t address)
{
    block_search search = { .block = (const void *)(uintptr_t)address };
    if (!use_instance(handle))
        return;
    if (find_block(handle, &search))
        emma_free(handle->instance, (void *)(uintptr_t)address);
    give_back(&handle->busy);
}

size_t control_instance_usable_size(control_instance *handle, size_t address)
{
    block_search search = { .block = (const void *)(uintptr_t)address };
    if (!use_instance(handle))
        return 0;
    find_block(handle, &search);
    give_back(&handle->busy);
    return search.bytes;
}

bool control_instance_owns(control_instance *handle, size_t address)
{
    if (!use_instance(handle))
        return false;
    const bool owns = emma_owns(handle->instance, (const void *)(uintptr_t)address);
    give_back(&handle->busy);
    return owns;
}

size_t control_instance_trim(control_instance *handle)
{
    if (!use_instance(handle))
        return 0;
    const size_t bytes = emma_trim(handle->instance);
    give_back(&handle->busy);
    return bytes;
}

void control_instance_reset(control_instance *handle)
{
    if (!use_instance(handle))
        return;
    note_status(emma_reset(handle->instance), "reset");
    give_back(&handle->busy);
}

void control_instance_check(control_instance *handle)
{
    if (!use_instance(handle))
        return;
    note_status(emma_check(handle->instance), "check");
    give_back(&handle->busy);
}

void control_instance_set_limit(control_instance *handle, size_t limit_bytes)
{
    if (!use_instance(handle))
        return;
    note_status(emma_set_limit(handle->instance, limit_bytes), "limit_bytes");
    give_back(&handle->busy);
}

void control_instance_set_soft_limit(control_instance *handle, size_t soft_limit_bytes)
{
    if (!use_instance(handle))
        return;
    note_status(emma_set_soft_limit(handle->instance, soft_limit_bytes), "soft_limit_bytes");
    give_back(&handle->busy);
}

void control_instance_use_spare(control_instance *handle, bool use)
{
    if (!use_instance(handle))
        return;
    note_status(emma_use_spare(handle->instance, use), "spare");
    give_back(&handle->busy);
}

emma_stats control_instance_stats(control_instance *handle)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    if (!use_instance(handle))
        return stats;
    emma_get_stats(handle->instance, &stats);
    give_back(&handle->busy);
    return stats;
}

static emma_class_stats class_of(const emma *instance, unsigned index)
{
    emma_class_stats stats = { .struct_bytes = sizeof stats };
    emma_get_class_stats(instance, index, &stats);
    return stats;
}

emma_class_stats control_instance_class_stats(control_instance *handle, unsigned index)
{
    if (!use_instance(handle))
        return (emma_class_stats){ 0 };
    const emma_class_stats stats = class_of(handle->instance, index);
    give_back(&handle->busy);
    return stats;
}

bool control_instance_walk(control_instance *handle, emma_walk_fn visit, void *arg)
{
    if (!use_instance(handle))
        return false;
    const bool whole = emma_walk(handle->instance, visit, arg);
    give_back(&handle->busy);
    return whole;
}

unsigned control_instance_checkpoint(control_instance *handle)
{
    unsigned level = 0;
    if (!use_instance(handle))
        return 0;
    note_status(emma_checkpoint(handle->instance, &level), "checkpoint");
    give_back(&handle->busy);
    return level;
}

void control_instance_rollback(control_instance *handle, unsigned level)
{
    if (!use_instance(handle))
        return;
    note_status(emma_rollback(handle->instance, level), "level");
    give_back(&handle->busy);
}

void control_instance_drop(control_instance *handle, unsigned level)
{
    if (!use_instance(handle))
        return;
    note_status(emma_checkpoint_drop(handle->instance, level), "level");
    give_back(&handle->busy);
}
