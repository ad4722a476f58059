/* emma_module_values.h - values of a Lua state's as emma's, and back. Included by the
 * wrapper that SWIG writes. What fails leaves a message on top of the stack; nothing raises
 * an error, unless it says so. */
#ifndef EMMA_MODULE_VALUES_H
#define EMMA_MODULE_VALUES_H

#include <lauxlib.h>
#include <lua.h>

#include "emma_control.h"

/* Stack slots that a look at a value needs. */
#define EMMA_VALUE_SLOTS 4

static bool emma_refuse(lua_State *state, const char *what)
{
    lua_pushstring(state, what);
    return false;
}

/* ---- From Lua ---- */

static const char *emma_no_memory(const control_arena *arena)
{
    return control_arena_is_full(arena) ? "it is more than the sandbox has memory for"
                                        : "the system refuses memory";
}

static const char *emma_value_from_lua(lua_State *state, int index, control_arena *arena,
                                       unsigned depth, emma_sandbox_value *value);

/* An entry: key and value on top of the stack. */
static const char *emma_pair_from_lua(lua_State *state, control_arena *arena, unsigned depth,
                                      emma_sandbox_pair *pair)
{
    const int top = lua_gettop(state);
    const char *wrong = emma_value_from_lua(state, top - 1, arena, depth, &pair->key);
    return wrong ? wrong : emma_value_from_lua(state, top, arena, depth, &pair->value);
}

static const char *emma_table_from_lua(lua_State *state, int index, control_arena *arena,
                                       unsigned depth, emma_sandbox_value *value)
{
    if (depth == 0)
        return "more tables in tables than value_depth allows";
    if (!lua_checkstack(state, EMMA_VALUE_SLOTS))
        return "no room on the stack";
    size_t count = 0;
    for (lua_pushnil(state); lua_next(state, index); lua_pop(state, 1))
        count++;
    emma_sandbox_pair *pairs = control_begin_pairs(arena, value, count);
    if (!pairs)
        return emma_no_memory(arena);
    const int top = lua_gettop(state);
    const char *wrong = NULL;
    size_t i = 0;
    for (lua_pushnil(state); !wrong && i < count && lua_next(state, index); lua_pop(state, 1))
        wrong = emma_pair_from_lua(state, arena, depth - 1, &pairs[i++]);
    lua_settop(state, top);
    value->as.pairs.count = i;
    return wrong;
}

/* The value at an absolute index; NULL, or what is wrong with it. */
static const char *emma_value_from_lua(lua_State *state, int index, control_arena *arena,
                                       unsigned depth, emma_sandbox_value *value)
{
    size_t bytes;
    const char *text;
    switch (lua_type(state, index)) {
    case LUA_TNIL:
        value->type = EMMA_SANDBOX_NIL;
        return NULL;
    case LUA_TBOOLEAN:
        value->type = EMMA_SANDBOX_BOOLEAN;
        value->as.boolean = lua_toboolean(state, index);
        return NULL;
    case LUA_TNUMBER:
        value->type = lua_isinteger(state, index) ? EMMA_SANDBOX_INTEGER : EMMA_SANDBOX_FLOAT;
        if (value->type == EMMA_SANDBOX_INTEGER)
            value->as.integer = lua_tointeger(state, index);
        else
            value->as.number = lua_tonumber(state, index);
        return NULL;
    case LUA_TSTRING:
        text = lua_tolstring(state, index, &bytes);
        return control_set_text(arena, value, text, bytes) ? NULL : emma_no_memory(arena);
    case LUA_TTABLE:
        return emma_table_from_lua(state, index, arena, depth, value);
    default:
        return "only nil, booleans, numbers, strings and tables can be handed over";
    }
}

/* Values from stack index `first` on, `count` of them; false: a message is on the stack. */
static bool emma_values_take(lua_State *state, int first, int count, unsigned depth,
                             control_values *values)
{
    values->items = control_arena_take(&values->arena, (size_t)count * sizeof *values->items);
    if (!values->items)
        return emma_refuse(state, "the system refuses memory");
    for (int i = 0; i < count; i++) {
        const char *wrong =
            emma_value_from_lua(state, first + i, &values->arena, depth, &values->items[i]);
        if (wrong) {
            lua_pushfstring(state, "argument %d: %s", i + 1, wrong);
            return false;
        }
    }
    values->count = (size_t)count;
    return true;
}

