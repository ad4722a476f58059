/* emma_sandbox_library.c - what scripts see: Lua's libraries, with functions of the kit in the
 * place of those that would catch what stops a script (pcall, xpcall, coroutines, load), let it
 * out (bytecode, files, finalizers), or write where the host does not want it (print). */
#include "emma_sandbox_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- Errors that are not the script's to catch ---- */

/* After an error that is on top of the stack: raises it again if it is what ends the call. */
static void emmai_library_pass_stop(lua_State *state, emma_sandbox *sandbox, int lua_status)
{
    if (lua_status != LUA_OK && lua_status != LUA_YIELD &&
        !(sandbox->options.flags & EMMA_SANDBOX_CATCH_MEMORY) &&
        emmai_sandbox_is_memory(state, lua_status))
        emmai_stop_note(sandbox, EMMA_SANDBOX_MEMORY);
    if (emmai_sandbox_stopped(sandbox) == EMMA_SANDBOX_DONE)
        return;
    if (lua_status != LUA_OK && lua_status != LUA_YIELD)
        lua_error(state);
    emmai_stop_raise(state, sandbox);
}

/* What pcall and xpcall return: true and the results from index `first` on, or false and the
 * error. */
static int library_caught(lua_State *state, int lua_status, lua_KContext first)
{
    emmai_library_pass_stop(state, emmai_sandbox_of(state), lua_status);
    if (lua_status == LUA_OK || lua_status == LUA_YIELD) {
        lua_pushboolean(state, true);
        lua_replace(state, (int)first - 1);
        return lua_gettop(state) - (int)first + 2;
    }
    lua_pushboolean(state, false);
    lua_insert(state, -2);
    return 2;
}

/* pcall(f, ...): a place for the first result is made below the function. */
static int library_pcall(lua_State *state)
{
    luaL_checkany(state, 1);
    lua_pushnil(state);
    lua_insert(state, 1);
    const int status = lua_pcallk(state, lua_gettop(state) - 2, LUA_MULTRET, 0, 2, library_caught);
    return library_caught(state, status, 2);
}

/* Stands before the handler given to xpcall, its upvalue. No hook runs in the handler of an
 * error that a hook raised: what stops the script passes by it. */
static int library_handle(lua_State *state)
{
    if (emmai_sandbox_stopped(emmai_sandbox_of(state)) != EMMA_SANDBOX_DONE)
        return 1;
    lua_settop(state, 1);
    lua_pushvalue(state, lua_upvalueindex(1));
    lua_insert(state, 1);
    lua_call(state, 1, 1);
    return 1;
}

/* xpcall(f, handler, ...): becomes f, handler, nil, f, ... of which the third is the first
 * result's place. */
static int library_xpcall(lua_State *state)
{
    luaL_checktype(state, 2, LUA_TFUNCTION);
    lua_pushvalue(state, 2);
    lua_pushcclosure(state, library_handle, 1);
    lua_replace(state, 2);
    lua_pushnil(state);
    lua_pushvalue(state, 1);
    lua_rotate(state, 3, 2);
    const int status = lua_pcallk(state, lua_gettop(state) - 4, LUA_MULTRET, 2, 4, library_caught);
    return library_caught(state, status, 4);
}

/* ---- Coroutines ---- */

static void emmai_switch_to(emma_sandbox *sandbox, lua_State *to)
{
    emmai_count_pass(sandbox, sandbox->current, to);
    sandbox->current = to;
    if (emmai_sandbox_stopped(sandbox) != EMMA_SANDBOX_DONE)
        emmai_stop_hook_anything(sandbox, to); /* it may have variables to close */
}

static lua_State *library_thread(lua_State *state)
{
    lua_State *thread = lua_tothread(state, 1);
    luaL_argexpected(state, thread, 1, "thread");
    return thread;
}

