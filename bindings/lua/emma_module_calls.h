/* emma_module_calls.h - what is around each call of a handle's, and Lua's functions called from
 * sandboxes. Included by the wrapper that SWIG writes.
 *
 * Between emma_call_begin and emma_call_end no error of the calling state may leave: it
 * would jump over the sandbox. So what can raise one runs under lua_pcall. An error of a
 * function's is the script's error, and waits on the caller's stack: if the call ends with
 * that error, it is given as it was. */
#ifndef EMMA_MODULE_CALLS_H
#define EMMA_MODULE_CALLS_H

#include "emma_module_values.h"

#define EMMA_CALL_TEXT_BYTES 512

/* A call that goes on, on its thread's stack. */
typedef struct emma_call {
    struct emma_call *outer;
    lua_State *state; /* that calls */
    int slot;         /* of its stack: the error that waits */
    bool waits;
    bool insists; /* it is the call's error, however that ends */
    control_error error;
    control_error *error_before;
    char text[EMMA_CALL_TEXT_BYTES]; /* of it, as the script sees it */
    char *noted;                     /* where a function that runs leaves its error's text */
} emma_call;

static _Thread_local emma_call *emma_innermost;

/* May raise an error: there is nothing to lose yet. */
static void emma_call_begin(emma_call *call, lua_State *state)
{
    luaL_checkstack(state, LUA_MINSTACK, "too many calls");
    lua_pushnil(state);
    call->slot = lua_gettop(state);
    call->state = state;
    call->waits = call->insists = false;
    call->error_before = control_begin(&call->error);
    call->outer = emma_innermost;
    emma_innermost = call;
}

static void emma_call_end(emma_call *call)
{
    emma_innermost = call->outer;
    control_end(call->error_before);
}

/* ---- Errors ---- */

/* Whoever calls the layer, or the module itself: "file:12: ". */
static void emma_push_place(lua_State *state)
{
    lua_Debug frame;
    for (int level = 1; lua_getstack(state, level, &frame); level++) {
        lua_getinfo(state, "Sl", &frame);
        const char *name = strrchr(frame.source, '/');
        if (frame.currentline > 0 && strcmp(name ? name + 1 : frame.source, "emma.lua") != 0) {
            lua_pushfstring(state, "%s:%d: ", frame.short_src, frame.currentline);
            return;
        }
    }
    lua_pushliteral(state, "");
}

static int emma_error_text(lua_State *state)
{
    lua_getfield(state, 1, "message");
    return 1;
}

/* An error as an object: kind, message, traceback; as a text it is the message. */
static void emma_push_error(lua_State *state, const control_error *error)
{
    lua_createtable(state, 0, 3);
    lua_pushstring(state, control_kind_text(error->kind));
    lua_setfield(state, -2, "kind");
    lua_pushlstring(state, error->message, error->message_bytes);
    lua_setfield(state, -2, "message");
    lua_pushstring(state, error->traceback);
    lua_setfield(state, -2, "traceback");
    if (luaL_newmetatable(state, "emma.error")) {
        lua_pushcfunction(state, emma_error_text);
        lua_setfield(state, -2, "__tostring");
        lua_pushliteral(state, "emma.error");
        lua_setfield(state, -2, "__name");
    }
    lua_setmetatable(state, -2);
}

/* False: a message is on top of the stack. */
static bool emma_call_succeeded(const emma_call *call)
{
    lua_State *state = call->state;
    if (call->waits && call->insists) {
        lua_pushvalue(state, call->slot);
        return false;
    }
    if (!call->error.kind)
        return true;
    emma_push_place(state);
    lua_pushlstring(state, call->error.message, call->error.message_bytes);
    lua_concat(state, 2);
    return false;
}

/* ---- Results ---- */

static int emma_push_results(lua_State *state)
{
    const control_results *results = lua_touserdata(state, 1);
    lua_pushboolean(state, true);
    emma_values_to_lua(state, results->items, results->count);
    return (int)results->count + 1;
}

