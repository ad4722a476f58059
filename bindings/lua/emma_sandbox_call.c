/* emma_sandbox_call.c - the window that all Lua code of a sandbox runs in, and the calls that go
 * through it.
 *
 * A call is one lua_pcall between emmai_stop_enter and emmai_stop_leave. It ends by a return, by
 * an error, or by the jump out of the signal handler, after which nothing in the interpreter may
 * be touched any more. */
#include "emma_sandbox_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char no_memory_message[] = "not enough memory";

/* ---- What a call leaves to the host ---- */

/* NULL: no memory. */
static char *call_copy_text(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (copy) {
        memcpy(copy, text, bytes);
        copy[bytes] = '\0';
    }
    return copy;
}

/* Keeps a copy cut at `most` bytes, its end included; how many that are. Not to be left in the
 * middle: see emmai_host_enter. */
static size_t call_set_text(emma_sandbox *sandbox, char **kept, const char *text, size_t bytes,
                            size_t most)
{
    bytes = bytes < most ? bytes : most - 1;
    emmai_host_enter(sandbox);
    free(*kept);
    *kept = call_copy_text(text, bytes);
    emmai_host_leave(sandbox);
    return *kept ? bytes : 0;
}

static void call_set_message(emma_sandbox *sandbox, const char *text, size_t bytes)
{
    sandbox->message_bytes =
        call_set_text(sandbox, &sandbox->message, text, bytes, EMMA_SANDBOX_MESSAGE_BYTES);
}

static void emmai_sandbox_clear(emma_sandbox *sandbox)
{
    free(sandbox->message);
    free(sandbox->traceback);
    sandbox->message = sandbox->traceback = NULL;
}

/* Takes the results away from the sandbox. */
static emmai_piece *call_detach_results(emma_sandbox *sandbox)
{
    emmai_piece *pieces = sandbox->pieces;
    sandbox->pieces = NULL;
    sandbox->pieces_bytes = 0;
    sandbox->results = NULL;
    sandbox->result_count = 0;
    return pieces;
}

static void call_free_results(emmai_piece *pieces)
{
    while (pieces) {
        emmai_piece *next = pieces->next;
        free(pieces);
        pieces = next;
    }
}

static void emmai_sandbox_forget(emma_sandbox *sandbox)
{
    emmai_sandbox_clear(sandbox);
    call_free_results(call_detach_results(sandbox));
}

static enum emma_sandbox_status emmai_sandbox_refuse(emma_sandbox *sandbox,
                                                     enum emma_sandbox_status status,
                                                     const char *format, ...)
{
    char text[EMMA_SANDBOX_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    call_set_message(sandbox, text, strlen(text));
    return status;
}

static enum emma_sandbox_status emmai_sandbox_begin(emma_sandbox *sandbox)
{
    if (sandbox->running)
        return EMMA_SANDBOX_BUSY;
    emmai_sandbox_clear(sandbox);
    if (sandbox->broken)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_BROKEN,
                                    "a call was left in the middle: roll back or destroy");
    return EMMA_SANDBOX_DONE;
}

const char *emma_sandbox_message(const emma_sandbox *sandbox)
{
    return sandbox->message ? sandbox->message : "";
}

const char *emma_sandbox_message_bytes(const emma_sandbox *sandbox, size_t *bytes)
{
    *bytes = sandbox->message ? sandbox->message_bytes : 0;
    return emma_sandbox_message(sandbox);
}

const char *emma_sandbox_traceback(const emma_sandbox *sandbox)
{
    return sandbox->traceback ? sandbox->traceback : "";
}

const emma_sandbox_value *emma_sandbox_results(const emma_sandbox *sandbox, size_t *count)
{
    *count = sandbox->result_count;
    return sandbox->results;
}

/* ---- Errors ---- */

static bool emmai_sandbox_is_memory(lua_State *state, int lua_status)
{
    if (lua_status == LUA_ERRMEM)
        return true;
    return lua_status == LUA_ERRRUN && lua_type(state, -1) == LUA_TSTRING &&
           strcmp(lua_tostring(state, -1), no_memory_message) == 0;
}

/* Makes a text of the error object at index 1, in its place. */
static void call_describe(lua_State *state)
{
    if (lua_isstring(state, 1))
        lua_tostring(state, 1);
    else if (luaL_callmeta(state, 1, "__tostring") && lua_isstring(state, -1))
        lua_replace(state, 1);
    else {
        lua_pushfstring(state, "(error object is a %s value)", luaL_typename(state, 1));
        lua_replace(state, 1);
    }
    lua_settop(state, 1);
}

