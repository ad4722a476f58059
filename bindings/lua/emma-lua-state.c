/* emma-lua-state.c - the instance, the Lua state in it, and how both end.
 *
 * The end. lua_close runs the pending __close and __gc metamethods, then walks the heap to free
 * each object. The walk is wasted here, since the instance goes as a whole; the finalizers are
 * not. Lua promises to call them in the reverse of the order in which their objects were marked,
 * so an object that is marked before any other is the last: the guard. Its finalizer jumps out of
 * lua_close, whose frames hold nothing but memory of the instance. A script that pulls the guard
 * out of the registry gets the whole walk, and nothing else changes. */
#define _XOPEN_SOURCE 700 /* sysconf */
#include "emma-lua.h"
#include "../emma_export.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The spare is a part of the limit for error messages, tracebacks and the finalizers at the end. */
#define SPARE_SHARE         64                 /* of the limit ... */
#define SPARE_LEAST_BYTES   ((size_t)64 << 10) /* ... but at least this ... */
#define SPARE_MOST_BYTES    ((size_t)1 << 20)  /* ... and at most this, ... */
#define SPARE_HIGHEST_SHARE 8 /* ... and never more than this share of a small limit, ... */
#define SPARE_STEP_BYTES    ((size_t)4 << 10) /* ... in whole pages */

#define RESERVE_LEAST_BYTES ((size_t)4 << 30)

#define EXIT_STATUS_BITS 0xFF /* of what is given to exit, a process ends with these */

static jmp_buf state_end;
static bool state_ending;    /* lua_close is under way, and state_end is set */
static bool space_is_short;  /* the system has less address space than was asked for */
static const char guard_key; /* its address is the guard's place in the registry */

/* Messages of Lua's warning system. The three functions are its states; each is set while it
 * applies. */

static void warn_off(void *state, const char *message, int continues);
static void warn_on(void *state, const char *message, int continues);

static bool warn_control(lua_State *state, const char *message, int continues)
{
    if (continues || message[0] != '@')
        return false;
    if (strcmp(message, "@on") == 0)
        lua_setwarnf(state, warn_on, state);
    else if (strcmp(message, "@off") == 0)
        lua_setwarnf(state, warn_off, state);
    return true;
}

static void warn_continue(void *state, const char *message, int continues)
{
    fputs(message, stderr);
    if (!continues)
        fputc('\n', stderr);
    fflush(stderr);
    lua_setwarnf(state, continues ? warn_continue : warn_on, state);
}

static void warn_on(void *state, const char *message, int continues)
{
    if (warn_control(state, message, continues))
        return;
    fputs("Lua warning: ", stderr);
    warn_continue(state, message, continues);
}

static void warn_off(void *state, const char *message, int continues)
{
    warn_control(state, message, continues);
}

static int panic(lua_State *state)
{
    const char *message = lua_tostring(state, -1);
    fprintf(stderr, "PANIC: unprotected error in call to Lua API (%s)\n",
            message != NULL ? message : "error object is not a string");
    return 0; /* Lua aborts */
}

/* Inside an allocation of the script's. */
static void soft_limit_crossed(void *arg, emma *instance, bool over)
{
    interpreter *self = arg;
    if (!over || self->soft_limit_crossed)
        return;
    self->soft_limit_crossed = true;
    char soft[EMMA_REPORT_SIZE_BYTES], footprint[EMMA_REPORT_SIZE_BYTES],
        live[EMMA_REPORT_SIZE_BYTES], limit[EMMA_REPORT_SIZE_BYTES];
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    fprintf(stderr, "%s: warning: over the soft limit of %s: footprint %s, live %s, limit %s\n",
            self->program, emma_report_size(soft, stats.soft_limit_bytes),
            emma_report_size(footprint, stats.footprint_bytes),
            emma_report_size(live, stats.live_bytes), emma_report_size(limit, stats.limit_bytes));
}