/* A table as table.pack makes it. May raise an error for want of memory, with nothing taken yet. */
static bool emma_values_from_lua(lua_State *state, int index, control_values *values,
                                 control_sandbox *sandbox)
{
    control_sandbox_bound(sandbox, &values->arena);
    if (!lua_istable(state, index))
        return emma_refuse(state, "arguments: not a table");
    lua_getfield(state, index, "n");
    const lua_Integer count = lua_tointeger(state, -1);
    lua_pop(state, 1);
    if (count < 0 || count > INT16_MAX || !lua_checkstack(state, (int)count + EMMA_VALUE_SLOTS))
        return emma_refuse(state, "too many arguments");
    const int first = lua_gettop(state) + 1;
    for (lua_Integer i = 1; i <= count; i++)
        lua_rawgeti(state, index, i);
    const bool good =
        emma_values_take(state, first, (int)count, control_sandbox_depth(sandbox), values);
    if (good)
        lua_settop(state, first - 1);
    return good;
}

static bool emma_values_from_one(lua_State *state, int index, control_values *values,
                                 control_sandbox *sandbox)
{
    control_sandbox_bound(sandbox, &values->arena);
    const char *wrong = "the system refuses memory";
    values->items = control_arena_take(&values->arena, sizeof *values->items);
    values->count = 1;
    if (values->items)
        wrong = emma_value_from_lua(state, index, &values->arena, control_sandbox_depth(sandbox),
                                    values->items);
    if (wrong)
        lua_pushfstring(state, "value: %s", wrong);
    return !wrong;
}

/* ---- Names and numbers ---- */

static bool emma_number_from_lua(lua_State *state, int index, const char *parameter,
                                 lua_Integer most, lua_Integer *number)
{
    int is_integer;
    *number = lua_tointegerx(state, index, &is_integer);
    if (lua_type(state, index) != LUA_TNUMBER) {
        lua_pushfstring(state, "%s: a number, not %s", parameter, luaL_typename(state, index));
        return false;
    }
    if (is_integer && *number >= 0 && *number <= most)
        return true;
    lua_pushvalue(state, index);
    lua_pushfstring(state, "%s: %s is not a whole number from 0 to %I", parameter,
                    lua_tostring(state, -1), (LUAI_UACINT)most);
    return false;
}

/* nil: no limit. */
static bool emma_limit_from_lua(lua_State *state, int index, const char *parameter, size_t *bytes)
{
    lua_Integer number;
    *bytes = EMMA_UNLIMITED;
    if (lua_isnil(state, index))
        return true;
    if (!emma_number_from_lua(state, index, parameter, LUA_MAXINTEGER, &number))
        return false;
    *bytes = (size_t)number;
    return true;
}

/* nil: NULL. */
static bool emma_text_from_lua(lua_State *state, int index, const char **text, size_t *bytes)
{
    *text = NULL;
    *bytes = 0;
    if (lua_isnil(state, index))
        return true;
    if (lua_type(state, index) != LUA_TSTRING) {
        lua_pushfstring(state, "text: a string, not %s", luaL_typename(state, index));
        return false;
    }
    *text = lua_tolstring(state, index, bytes);
    return true;
}

static bool emma_name_from_lua(lua_State *state, int index, const char *parameter,
                               const char **name)
{
    size_t bytes = 0;
    *name = NULL;
    if (lua_isnil(state, index))
        return true;
    if (lua_type(state, index) == LUA_TSTRING)
        *name = lua_tolstring(state, index, &bytes);
    if (*name && strlen(*name) == bytes)
        return true;
    lua_pushfstring(
        state, *name ? "%s: a string without a null character, not %s" : "%s: a string, not %s",
        parameter, luaL_typename(state, index));
    return false;
}

/* May raise errors. */
static void emma_values_to_lua(lua_State *state, const emma_sandbox_value *items, size_t count)
{
    luaL_checkstack(state, count < INT_MAX / 2 ? (int)count : INT_MAX / 2, "too many values");
    for (size_t i = 0; i < count; i++)
        emma_sandbox_push(state, &items[i]);
}

#endif
