/* emma_sandbox_resource.c - what scripts hold outside of the interpreter: the list, and files of
 * the io library on it. The list is the host's memory: it is not rolled back, it tells what to
 * release when the rest is. */
#include "emma_sandbox_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The place of a resource in the list; resource_count: it is not there. */
static size_t resource_find(const emma_sandbox *sandbox, const void *resource)
{
    size_t i = sandbox->resource_count;
    while (i-- > 0)
        if (sandbox->resources[i].resource == resource)
            return i;
    return sandbox->resource_count;
}

#define RESOURCES_AT_FIRST ((size_t)8)

static bool resource_make_room(emma_sandbox *sandbox)
{
    if (sandbox->resource_count < sandbox->resource_room)
        return true;
    const size_t room = sandbox->resource_room ? sandbox->resource_room * 2 : RESOURCES_AT_FIRST;
    emmai_resource *resources = realloc(sandbox->resources, room * sizeof *resources);
    if (!resources)
        return false;
    sandbox->resources = resources;
    sandbox->resource_room = room;
    return true;
}

enum emma_sandbox_status emma_sandbox_hold(emma_sandbox *sandbox, void *resource,
                                           void (*release)(void *resource))
{
    emmai_sandbox_clear(sandbox);
    if (!resource || !release)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "resource or release: NULL");
    if (resource_find(sandbox, resource) < sandbox->resource_count)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "resource: held already");
    if (!resource_make_room(sandbox))
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_MEMORY, "the host has no memory");
    sandbox->resources[sandbox->resource_count++] =
        (emmai_resource){ resource, release, emmai_sandbox_level(sandbox) };
    return EMMA_SANDBOX_DONE;
}

enum emma_sandbox_status emma_sandbox_let_go(emma_sandbox *sandbox, const void *resource)
{
    const size_t place = resource_find(sandbox, resource);
    emmai_sandbox_clear(sandbox);
    if (place == sandbox->resource_count)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID, "resource: not held");
    if (sandbox->resources[place].level < emmai_sandbox_level(sandbox))
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_INVALID,
                                    "resource: held since before the last checkpoint");
    sandbox->resource_count--;
    memmove(&sandbox->resources[place], &sandbox->resources[place + 1],
            (sandbox->resource_count - place) * sizeof sandbox->resources[0]);
    return EMMA_SANDBOX_DONE;
}

static void emmai_resource_release(emma_sandbox *sandbox, unsigned level)
{
    while (sandbox->resource_count &&
           sandbox->resources[sandbox->resource_count - 1].level >= level) {
        const emmai_resource last = sandbox->resources[--sandbox->resource_count];
        last.release(last.resource);
    }
}

/* ---- Files ---- */

/* A file that a script opened: on the list as long as it did not close it. */
typedef struct resource_file {
    FILE *file;
    bool is_pipe;
} resource_file;

static void resource_close_file(void *resource)
{
    resource_file *opened = resource;
    if (opened->is_pipe)
        pclose(opened->file);
    else
        fclose(opened->file);
    free(opened);
}

static resource_file *resource_find_file(const emma_sandbox *sandbox, const FILE *file)
{
    for (size_t i = sandbox->resource_count; i-- > 0;) {
        resource_file *opened = sandbox->resources[i].resource;
        if (sandbox->resources[i].release == resource_close_file && opened->file == file)
            return opened;
    }
    return NULL;
}

/* What the io library calls to close such a file. */
static int resource_on_close(lua_State *state)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    luaL_Stream *stream = luaL_checkudata(state, 1, LUA_FILEHANDLE);
    resource_file *opened = resource_find_file(sandbox, stream->f);
    if (!opened || emma_sandbox_let_go(sandbox, opened) != EMMA_SANDBOX_DONE) {
        stream->closef = resource_on_close; /* which was taken out: that closes it for scripts */
        return luaL_error(state, "the file was opened before the checkpoint: it stays open");
    }
    const bool is_pipe = opened->is_pipe;
    free(opened);
    errno = 0; /* luaL_execresult takes any for pclose's */
    return is_pipe ? luaL_execresult(state, pclose(stream->f))
                   : luaL_fileresult(state, fclose(stream->f) == 0, NULL);
}

/* Puts the file at an index on the list, unless it is there, is closed, or is one of the
 * process's three. */
static void resource_adopt(lua_State *state, int index, bool is_pipe)
{
    emma_sandbox *sandbox = emmai_sandbox_of(state);
    luaL_Stream *stream = luaL_testudata(state, index, LUA_FILEHANDLE);
    if (!stream || !stream->closef || stream->closef == resource_on_close || stream->f == stdin ||
        stream->f == stdout || stream->f == stderr)
        return;
    resource_file *opened = malloc(sizeof *opened);
    if (opened) {
        *opened = (resource_file){ stream->f, is_pipe };
        if (emma_sandbox_hold(sandbox, opened, resource_close_file) == EMMA_SANDBOX_DONE) {
            stream->closef = resource_on_close;
            return;
        }
        free(opened);
    }
    luaL_error(state, "the host has no memory for one file more"); /* its collection closes it */
}

/* Stands before each function of the io library, which is its first upvalue, within a function
 * of the host's: C's streams have locks, and a file must not be lost between its opening and the
 * list. For that the function is called by C, too: as its frame ended, a hook could raise an
 * error. What it returns can be a file, or a function that reads lines. */
static int resource_io(lua_State *state)
{
    const bool is_pipe = lua_toboolean(state, lua_upvalueindex(2));
    const lua_CFunction function = lua_tocfunction(state, lua_upvalueindex(1));
    const int count = function(state);
    const int first = lua_gettop(state) - count + 1;
    for (int i = 0; i < count; i++)
        resource_adopt(state, first + i, is_pipe);
    if (count && lua_iscfunction(state, first)) {
        lua_pushvalue(state, first);
        emmai_host_wrap(state, "lines");
        lua_replace(state, first);
    }
    return count;
}

/* Covers each function of the table on top of the stack. */
static void resource_cover(lua_State *state)
{
    const int table = lua_gettop(state);
    for (lua_pushnil(state); lua_next(state, table);) {
        if (!lua_iscfunction(state, -1)) {
            lua_pop(state, 1);
            continue;
        }
        const char *name = lua_tostring(state, -2);
        lua_pushboolean(state, strcmp(name, "popen") == 0);
        lua_pushcclosure(state, resource_io, 2);
        emmai_host_wrap(state, name);
        lua_pushvalue(state, -2);
        lua_insert(state, -2);
        lua_rawset(state, table); /* of a key that is there: the traversal goes on */
    }
}

static void emmai_resource_watch_files(lua_State *state)
{
    resource_cover(state);
    luaL_getmetatable(state, LUA_FILEHANDLE);
    resource_cover(state);
    lua_getfield(state, -1, "__index");
    resource_cover(state);
    lua_pop(state, 2);
}