static size_t spare_for(size_t limit_bytes)
{
    if (limit_bytes == EMMA_UNLIMITED)
        return 0;
    size_t spare = limit_bytes / SPARE_SHARE;
    if (spare < SPARE_LEAST_BYTES)
        spare = SPARE_LEAST_BYTES;
    if (spare > SPARE_MOST_BYTES)
        spare = SPARE_MOST_BYTES;
    if (spare > limit_bytes / SPARE_HIGHEST_SHARE)
        spare = limit_bytes / SPARE_HIGHEST_SHARE;
    size_t rest = limit_bytes > EMMA_LIMIT_MIN_BYTES ? limit_bytes - EMMA_LIMIT_MIN_BYTES : 0;
    spare = spare < rest ? spare : rest;
    return spare - spare % SPARE_STEP_BYTES;
}

/* Address space for a program without a limit: twice the memory of the machine. */
static size_t reserve_for_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page_bytes <= 0 ||
        (size_t)pages > (size_t)PTRDIFF_MAX / 2 / (size_t)page_bytes)
        return RESERVE_LEAST_BYTES;
    size_t reserve = 2 * (size_t)pages * (size_t)page_bytes;
    return reserve > RESERVE_LEAST_BYTES ? reserve : RESERVE_LEAST_BYTES;
}

static emma *create_instance(void)
{
    emma_options options = EMMA_LUA_OPTIONS_INIT;
    options.name = "emma-lua";
    options.limit_bytes = emmai_cli.options.limit_bytes;
    options.soft_limit_bytes = emmai_cli.options.soft_limit_bytes;
    options.spare_bytes = emmai_cli.spare_bytes = spare_for(options.limit_bytes);
    options.limit_handler = soft_limit_crossed;
    options.limit_arg = &emmai_cli;
    if (options.limit_bytes == EMMA_UNLIMITED) {
        options.reserve_bytes = reserve_for_machine();
        emma *instance = emma_create(&options);
        if (instance != NULL)
            return instance;
        options.reserve_bytes = 0; /* what there is */
        space_is_short = true;
    }
    return emma_create(&options);
}

/* Shows the instance to others, under the name of the script. */
static void export_instance(const interpreter *self)
{
    const char *path = self->options.script < self->argc ? self->argv[self->options.script] : "";
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const int error = emma_export_start();
    if (error != 0)
        fprintf(stderr, "%s: --export: nothing is shown to 'emma top': %s\n", self->program,
                strerror(error));
    emma_export_add(self->instance, name[0] != '\0' ? name : "emma-lua", "lua", 0);
}

/* Gives all of it back at once. */
static void drop_instance(interpreter *self)
{
    emma_export_remove(self->instance);
    emma_destroy(self->instance);
    self->instance = NULL;
}

bool emmai_state_open(void)
{
    interpreter *self = &emmai_cli;
    self->instance = create_instance();
    if (self->instance == NULL) {
        emmai_cli_message(self->program, "cannot create an emma instance: not enough memory");
        return false;
    }
    if (self->options.exports)
        export_instance(self);
    const size_t rate_bytes = self->options.sample_bytes;
    const bool samples = rate_bytes != 0 && emmai_sample_start(rate_bytes);
    lua_Alloc alloc = self->options.report_path != NULL ? emmai_watch_start(self->instance, samples)
                                                        : emma_lua_alloc;
    self->state = lua_newstate(alloc, self->instance);
    if (self->state == NULL) {
        emmai_cli_message(self->program, "cannot create state: not enough memory");
        emmai_state_explain_no_memory();
        emmai_report_take_figures();
        drop_instance(self);
        return false;
    }
    lua_atpanic(self->state, panic);
    lua_setwarnf(self->state, warn_off, self->state);
    return true;
}

static int guard_finalize(lua_State *state)
{
    (void)state;
    if (state_ending)
        longjmp(state_end, 1);
    return 0;
}

void emmai_state_guard(lua_State *state)
{
    lua_newuserdatauv(state, 0, 0);
    lua_createtable(state, 0, 2);
    lua_pushcfunction(state, guard_finalize);
    lua_setfield(state, -2, "__gc");
    lua_pushboolean(state, false);
    lua_setfield(state, -2, "__metatable");
    lua_setmetatable(state, -2);
    lua_rawsetp(state, LUA_REGISTRYINDEX, &guard_key);
}

