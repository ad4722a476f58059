/* emma_sandbox_life.c - a sandbox made and thrown away, its limits, its checkpoints, its
 * figures. */
#include "emma_sandbox_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options ---- */

#define LIBRARIES_ALL                                                                            \
    (EMMA_SANDBOX_LIBRARIES_DEFAULT | EMMA_SANDBOX_IO | EMMA_SANDBOX_OS | EMMA_SANDBOX_PACKAGE | \
     EMMA_SANDBOX_DEBUG)
#define FLAGS_ALL                                                                 \
    (EMMA_SANDBOX_CHECKPOINTS | EMMA_SANDBOX_BYTECODE | EMMA_SANDBOX_FINALIZERS | \
     EMMA_SANDBOX_CATCH_MEMORY | EMMA_SANDBOX_LIMIT_ALL | EMMA_SANDBOX_INCREMENTAL)

/* Whether a state fits at all; a smaller LIMIT_ALL is refused by the start itself. */
#define LIMIT_LEAST_BYTES EMMA_LIMIT_MIN_BYTES

/* Address space beside the limit for the start, and for a prelude that takes more than scripts
 * may. */
#define RESERVE_BESIDE_BYTES ((size_t)32 * 1024 * 1024)

/* Of the instance, without handlers. */
static emma_options sandbox_instance_options(const emma_sandbox_options *given)
{
    emma_options options = EMMA_LUA_OPTIONS_INIT;
    options.name = given->name ? given->name : "sandbox";
    options.spare_bytes = given->spare_bytes;
    options.reserve_bytes = given->reserve_bytes;
    if (!given->reserve_bytes && given->limit_bytes != EMMA_UNLIMITED)
        options.reserve_bytes = 2 * given->limit_bytes + RESERVE_BESIDE_BYTES;
    if (given->flags & EMMA_SANDBOX_CHECKPOINTS)
        options.flags |= EMMA_CHECKPOINTS;
    if (given->flags & EMMA_SANDBOX_LIMIT_ALL && given->limit_bytes != EMMA_UNLIMITED)
        options.limit_bytes = given->limit_bytes + given->spare_bytes;
    return options;
}

static const char *sandbox_budget_wrong(const emma_sandbox_options *options)
{
    if ((options->flags & EMMA_SANDBOX_FINALIZERS) && options->instructions &&
        !options->deadline_us)
        return "instructions: with EMMA_SANDBOX_FINALIZERS they need a deadline_us beside them";
    return NULL;
}

/* NULL: none of the values is out of its range. */
static const char *sandbox_options_wrong(const emma_sandbox_options *options)
{
    if (options->struct_bytes != sizeof *options)
        return "struct_bytes: not that of this version's emma_sandbox_options";
    if (options->limit_bytes < LIMIT_LEAST_BYTES)
        return "limit_bytes: less than EMMA_LIMIT_MIN_BYTES";
    if (options->soft_limit_bytes == 0)
        return "soft_limit_bytes: 0";
    if (options->reserve_bytes && options->reserve_bytes < EMMA_RESERVE_MIN_BYTES)
        return "reserve_bytes: less than EMMA_RESERVE_MIN_BYTES";
    if (options->spare_bytes > PTRDIFF_MAX)
        return "spare_bytes: too large";
    if (options->limit_bytes != EMMA_UNLIMITED && options->limit_bytes > PTRDIFF_MAX / 4)
        return "limit_bytes: too large; EMMA_UNLIMITED is none";
    if (options->libraries & ~(unsigned)LIBRARIES_ALL)
        return "libraries: an unknown one";
    if (options->flags & ~(unsigned)FLAGS_ALL)
        return "flags: an unknown one";
    if (options->value_depth > EMMA_SANDBOX_VALUE_DEPTH_MAX)
        return "value_depth: more than EMMA_SANDBOX_VALUE_DEPTH_MAX";
    const emma_options instance = sandbox_instance_options(options);
    if (emma_options_check(&instance) != EMMA_OK)
        return "limit_bytes, spare_bytes or reserve_bytes: more than there can be";
    return sandbox_budget_wrong(options);
}