int emma_sandbox_resume(lua_State *thread, lua_State *from, int count, int *results)
{
    emma_sandbox *sandbox = emmai_sandbox_of(from);
    lua_State *before = sandbox->current;
    if (emmai_stop_has_spent(thread)) {
        lua_pop(thread, count);
        lua_pushliteral(thread, "cannot resume dead coroutine");
        return LUA_ERRRUN;
    }
    emmai_switch_to(sandbox, thread);
    const int status = lua_resume(thread, from, count, results);
    emmai_switch_to(sandbox, before);
    return status;
}

/* Moves `count` arguments from the top of `state` and resumes; returns the number of results that
 * were moved back, or -1 with the error on top. */
static int library_resume_thread(lua_State *state, lua_State *thread, int count)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    if (!lua_checkstack(thread, count + 1)) {
        lua_pushliteral(state, "too many arguments to resume");
        return -1;
    }
    emmai_library_pass_stop(state, sandbox, LUA_OK);
    lua_xmove(state, thread, count);
    int results;
    const int status = emma_sandbox_resume(thread, state, count, &results);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(thread, state, 1);
        emmai_library_pass_stop(state, sandbox, status);
        return -1;
    }
    emmai_library_pass_stop(state, sandbox, LUA_OK);
    if (!lua_checkstack(state, results + 1)) {
        lua_pop(thread, results);
        lua_pushliteral(state, "too many results to resume");
        return -1;
    }
    lua_xmove(thread, state, results);
    return results;
}

static int library_resume(lua_State *state)
{
    lua_State *thread = library_thread(state);
    const int results = library_resume_thread(state, thread, lua_gettop(state) - 1);
    lua_pushboolean(state, results >= 0);
    lua_insert(state, -(results >= 0 ? results : 1) - 1);
    return (results >= 0 ? results : 1) + 1;
}

/* A thread that is closed goes on counting nested C calls from where it was resumed last, not
 * from where it is closed: a chain of threads that close each other would run through the stack.
 * Most of what is plenty for a call is left. */
#define CLOSE_STACK_MAX_BYTES ((ptrdiff_t)256 * 1024)

static void library_check_stack(lua_State *state, const emma_sandbox *sandbox)
{
    const char *here = __builtin_frame_address(0);
    if (sandbox->stack - here > CLOSE_STACK_MAX_BYTES)
        luaL_error(state, "C stack overflow");
}

/* Closes a thread's variables that are to be closed; with an error, true, and the error on top
 * of `state`. */
static bool library_close_thread(lua_State *state, lua_State *thread)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    emmai_library_pass_stop(state, sandbox, LUA_OK);
    if (emmai_stop_has_spent(thread))
        luaL_error(state, "cannot close a coroutine that was stopped");
    library_check_stack(state, sandbox);
    lua_State *before = sandbox->current;
    emmai_switch_to(sandbox, thread);
    const int status = lua_resetthread(thread);
    emmai_switch_to(sandbox, before);
    if (status == LUA_OK) {
        emmai_library_pass_stop(state, sandbox, LUA_OK);
        return false;
    }
    lua_xmove(thread, state, 1);
    emmai_library_pass_stop(state, sandbox, status);
    return true;
}

/* The function that coroutine.wrap returns; its upvalue is the thread. */
static int library_wrapped(lua_State *state)
{
    lua_State *thread = lua_tothread(state, lua_upvalueindex(1));
    const int results = library_resume_thread(state, thread, lua_gettop(state));
    if (results >= 0)
        return results;
    const int status = lua_status(thread);
    if (status != LUA_OK && status != LUA_YIELD)
        library_close_thread(state, thread); /* its own error, or one of closing, is on top */
    if (status != LUA_ERRMEM && lua_type(state, -1) == LUA_TSTRING) {
        luaL_where(state, 1);
        lua_insert(state, -2);
        lua_concat(state, 2);
    }
    return lua_error(state);
}

static int library_wrap(lua_State *state)
{
    luaL_checktype(state, 1, LUA_TFUNCTION);
    lua_State *thread = lua_newthread(state);
    lua_pushvalue(state, 1);
    lua_xmove(state, thread, 1);
    lua_pushcclosure(state, library_wrapped, 1);
    return 1;
}