void emmai_state_end(void)
{
    interpreter *self = &emmai_cli;
    if (self->state == NULL)
        return;
    emmai_state_use_spare(true);
    if (setjmp(state_end) == 0) {
        emmai_report_take_figures(); /* the last with the heap in them, should the guard be gone */
        state_ending = true;
        lua_close(self->state);
    } else {
        emmai_report_take_figures();
    }
    state_ending = false;
    self->state = NULL;
    drop_instance(self);
}

/* os.exit. It is Lua's but for two things: a state that is to be closed ends as above, and the
 * status is known to the report. */
static int exit_program(lua_State *state)
{
    int status;
    if (lua_isboolean(state, 1))
        status = lua_toboolean(state, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
    else
        status = (int)luaL_optinteger(state, 1, EXIT_SUCCESS);
    status &= EXIT_STATUS_BITS;
    if (lua_toboolean(state, 2))
        emmai_state_end();
    if (!emmai_report_finish(&status) && status == EXIT_SUCCESS)
        status = EXIT_FAILURE;
    exit(status);
}

void emmai_state_replace_exit(lua_State *state)
{
    if (lua_getglobal(state, LUA_OSLIBNAME) == LUA_TTABLE) {
        lua_pushcfunction(state, exit_program);
        lua_setfield(state, -2, "exit");
    }
    lua_pop(state, 1);
}

void emmai_state_use_spare(bool use)
{
    if (emmai_cli.spare_bytes != 0 && emmai_cli.instance != NULL)
        emma_use_spare(emmai_cli.instance, use);
}

/* The address space is the bound: the system gave less than the limit, or there is none. */
static void explain_space(const emma_stats *stats, bool is_full)
{
    const cli_options *options = &emmai_cli.options;
    char space[EMMA_REPORT_SIZE_BYTES], peak[EMMA_REPORT_SIZE_BYTES], limit[EMMA_REPORT_SIZE_BYTES];
    bool limited = options->limit_bytes != EMMA_UNLIMITED;
    emma_report_size(space, stats->reserve_bytes);
    emma_report_size(peak, stats->peak_footprint_bytes);
    emma_report_size(limit, options->limit_bytes);
    if (is_full)
        fprintf(stderr, "%s: the reserved address space of %s is full: peak footprint %s",
                emmai_cli.program, space, peak);
    else
        fprintf(stderr,
                "%s: one request was larger than what the reserved address space of %s leaves, or "
                "the system refused it: peak footprint %s",
                emmai_cli.program, space, peak);
    fprintf(stderr, "%s",
            limited || space_is_short ? "; the system gave no more address space (ulimit -v)" : "");
    if (limited)
        fprintf(stderr, ", less than the limit of %s (--limit)", limit);
    fputc('\n', stderr);
}

static void explain_limit(const emma_stats *stats, bool is_full)
{
    char limit[EMMA_REPORT_SIZE_BYTES], peak[EMMA_REPORT_SIZE_BYTES], spare[EMMA_REPORT_SIZE_BYTES];
    emma_report_size(limit, emmai_cli.options.limit_bytes);
    emma_report_size(peak, stats->peak_footprint_bytes);
    emma_report_size(spare, emmai_cli.spare_bytes);
    fprintf(stderr,
            is_full ? "%s: the limit of %s (--limit) was reached: peak footprint %s"
                    : "%s: one request was larger than what the limit of %s (--limit) leaves: peak "
                      "footprint %s",
            emmai_cli.program, limit, peak);
    if (emmai_cli.spare_bytes != 0)
        fprintf(stderr, ", %s held back for error paths", spare);
    fputc('\n', stderr);
}

/* The instance still is as the error left it. Where less than half is in use, one request asked for
 * more than the other half. */
void emmai_state_explain_no_memory(void)
{
    interpreter *self = &emmai_cli;
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(self->instance, &stats);
    if (stats.refused_count == 0)
        return; /* Lua itself gave up, on a size that no memory could hold */
    if (stats.reserve_bytes < self->options.limit_bytes)
        explain_space(&stats, stats.footprint_bytes >= stats.reserve_bytes / 2);
    else
        explain_limit(&stats,
                      stats.footprint_bytes >= (self->options.limit_bytes - self->spare_bytes) / 2);
}