/* Pushes true and the results, or false and the error; false: what is on top is to be raised. */
static bool emma_results_to_lua(lua_State *state, emma_call *call, control_results *results,
                                int *count)
{
    if (results->sandbox) {
        const int top = lua_gettop(state);
        lua_pushcfunction(state, emma_push_results);
        lua_pushlightuserdata(state, results);
        const bool good = lua_pcall(state, 1, LUA_MULTRET, 0) == LUA_OK;
        control_sandbox_done(results->sandbox);
        *count += lua_gettop(state) - top;
        return good;
    }
    if (call->error.kind > EMMA_SANDBOX_BROKEN)
        return emma_call_succeeded(call);
    lua_pushboolean(state, false);
    if (call->waits && (call->insists || control_is_text(&call->error, call->text)))
        lua_pushvalue(state, call->slot);
    else
        emma_push_error(state, &call->error);
    *count += 2;
    return true;
}

/* ---- Functions of Lua's ---- */

/* A table in the registry, with weak keys or values. */
static void emma_push_weak(lua_State *state, const char *name, const char *mode)
{
    if (!luaL_getsubtable(state, LUA_REGISTRYINDEX, name)) {
        lua_createtable(state, 0, 1);
        lua_pushstring(state, mode);
        lua_setfield(state, -2, "__mode");
        lua_setmetatable(state, -2);
    }
}

/* The functions by number; what nobody else has goes. */
static void emma_push_functions(lua_State *state)
{
    emma_push_weak(state, "emma.functions", "v");
}

/* The number of the function at an absolute index, the same whenever it is asked for. */
static intptr_t emma_number_of_function(lua_State *state, int index)
{
    static atomic_intptr_t last;
    emma_push_weak(state, "emma.numbers", "k");
    lua_pushvalue(state, index);
    lua_rawget(state, -2);
    intptr_t number = (intptr_t)lua_tointeger(state, -1);
    lua_pop(state, 1);
    if (!number) {
        number = atomic_fetch_add(&last, 1) + 1;
        emma_push_functions(state);
        lua_pushvalue(state, index);
        lua_rawseti(state, -2, number);
        lua_pop(state, 1);
        lua_pushvalue(state, index);
        lua_pushinteger(state, number);
        lua_rawset(state, -3);
    }
    lua_pop(state, 1);
    return number;
}

static void emma_drop_lua(void *number)
{
    (void)number;
}

static void emma_function_called(void *number, emma_sandbox *sandbox,
                                 const emma_sandbox_value *arguments, size_t count,
                                 emma_sandbox_answer *answer);

/* Handles refer to functions weakly, as Lua's collector does not see into them: whoever has the
 * handle has them. */
static bool emma_function_from_lua(lua_State *state, int index, const char *parameter,
                                   control_function *function)
{
    if (!lua_isfunction(state, index)) {
        lua_pushfstring(state, "%s: a function, not %s", parameter, luaL_typename(state, index));
        return false;
    }
    function->callable = (void *)emma_number_of_function(state, index);
    function->call = emma_function_called;
    function->drop = emma_drop_lua;
    return true;
}

/* What a function is called with, and what it answers. */
typedef struct emma_errand {
    intptr_t number;
    const emma_sandbox_value *arguments;
    size_t count;
    control_values values;
} emma_errand;

/* Runs an errand in the calling state, where it may raise errors. */
static int emma_run_errand(lua_State *state)
{
    emma_errand *errand = lua_touserdata(state, 1);
    emma_push_functions(state);
    if (lua_rawgeti(state, -1, errand->number) != LUA_TFUNCTION)
        return luaL_error(state, "the function is gone");
    lua_insert(state, 1);
    lua_settop(state, 1);
    emma_values_to_lua(state, errand->arguments, errand->count);
    lua_call(state, (int)errand->count, LUA_MULTRET);
    const int count = lua_gettop(state);
    luaL_checkstack(state, EMMA_VALUE_SLOTS, "tables in tables");
    if (!emma_values_take(state, 1, count, EMMA_SANDBOX_VALUE_DEPTH_MAX, &errand->values))
        return lua_error(state);
    return 0;
}