/* The message handler of every call: it runs where the error is. */
static int call_on_error(lua_State *state)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    emma_use_spare(sandbox->instance, true);
    call_describe(state);
    size_t bytes;
    const char *text = lua_tolstring(state, 1, &bytes);
    call_set_message(sandbox, text, bytes);
    luaL_traceback(state, state, NULL, 1);
    text = lua_tolstring(state, -1, &bytes);
    call_set_text(sandbox, &sandbox->traceback, text, bytes, EMMA_SANDBOX_TRACEBACK_BYTES);
    lua_settop(state, 1);
    return 1;
}

/* ---- The window ---- */

static enum emma_sandbox_status call_status(emma_sandbox *sandbox, int lua_status, bool stops)
{
    if (lua_status == LUA_OK)
        return EMMA_SANDBOX_DONE;
    const enum emma_sandbox_status stopped =
        stops ? emmai_sandbox_stopped(sandbox) : EMMA_SANDBOX_DONE;
    if (stopped != EMMA_SANDBOX_DONE)
        return stopped;
    return emmai_sandbox_is_memory(sandbox->state, lua_status) ? EMMA_SANDBOX_MEMORY
                                                               : EMMA_SANDBOX_ERROR;
}

/* Every failure has a message, also where the handler did not run or had no memory. */
static void call_complete_message(emma_sandbox *sandbox, enum emma_sandbox_status status)
{
    if (status == EMMA_SANDBOX_DONE) {
        emmai_sandbox_clear(sandbox); /* of an error that the script caught after all */
    } else if (sandbox->broken) {
        free(sandbox->traceback);
        sandbox->traceback = NULL;
        emmai_sandbox_refuse(sandbox, status, "%s, in the middle of Lua's own code",
                             emmai_stop_reason(status));
    } else if (status == EMMA_SANDBOX_MEMORY) {
        call_set_message(sandbox, no_memory_message, sizeof no_memory_message - 1);
    } else if (status != EMMA_SANDBOX_ERROR &&
               (!sandbox->message || !strstr(sandbox->message, emmai_stop_reason(status)))) {
        /* stopped between an error of the script's and where that was caught */
        emmai_sandbox_refuse(sandbox, status, "%s", emmai_stop_reason(status));
    } else if (!sandbox->message) {
        size_t bytes = 0;
        const char *text = lua_tolstring(sandbox->state, -1, &bytes);
        call_set_message(sandbox, text ? text : "", bytes);
    }
}

/* Runs `act` in Lua's protection, with the way out open; what it ended with. */
static enum emma_sandbox_status call_in_window(emma_sandbox *sandbox, lua_CFunction act, void *job,
                                               bool stops)
{
    lua_State *state = sandbox->state;
    if (sigsetjmp(sandbox->escape, 0) != 0) {
        sandbox->broken = true;
        sandbox->broken_count++;
        return emmai_sandbox_stopped(sandbox);
    }
    sandbox->current = state;
    sandbox->armed = stops;
    if (stops && emmai_sandbox_stopped(sandbox) != EMMA_SANDBOX_DONE) {
        sandbox->armed = false; /* killed before it began */
        return emmai_sandbox_stopped(sandbox);
    }
    lua_pushcfunction(state, call_on_error);
    lua_pushcfunction(state, act);
    lua_pushlightuserdata(state, job);
    const int lua_status = lua_pcall(state, 1, 0, 1);
    sandbox->armed = false;
    return call_status(sandbox, lua_status, stops);
}

static enum emma_sandbox_status emmai_sandbox_protect(emma_sandbox *sandbox, lua_CFunction act,
                                                      void *job, const emmai_window *window)
{
    if (!emmai_stop_prepare())
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_MEMORY, "no timer for this thread");
    sandbox->running = true;
    sandbox->stack = __builtin_frame_address(0);
    emmai_count_enter(sandbox, window->instructions);
    emmai_stop_enter(sandbox, window->deadline_us);
    const enum emma_sandbox_status status = call_in_window(sandbox, act, job, window->stops);
    emmai_stop_leave(sandbox);
    sandbox->executed = emmai_count_leave(sandbox, window->instructions);
    emma_use_spare(sandbox->instance, false);
    call_complete_message(sandbox, status);
    if (!sandbox->broken) {
        lua_sethook(sandbox->state, NULL, 0, 0);
        lua_settop(sandbox->state, 0);
    }
    /* A kill that came too late is for the next one. */
    if (window->stops &&
        (status != EMMA_SANDBOX_DONE || emmai_sandbox_stopped(sandbox) != EMMA_SANDBOX_KILLED))
        atomic_store(&sandbox->stop, EMMA_SANDBOX_DONE);
    sandbox->running = false;
    return status;
}