/* Suspended or dead threads can be closed: not one that runs, or that waits for one that it
 * resumed. */
static bool library_can_close(lua_State *state, lua_State *thread)
{
    lua_Debug frame;
    if (thread == state)
        return false;
    return lua_status(thread) != LUA_OK || !lua_getstack(thread, 0, &frame);
}

static int library_close(lua_State *state)
{
    lua_State *thread = library_thread(state);
    if (!library_can_close(state, thread))
        return luaL_error(state, "cannot close a %s coroutine",
                          thread == state ? "running" : "normal");
    const bool failed = library_close_thread(state, thread);
    lua_pushboolean(state, !failed);
    if (!failed)
        return 1;
    lua_insert(state, -2);
    return 2;
}

/* ---- Loading, printing, metatables ---- */

/* load(chunk, name, mode, env) where mode can be "t" only; the upvalue is Lua's own, which would
 * not know its name and its caller in messages. */
static int library_load(lua_State *state)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    const int arguments = lua_gettop(state);
    if (!lua_isstring(state, 1))
        luaL_checktype(state, 1, LUA_TFUNCTION);
    luaL_optstring(state, 2, NULL);
    const char *mode = luaL_optstring(state, 3, "bt");
    if (!(sandbox->options.flags & EMMA_SANDBOX_BYTECODE)) {
        if (!strchr(mode, 't')) {
            lua_pushnil(state);
            lua_pushfstring(state, "attempt to load a text chunk (mode is '%s')", mode);
            return 2;
        }
        if (arguments < 3)
            lua_settop(state, 3);
        lua_pushliteral(state, "t");
        lua_replace(state, 3);
    }
    lua_pushvalue(state, lua_upvalueindex(1));
    lua_insert(state, 1);
    lua_call(state, lua_gettop(state) - 1, LUA_MULTRET);
    const bool failed = lua_isnil(state, 1);
    emmai_library_pass_stop(state, sandbox, failed ? LUA_ERRRUN : LUA_OK);
    return lua_gettop(state);
}

/* Hands a line to the host, as one of its functions. */
static int library_emit(lua_State *state)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    size_t bytes;
    const char *text = lua_tolstring(state, 1, &bytes);
    if (sandbox->options.print)
        sandbox->options.print(sandbox->options.print_arg, sandbox, text, bytes);
    else
        fwrite(text, 1, bytes, stdout);
    return 0;
}

/* print(...): what tostring gives for each argument, with tabs between and a newline behind; the
 * upvalue is library_emit. */
static int library_print(lua_State *state)
{
    const int count = lua_gettop(state);
    luaL_Buffer line;
    luaL_buffinit(state, &line);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&line, '\t');
        luaL_tolstring(state, i, NULL);
        luaL_addvalue(&line);
    }
    luaL_addchar(&line, '\n');
    luaL_pushresult(&line);
    lua_pushvalue(state, lua_upvalueindex(1));
    lua_insert(state, -2);
    lua_call(state, 1, 0);
    return 0;
}

/* setmetatable(table, metatable): as Lua's own, but without __gc. What has none now never gets
 * finalized. */
static int library_setmetatable(lua_State *state)
{
    const int type = lua_type(state, 2);
    luaL_checktype(state, 1, LUA_TTABLE);
    luaL_argexpected(state, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(state, 1, "__metatable") != LUA_TNIL)
        return luaL_error(state, "cannot change a protected metatable");
    lua_settop(state, 2);
    if (type == LUA_TTABLE) {
        lua_pushliteral(state, "__gc");
        if (lua_rawget(state, 2) != LUA_TNIL)
            return luaL_error(state, "__gc is not allowed in this sandbox");
        lua_pop(state, 1);
    }
    lua_setmetatable(state, 1);
    return 1;
}

/* ---- Opening ---- */