/* lua_pcall's handler: keeps the error's text. */
static int emma_note_error(lua_State *state)
{
    emma_call *call = emma_innermost;
    size_t bytes;
    const char *text = luaL_tolstring(state, 1, &bytes);
    control_copy_text(call->noted, EMMA_CALL_TEXT_BYTES, text, bytes);
    lua_settop(state, 1);
    return 1;
}

static void emma_release_answer(emma_sandbox_answer *answer)
{
    control_arena arena = { .pieces = answer->memory };
    control_arena_free(&arena);
}

/* Calls the function in the state that is calling; the error waits there. */
static void emma_call_function(void *number, const emma_sandbox_value *arguments, size_t count,
                               emma_sandbox_answer *answer)
{
    emma_call *call = emma_innermost;
    if (!call || !lua_checkstack(call->state, LUA_MINSTACK)) {
        answer->error = "a function of another thread's, or too many calls";
        return;
    }
    lua_State *state = call->state;
    emma_errand errand = { .number = (intptr_t)number, .arguments = arguments, .count = count };
    char text[EMMA_CALL_TEXT_BYTES] = "not enough memory";
    char *const outer_text = call->noted;
    call->noted = text;
    lua_pushcfunction(state, emma_note_error);
    lua_pushcfunction(state, emma_run_errand);
    lua_pushlightuserdata(state, &errand);
    if (lua_pcall(state, 1, 0, -3) != LUA_OK) {
        lua_replace(state, call->slot);
        call->waits = true;
        call->insists = false;
        memcpy(call->text, text, sizeof text);
        answer->error = call->text;
    }
    call->noted = outer_text;
    lua_pop(state, 1);
    answer->values = errand.values.items;
    answer->count = errand.values.count;
    answer->memory = errand.values.arena.pieces;
    answer->release = emma_release_answer;
}

/* emma_sandbox_function_fn. */
static void emma_function_called(void *number, emma_sandbox *sandbox,
                                 const emma_sandbox_value *arguments, size_t count,
                                 emma_sandbox_answer *answer)
{
    (void)sandbox;
    emma_call_function(number, arguments, count, answer);
}

/* The same for print, which stops the script if it fails. */
static void emma_print_lua(void *number, emma_sandbox *sandbox, const emma_sandbox_value *arguments,
                           size_t count, emma_sandbox_answer *answer)
{
    (void)sandbox;
    emma_call_function(number, arguments, count, answer);
    if (answer->error && emma_innermost)
        emma_innermost->insists = true;
}

/* A block for the visitor, which is at the caller's stack index. */
typedef struct emma_block {
    const void *address;
    size_t bytes;
    bool goes_on;
} emma_block;

static int emma_show_block(lua_State *state)
{
    emma_block *block = lua_touserdata(state, 2);
    lua_pushvalue(state, 1);
    lua_pushinteger(state, (lua_Integer)(intptr_t)block->address);
    lua_pushinteger(state, (lua_Integer)block->bytes);
    lua_call(state, 2, 1);
    block->goes_on = !lua_isboolean(state, -1) || lua_toboolean(state, -1);
    return 0;
}

/* emma_walk_fn: false ends the walk, and so does an error. */
static bool emma_visit_lua(void *index, void *address, size_t bytes)
{
    emma_call *call = emma_innermost;
    lua_State *state = call->state;
    emma_block block = { .address = address, .bytes = bytes };
    lua_pushcfunction(state, emma_show_block);
    lua_pushvalue(state, (int)(intptr_t)index);
    lua_pushlightuserdata(state, &block);
    if (lua_pcall(state, 2, 0, 0) == LUA_OK)
        return block.goes_on;
    lua_replace(state, call->slot);
    call->waits = call->insists = true;
    return false;
}

#endif