/* Whether this program and this Lua can do what a budget needs. */
static const char *sandbox_budget_unsupported(const emma_sandbox_options *options)
{
    if (options->deadline_us && !emmai_stop_can_escape())
        return "deadline_us: a program that is linked statically with the C library cannot be "
               "stopped by a signal";
    if (options->instructions && !emmai_count_is_possible())
        return "instructions: it was not found where this Lua counts them";
    return NULL;
}

static const emma_sandbox_options default_options = EMMA_SANDBOX_OPTIONS_INIT;

enum emma_sandbox_status emma_sandbox_options_check(const emma_sandbox_options *options,
                                                    const char **why)
{
    const char *ignored;
    why = why ? why : &ignored;
    options = options ? options : &default_options;
    *why = sandbox_options_wrong(options);
    if (*why)
        return EMMA_SANDBOX_INVALID;
    *why = sandbox_budget_unsupported(options);
    if (*why)
        return EMMA_SANDBOX_UNSUPPORTED;
    *why = "";
    return EMMA_SANDBOX_DONE;
}

enum emma_sandbox_status emma_sandbox_set_budget(emma_sandbox *sandbox, uint64_t instructions,
                                                 uint64_t deadline_us)
{
    emma_sandbox_options options = sandbox->options;
    emmai_sandbox_clear(sandbox);
    options.instructions = instructions;
    options.deadline_us = deadline_us;
    const char *wrong = sandbox_budget_wrong(&options);
    if (wrong)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "%s", wrong);
    wrong = sandbox_budget_unsupported(&options);
    if (wrong)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_UNSUPPORTED, "%s", wrong);
    sandbox->options = options;
    return EMMA_SANDBOX_DONE;
}

/* ---- Limits ---- */

static size_t sandbox_footprint(const emma_sandbox *sandbox)
{
    emma_stats stats = { .struct_bytes = EMMA_STATS_COUNTERS_BYTES };
    emma_get_stats(sandbox->instance, &stats);
    return stats.footprint_bytes;
}

static enum emma_sandbox_status emmai_sandbox_status(enum emma_status status)
{
    switch (status) {
    case EMMA_OK:
        return EMMA_SANDBOX_DONE;
    case EMMA_NO_MEMORY:
        return EMMA_SANDBOX_MEMORY;
    case EMMA_BUSY:
        return EMMA_SANDBOX_BUSY;
    case EMMA_INVALID:
        return EMMA_SANDBOX_INVALID;
    default:
        return EMMA_SANDBOX_UNSUPPORTED;
    }
}

/* Sets both limits, counted from base_bytes. */
static enum emma_status emmai_sandbox_set_limits(emma_sandbox *sandbox)
{
    const emma_sandbox_options *options = &sandbox->options;
    const size_t base = sandbox->base_bytes;
    if (options->soft_limit_bytes <= PTRDIFF_MAX)
        emma_set_soft_limit(sandbox->instance, base + options->soft_limit_bytes);
    if (options->limit_bytes == EMMA_UNLIMITED)
        return emma_set_limit(sandbox->instance, EMMA_UNLIMITED);
    return emma_set_limit(sandbox->instance, base + options->limit_bytes + options->spare_bytes);
}

/* Begins to count both limits from what is in use now, unless all counts. */
static enum emma_status emmai_sandbox_count_limits(emma_sandbox *sandbox)
{
    if (!(sandbox->options.flags & EMMA_SANDBOX_LIMIT_ALL)) {
        emma_trim(sandbox->instance); /* what is kept for reuse would be room beside the limit */
        sandbox->base_bytes = sandbox_footprint(sandbox);
    }
    return emmai_sandbox_set_limits(sandbox);
}

enum emma_sandbox_status emma_sandbox_set_limit(emma_sandbox *sandbox, size_t limit_bytes)
{
    if (sandbox->running)
        return EMMA_SANDBOX_BUSY;
    emmai_sandbox_clear(sandbox);
    const size_t before = sandbox->options.limit_bytes, base_before = sandbox->base_bytes;
    sandbox->options.limit_bytes = limit_bytes;
    const char *wrong = sandbox_options_wrong(&sandbox->options);
    if (wrong) {
        sandbox->options.limit_bytes = before;
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "%s", wrong);
    }
    const enum emma_sandbox_status status =
        emmai_sandbox_status(emmai_sandbox_count_limits(sandbox));
    if (status == EMMA_SANDBOX_DONE)
        return status;
    sandbox->options.limit_bytes = before;
    sandbox->base_bytes = base_before;
    emmai_sandbox_set_limits(sandbox);
    return emmai_sandbox_refuse(sandbox, status, "limit_bytes: more is in use");
}