/* Puts `function` with Lua's own as its upvalue into the table on top of the stack. */
static void library_cover(lua_State *state, const char *name, lua_CFunction function)
{
    lua_getfield(state, -1, name);
    lua_pushcclosure(state, function, 1);
    lua_setfield(state, -2, name);
}

static void library_remove(lua_State *state, const char *name)
{
    lua_pushnil(state);
    lua_setfield(state, -2, name);
}

static void library_fit_base(lua_State *state, const emma_sandbox *sandbox)
{
    static const luaL_Reg own[] = { { "pcall", library_pcall },
                                    { "xpcall", library_xpcall },
                                    { NULL, NULL } };
    luaL_setfuncs(state, own, 0);
    lua_pushcfunction(state, library_emit);
    emmai_host_wrap(state, "print");
    lua_pushcclosure(state, library_print, 1);
    lua_setfield(state, -2, "print");
    library_cover(state, "load", library_load);
    library_remove(state, "dofile");
    library_remove(state, "loadfile");
    if (!(sandbox->options.flags & EMMA_SANDBOX_FINALIZERS)) {
        lua_pushcfunction(state, library_setmetatable);
        lua_setfield(state, -2, "setmetatable");
    }
}

static void library_fit_coroutine(lua_State *state, const emma_sandbox *sandbox)
{
    (void)sandbox;
    static const luaL_Reg own[] = { { "close", library_close },
                                    { "resume", library_resume },
                                    { "wrap", library_wrap },
                                    { NULL, NULL } };
    luaL_setfuncs(state, own, 0);
}

static void library_fit_string(lua_State *state, const emma_sandbox *sandbox)
{
    if (!(sandbox->options.flags & EMMA_SANDBOX_BYTECODE))
        library_remove(state, "dump");
}

static void library_fit_debug(lua_State *state, const emma_sandbox *sandbox)
{
    (void)sandbox;
    library_remove(state, "sethook");
    library_remove(state, "debug");
}

static void library_fit_io(lua_State *state, const emma_sandbox *sandbox)
{
    (void)sandbox;
    emmai_resource_watch_files(state);
}

typedef struct library_entry {
    unsigned flag;
    const char *name;
    lua_CFunction open;
    void (*fit)(lua_State *,
                const emma_sandbox *); /* the library's table is on top; NULL: as it is */
} library_entry;

static const library_entry libraries[] = {
    { EMMA_SANDBOX_BASE, LUA_GNAME, luaopen_base, library_fit_base },
    { EMMA_SANDBOX_PACKAGE, LUA_LOADLIBNAME, luaopen_package, NULL },
    { EMMA_SANDBOX_COROUTINE, LUA_COLIBNAME, luaopen_coroutine, library_fit_coroutine },
    { EMMA_SANDBOX_TABLE, LUA_TABLIBNAME, luaopen_table, NULL },
    { EMMA_SANDBOX_STRING, LUA_STRLIBNAME, luaopen_string, library_fit_string },
    { EMMA_SANDBOX_MATH, LUA_MATHLIBNAME, luaopen_math, NULL },
    { EMMA_SANDBOX_UTF8, LUA_UTF8LIBNAME, luaopen_utf8, NULL },
    { EMMA_SANDBOX_OS, LUA_OSLIBNAME, luaopen_os, NULL },
    { EMMA_SANDBOX_IO, LUA_IOLIBNAME, luaopen_io, library_fit_io },
    { EMMA_SANDBOX_DEBUG, LUA_DBLIBNAME, luaopen_debug, library_fit_debug },
};

static int emmai_library_open(lua_State *state)
{
    const emma_sandbox *sandbox = lua_touserdata(state, 1);
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        const library_entry *library = &libraries[i];
        if (!(sandbox->options.libraries & library->flag))
            continue;
        luaL_requiref(state, library->name, library->open, 1);
        if (library->fit)
            library->fit(state, sandbox);
        lua_pop(state, 1);
    }
    return 0;
}