/* A call of the host's: under the budget, and in the figures. */
static enum emma_sandbox_status call_under_budget(emma_sandbox *sandbox, lua_CFunction act,
                                                  void *job)
{
    const emmai_window window = { sandbox->options.instructions, sandbox->options.deadline_us,
                                  true };
    emmai_piece *before = call_detach_results(sandbox); /* which may be the arguments now */
    const int64_t start_ns = emmai_stop_now_ns();
    const enum emma_sandbox_status status = emmai_sandbox_protect(sandbox, act, job, &window);
    call_free_results(before);
    sandbox->last_instructions = sandbox->executed;
    sandbox->last_ns = (uint64_t)(emmai_stop_now_ns() - start_ns);
    sandbox->total_ns += sandbox->last_ns;
    sandbox->total_instructions += sandbox->last_instructions;
    sandbox->calls[status]++;
    return status;
}

/* ---- Run and call ---- */

typedef struct call_job {
    emma_sandbox *sandbox;
    const char *name; /* of the chunk or the function */
    const char *text;
    size_t bytes;
    const emma_sandbox_value *arguments;
    size_t count;
} call_job;

/* What lies on the stack from `first` on is what the call returns. */
static void call_take_results(lua_State *state, emma_sandbox *sandbox, int first)
{
    sandbox->results = emmai_value_take_all(state, sandbox, first, "result");
    sandbox->result_count = (size_t)(lua_gettop(state) - first + 1);
}

static int call_run(lua_State *state)
{
    const call_job *job = lua_touserdata(state, 1);
    emma_sandbox *sandbox = job->sandbox;
    const char *mode = sandbox->options.flags & EMMA_SANDBOX_BYTECODE ? "bt" : "t";
    lua_pushfstring(state, "=%s", job->name);
    const int status =
        luaL_loadbufferx(state, job->text, job->bytes, lua_tostring(state, -1), mode);
    if (status == LUA_ERRMEM)
        emmai_stop_note(sandbox, EMMA_SANDBOX_MEMORY);
    if (status != LUA_OK)
        return lua_error(state);
    const int first = lua_gettop(state);
    lua_call(state, 0, LUA_MULTRET);
    call_take_results(state, sandbox, first);
    return 0;
}

static int call_function(lua_State *state)
{
    const call_job *job = lua_touserdata(state, 1);
    luaL_checkstack(state, (int)job->count, "too many arguments");
    emmai_sandbox_push_path(state, job->name);
    const int first = lua_gettop(state);
    if (lua_isnil(state, first))
        return luaL_error(state, "there is no function '%s'", job->name);
    if (!lua_isfunction(state, first) && luaL_getmetafield(state, first, "__call") == LUA_TNIL)
        return luaL_error(state, "'%s' is a %s, not a function", job->name,
                          luaL_typename(state, first));
    lua_settop(state, first);
    for (size_t i = 0; i < job->count; i++)
        emma_sandbox_push(state, &job->arguments[i]);
    lua_call(state, (int)job->count, LUA_MULTRET);
    call_take_results(state, job->sandbox, first);
    return 0;
}

enum emma_sandbox_status emma_sandbox_run(emma_sandbox *sandbox, const char *name, const char *text,
                                          size_t bytes)
{
    const enum emma_sandbox_status begins = emmai_sandbox_begin(sandbox);
    if (begins != EMMA_SANDBOX_DONE)
        return begins;
    if (!text)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "text: NULL");
    call_job job = {
        .sandbox = sandbox, .name = name ? name : "script", .text = text, .bytes = bytes
    };
    return call_under_budget(sandbox, call_run, &job);
}

#define ARGUMENTS_MAX 250 /* as many as a Lua function may name */

enum emma_sandbox_status emma_sandbox_call(emma_sandbox *sandbox, const char *function,
                                           const emma_sandbox_value *arguments, size_t count)
{
    const enum emma_sandbox_status begins = emmai_sandbox_begin(sandbox);
    if (begins != EMMA_SANDBOX_DONE)
        return begins;
    const char *name_wrong = emmai_sandbox_name_wrong(function);
    if (name_wrong)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "function: %s", name_wrong);
    if (count > ARGUMENTS_MAX)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID,
                                    "%zu arguments; at most %d can be given", count, ARGUMENTS_MAX);
    if (count && !arguments)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "arguments: NULL");
    for (size_t i = 0; i < count; i++) {
        const char *wrong = emmai_value_wrong(&arguments[i], sandbox->options.value_depth);
        if (wrong)
            return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "argument %zu: %s", i + 1,
                                        wrong);
    }
    call_job job = { .sandbox = sandbox, .name = function, .arguments = arguments, .count = count };
    return call_under_budget(sandbox, call_function, &job);
}

const char *emma_sandbox_status_text(enum emma_sandbox_status status)
{
    static const char *const texts[] = {
        "done",   "error",  "memory", "instructions", "deadline",
        "killed", "broken", "busy",   "invalid",      "unsupported"
    };
    return (size_t)status < sizeof texts / sizeof texts[0] ? texts[status] : "unknown";
}
