/* emma_sandbox_checkpoint.c - a sandbox is checkpointed and rolled back: emma's checkpoints,
 * with Lua's collector brought to rest before, limits counted anew, and resources released. */
#include "emma_sandbox_internal.h"

#include <limits.h>
#include <stdlib.h>

#define LIMIT_PER_REST 16

/* For how much the collector rests after a checkpoint: a part of the limit only, as some of
 * Lua's functions (those with buffers) give up where memory is refused instead of collecting
 * first. */
static size_t checkpoint_rest_bytes(const emma_sandbox *sandbox)
{
    const size_t part = sandbox->options.limit_bytes / LIMIT_PER_REST;
    return part < sandbox->options.collect_after_bytes ? part
                                                       : sandbox->options.collect_after_bytes;
}

/* Leaves no garbage, and a collector that has nothing to do for a while: a cycle writes to most
 * pages. A negative step is the only way to tell Lua how long that is, in KiB. */
static int checkpoint_collect(lua_State *state)
{
    const emma_sandbox *sandbox = lua_touserdata(state, 1);
    if (!(sandbox->options.flags & EMMA_SANDBOX_INCREMENTAL))
        lua_gc(state, LUA_GCGEN, 0, 0);
    lua_gc(state, LUA_GCCOLLECT);
    lua_gc(state, LUA_GCCOLLECT); /* what finalizers left */
    const size_t rest_kib = checkpoint_rest_bytes(sandbox) / 1024;
    if (rest_kib)
        lua_gc(state, LUA_GCSTEP, -(int)(rest_kib < INT_MAX ? rest_kib : INT_MAX));
    return 0;
}

static size_t checkpoint_lua_bytes(const emma_sandbox *sandbox)
{
    return (size_t)lua_gc(sandbox->state, LUA_GCCOUNT) * 1024 +
           (size_t)lua_gc(sandbox->state, LUA_GCCOUNTB);
}

/* Collects for the next checkpoint, and notes in *mark what is left. Where there is one already
 * and little was allocated since, it does not: a collection writes to every page, and each
 * rollback would look at all of them. */
static enum emma_sandbox_status checkpoint_collect_for(emma_sandbox *sandbox, emmai_mark *mark)
{
    if (sandbox->mark_count) {
        *mark = sandbox->marks[sandbox->mark_count - 1];
        const size_t bytes = checkpoint_lua_bytes(sandbox);
        if (bytes < mark->collected_bytes ||
            bytes - mark->collected_bytes < checkpoint_rest_bytes(sandbox))
            return EMMA_SANDBOX_DONE;
    }
    /* Only finalizers are the script's to be stopped. */
    const bool has_finalizers = sandbox->options.flags & EMMA_SANDBOX_FINALIZERS;
    const emmai_window window = { 0, has_finalizers ? sandbox->options.deadline_us : 0, true };
    const enum emma_sandbox_status status =
        emmai_sandbox_protect(sandbox, checkpoint_collect, sandbox, &window);
    if (status == EMMA_SANDBOX_DONE)
        mark->collected_bytes = checkpoint_lua_bytes(sandbox);
    return status;
}

static bool checkpoint_make_mark_room(emma_sandbox *sandbox)
{
    emmai_mark *marks = realloc(sandbox->marks, (sandbox->mark_count + 1) * sizeof *marks);
    if (marks)
        sandbox->marks = marks;
    return marks != NULL;
}

/* The image does not count as the script's: without a limit while it is made. */
static enum emma_status checkpoint_push(emma_sandbox *sandbox, unsigned *level)
{
    const bool all = sandbox->options.flags & EMMA_SANDBOX_LIMIT_ALL;
    if (!all)
        emma_set_limit(sandbox->instance, EMMA_UNLIMITED);
    const enum emma_status status = emma_checkpoint(sandbox->instance, level);
    if (all)
        return status;
    if (status == EMMA_OK)
        emmai_sandbox_count_limits(sandbox);
    else
        emmai_sandbox_set_limits(sandbox);
    return status;
}

enum emma_sandbox_status emma_sandbox_checkpoint(emma_sandbox *sandbox, unsigned *level)
{
    const enum emma_sandbox_status begins = emmai_sandbox_begin(sandbox);
    if (begins != EMMA_SANDBOX_DONE)
        return begins;
    if (!(sandbox->options.flags & EMMA_SANDBOX_CHECKPOINTS))
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_UNSUPPORTED,
                                    "made without EMMA_SANDBOX_CHECKPOINTS");
    if (!checkpoint_make_mark_room(sandbox))
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_MEMORY, "the host has no memory");
    emmai_mark mark;
    const enum emma_sandbox_status collected = checkpoint_collect_for(sandbox, &mark);
    if (collected != EMMA_SANDBOX_DONE)
        return collected;
    const enum emma_status status = checkpoint_push(sandbox, level);
    if (status != EMMA_OK)
        return emmai_sandbox_refuse(sandbox, emmai_sandbox_status(status),
                                    "the checkpoint was refused: no memory, or no file descriptor");
    mark.level = *level;
    mark.base_bytes = sandbox->base_bytes;
    sandbox->marks[sandbox->mark_count++] = mark;
    return EMMA_SANDBOX_DONE;
}

/* How many checkpoints there are up to `level`; 0: it is none. */
static size_t checkpoint_levels_to(const emma_sandbox *sandbox, unsigned level)
{
    size_t count = sandbox->mark_count;
    while (count && sandbox->marks[count - 1].level != level)
        count--;
    return count;
}

/* Whether something can be done with a checkpoint; *count is how many there are up to it. */
static enum emma_sandbox_status checkpoint_find(emma_sandbox *sandbox, unsigned level,
                                                size_t *count)
{
    if (sandbox->running)
        return EMMA_SANDBOX_BUSY;
    emmai_sandbox_clear(sandbox);
    *count = checkpoint_levels_to(sandbox, level);
    if (*count)
        return EMMA_SANDBOX_DONE;
    return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "level: there is no checkpoint %u",
                                level);
}

enum emma_sandbox_status emma_sandbox_rollback(emma_sandbox *sandbox, unsigned level)
{
    size_t count;
    const enum emma_sandbox_status found = checkpoint_find(sandbox, level, &count);
    if (found != EMMA_SANDBOX_DONE)
        return found;
    const enum emma_status status = emma_rollback(sandbox->instance, level);
    if (status != EMMA_OK)
        return emmai_sandbox_refuse(sandbox, emmai_sandbox_status(status),
                                    "the rollback was refused");
    sandbox->mark_count = count;
    sandbox->base_bytes = sandbox->marks[count - 1].base_bytes;
    emmai_sandbox_set_limits(sandbox);
    emmai_resource_release(sandbox, level);
    sandbox->broken = false;
    atomic_store(&sandbox->stop, EMMA_SANDBOX_DONE);
    sandbox->rollback_count++;
    return EMMA_SANDBOX_DONE;
}

enum emma_sandbox_status emma_sandbox_drop(emma_sandbox *sandbox, unsigned level)
{
    size_t count;
    const enum emma_sandbox_status found = checkpoint_find(sandbox, level, &count);
    if (found != EMMA_SANDBOX_DONE)
        return found;
    const enum emma_status status = emma_checkpoint_drop(sandbox->instance, level);
    if (status != EMMA_OK)
        return emmai_sandbox_refuse(sandbox, emmai_sandbox_status(status), "the drop was refused");
    sandbox->mark_count = count - 1;
    return EMMA_SANDBOX_DONE;
}