static void sandbox_on_soft_limit(void *arg, emma *instance, bool over)
{
    emma_sandbox *sandbox = arg;
    (void)instance;
    sandbox->options.soft_handler(sandbox->options.soft_arg, sandbox, over);
}

/* ---- Made and thrown away ---- */

static emma *sandbox_create_instance(emma_sandbox *sandbox)
{
    emma_options options = sandbox_instance_options(&sandbox->options);
    if (sandbox->options.soft_handler) {
        options.limit_handler = sandbox_on_soft_limit;
        options.limit_arg = sandbox;
    }
    return emma_create(&options);
}

static bool sandbox_start(emma_sandbox *sandbox)
{
    sandbox->instance = sandbox_create_instance(sandbox);
    if (!sandbox->instance)
        return false;
    emma_export_add(sandbox->instance, sandbox->options.name ? sandbox->options.name : "sandbox",
                    "sandbox", 0);
    sandbox->state = lua_newstate(emma_lua_alloc, sandbox->instance);
    if (!sandbox->state)
        return false;
    *(emma_sandbox **)lua_getextraspace(sandbox->state) = sandbox;
    if (emmai_sandbox_protect(sandbox, emmai_library_open, sandbox, &EMMAI_WINDOW_OWN) !=
        EMMA_SANDBOX_DONE)
        return false;
    return emmai_sandbox_count_limits(sandbox) == EMMA_OK;
}

emma_sandbox *emma_sandbox_create(const emma_sandbox_options *options)
{
    options = options ? options : &default_options;
    if (emma_sandbox_options_check(options, NULL) != EMMA_SANDBOX_DONE)
        return NULL;
    emma_sandbox *sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox)
        return NULL;
    sandbox->options = *options;
    if (!sandbox_start(sandbox)) {
        emma_sandbox_destroy(sandbox);
        return NULL;
    }
    sandbox->options.name = NULL;
    return sandbox;
}

void emma_sandbox_destroy(emma_sandbox *sandbox)
{
    if (!sandbox)
        return;
    emmai_resource_release(sandbox, 0);
    emma_export_remove(sandbox->instance);
    emma_destroy(sandbox->instance);
    emmai_sandbox_forget(sandbox);
    free(sandbox->resources);
    free(sandbox->marks);
    free(sandbox);
}

lua_State *emma_sandbox_state(emma_sandbox *sandbox)
{
    return sandbox->state;
}

emma *emma_sandbox_instance(emma_sandbox *sandbox)
{
    return sandbox->instance;
}

/* ---- Figures ---- */

void emma_sandbox_get_stats(const emma_sandbox *sandbox, emma_sandbox_stats *out)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(sandbox->instance, &stats);
    emma_sandbox_stats all = {
        .limit_bytes = stats.limit_bytes,
        .live_bytes = stats.live_bytes,
        .footprint_bytes = stats.footprint_bytes,
        .peak_footprint_bytes = stats.peak_footprint_bytes,
        .checkpoint_bytes = stats.checkpoint_bytes,
        .resource_count = sandbox->resource_count,
        .instructions = sandbox->last_instructions,
        .total_instructions = sandbox->total_instructions,
        .microseconds = sandbox->last_ns / (uint64_t)EMMAI_NS_PER_US,
        .total_microseconds = sandbox->total_ns / (uint64_t)EMMAI_NS_PER_US,
        .broken_count = sandbox->broken_count,
        .rollback_count = sandbox->rollback_count,
    };
    memcpy(all.calls, sandbox->calls, sizeof all.calls);
    const size_t bytes = out->struct_bytes < sizeof all ? out->struct_bytes : sizeof all;
    if (bytes < sizeof all.struct_bytes)
        return;
    all.struct_bytes = bytes;
    memcpy(out, &all, bytes);
}
