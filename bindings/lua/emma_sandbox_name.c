/* emma_sandbox_name.c - names of what scripts see: "a.b.c" is the field c of the table b in the
 * global table a. */
#include "emma_sandbox_internal.h"

#include <string.h>

static const char *emmai_sandbox_name_wrong(const char *name)
{
    if (!name || *name == '\0')
        return "no name";
    const size_t bytes = strlen(name);
    if (name[0] == '.' || name[bytes - 1] == '.' || strstr(name, ".."))
        return "a part of the name is empty";
    return NULL;
}

/* The next part of a name: its length, 0 at the end. */
static size_t name_part(const char *name)
{
    return strcspn(name, ".");
}

static void emmai_sandbox_push_path(lua_State *state, const char *name)
{
    lua_pushglobaltable(state);
    for (const char *part = name;; part++) {
        if (!lua_istable(state, -1))
            luaL_error(state, "%s: what is before '%s' is not a table", name, part);
        lua_pushlstring(state, part, name_part(part));
        lua_rawget(state, -2);
        lua_remove(state, -2);
        part += name_part(part);
        if (*part == '\0')
            return;
    }
}

static void emmai_sandbox_set_path(lua_State *state, const char *name)
{
    const int value = lua_gettop(state);
    lua_pushglobaltable(state);
    for (const char *part = name;; part++) {
        lua_pushlstring(state, part, name_part(part));
        part += name_part(part);
        if (*part == '\0')
            break;
        lua_pushvalue(state, -1);
        if (lua_rawget(state, -3) == LUA_TNIL) {
            lua_pop(state, 1);
            lua_newtable(state);
            lua_pushvalue(state, -2);
            lua_pushvalue(state, -2);
            lua_rawset(state, -5);
        }
        if (!lua_istable(state, -1))
            luaL_error(state, "%s: what is before '%s' is not a table", name, part + 1);
        lua_replace(state, -3);
        lua_pop(state, 1);
    }
    lua_pushvalue(state, value);
    lua_rawset(state, -3);
    lua_settop(state, value - 1);
}
