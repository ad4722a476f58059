/* emma_sandbox_value.c - values into the interpreter and out of it, by copy. Results lie in
 * pieces of host memory that belong to the sandbox. No metamethod runs. */
#include "emma_sandbox_internal.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Into the interpreter ---- */

static const char *value_wrong_pairs(const emma_sandbox_value *value, unsigned depth)
{
    if (depth == 0)
        return "more tables in tables than value_depth allows";
    if (value->as.pairs.count && !value->as.pairs.items)
        return "pairs without items";
    for (size_t i = 0; i < value->as.pairs.count; i++) {
        const emma_sandbox_pair *pair = &value->as.pairs.items[i];
        if (pair->key.type == EMMA_SANDBOX_NIL)
            return "a key that is nil";
        if (pair->key.type == EMMA_SANDBOX_FLOAT && isnan(pair->key.as.number))
            return "a key that is not a number (NaN)";
        const char *wrong = emmai_value_wrong(&pair->key, depth - 1);
        if (!wrong)
            wrong = emmai_value_wrong(&pair->value, depth - 1);
        if (wrong)
            return wrong;
    }
    return NULL;
}

static const char *emmai_value_wrong(const emma_sandbox_value *value, unsigned depth)
{
    switch (value->type) {
    case EMMA_SANDBOX_NIL:
    case EMMA_SANDBOX_BOOLEAN:
    case EMMA_SANDBOX_INTEGER:
    case EMMA_SANDBOX_FLOAT:
        return NULL;
    case EMMA_SANDBOX_TEXT:
        if (value->as.text.bytes > PTRDIFF_MAX)
            return "a text that is too large";
        return value->as.text.bytes && !value->as.text.data ? "a text without data" : NULL;
    case EMMA_SANDBOX_PAIRS:
        return value_wrong_pairs(value, depth);
    }
    return "an unknown type";
}

/* How many of the first entries are those of a list: 1, 2, 3 and so on. */
static size_t value_count_listed(const emma_sandbox_value *value)
{
    const emma_sandbox_pair *items = value->as.pairs.items;
    size_t i = 0;
    while (i < value->as.pairs.count && items[i].key.type == EMMA_SANDBOX_INTEGER &&
           items[i].key.as.integer == (int64_t)i + 1)
        i++;
    return i;
}

static int value_hint(size_t count)
{
    return count < INT_MAX ? (int)count : INT_MAX;
}

static void value_push_pairs(lua_State *state, const emma_sandbox_value *value)
{
    luaL_checkstack(state, 3, "tables in tables");
    const size_t listed = value_count_listed(value);
    lua_createtable(state, value_hint(listed), value_hint(value->as.pairs.count - listed));
    for (size_t i = 0; i < value->as.pairs.count; i++) {
        emma_sandbox_push(state, &value->as.pairs.items[i].key);
        emma_sandbox_push(state, &value->as.pairs.items[i].value);
        lua_rawset(state, -3);
    }
}

void emma_sandbox_push(lua_State *state, const emma_sandbox_value *value)
{
    switch (value->type) {
    case EMMA_SANDBOX_NIL:
        lua_pushnil(state);
        break;
    case EMMA_SANDBOX_BOOLEAN:
        lua_pushboolean(state, value->as.boolean);
        break;
    case EMMA_SANDBOX_INTEGER:
        lua_pushinteger(state, value->as.integer);
        break;
    case EMMA_SANDBOX_FLOAT:
        lua_pushnumber(state, value->as.number);
        break;
    case EMMA_SANDBOX_TEXT:
        lua_pushlstring(state, value->as.text.bytes ? value->as.text.data : "",
                        value->as.text.bytes);
        break;
    case EMMA_SANDBOX_PAIRS:
        value_push_pairs(state, value);
        break;
    }
}

/* ---- Out of it ---- */

#define PIECE_LEAST_BYTES ((size_t)1024)
#define PIECE_ALIGN_BYTES ((size_t)16)

/* A new piece, first of the list; NULL: the host has no memory. Not to be left in the middle: where
 * Lua is linked into the program itself, the kit's code is not told from Lua's. */
static emmai_piece *value_add_piece(emma_sandbox *sandbox, size_t size_bytes)
{
    emmai_host_enter(sandbox);
    emmai_piece *piece = malloc(sizeof *piece + size_bytes);
    if (piece) {
        piece->next = sandbox->pieces;
        piece->used_bytes = 0;
        piece->size_bytes = size_bytes;
        sandbox->pieces = piece;
    }
    emmai_host_leave(sandbox);
    return piece;
}

/* Host memory for results; raises an error when that is more than value_bytes. */
static void *value_room(lua_State *state, emma_sandbox *sandbox, size_t bytes)
{
    const size_t most = sandbox->options.value_bytes;
    if (bytes > most || sandbox->pieces_bytes > most - bytes)
        luaL_error(state, "the %ss are larger than %I bytes (value_bytes)", sandbox->taken,
                   (LUAI_UACINT)most);
    bytes = (bytes + PIECE_ALIGN_BYTES - 1) & ~(PIECE_ALIGN_BYTES - 1);
    sandbox->pieces_bytes += bytes;
    emmai_piece *piece = sandbox->pieces;
    if (!piece || piece->size_bytes - piece->used_bytes < bytes)
        piece = value_add_piece(sandbox, bytes < PIECE_LEAST_BYTES ? PIECE_LEAST_BYTES : bytes);
    if (!piece) {
        emmai_stop_note(sandbox, EMMA_SANDBOX_MEMORY);
        luaL_error(state, "the host has no memory for the %ss", sandbox->taken);
        return NULL;
    }
    void *room = piece->bytes + piece->used_bytes;
    piece->used_bytes += bytes;
    return room;
}

static void value_take(lua_State *state, emma_sandbox *sandbox, int index, unsigned depth,
                       emma_sandbox_value *out);

/* Before what is taken, in messages. */
static const char *value_article(const emma_sandbox *sandbox)
{
    return sandbox->taken[0] == 'a' ? "an" : "a";
}

static size_t value_count_pairs(lua_State *state, int index)
{
    size_t count = 0;
    for (lua_pushnil(state); lua_next(state, index); lua_pop(state, 1))
        count++;
    return count;
}

static void value_take_pairs(lua_State *state, emma_sandbox *sandbox, int index, unsigned depth,
                             emma_sandbox_value *out)
{
    if (depth == 0)
        luaL_error(state, "%s %s has more tables in tables than %d (value_depth)",
                   value_article(sandbox), sandbox->taken, (int)sandbox->options.value_depth);
    luaL_checkstack(state, LUA_MINSTACK, "tables in tables");
    const int top = lua_gettop(state);
    const size_t count = value_count_pairs(state, index);
    if (count > SIZE_MAX / sizeof(emma_sandbox_pair))
        luaL_error(state, "a table of %s %s has too many entries", value_article(sandbox),
                   sandbox->taken);
    emma_sandbox_pair *items = value_room(state, sandbox, count * sizeof *items);
    out->type = EMMA_SANDBOX_PAIRS;
    out->as.pairs.items = items;
    out->as.pairs.count = 0;
    size_t i = 0;
    for (lua_pushnil(state); i < count && lua_next(state, index); lua_pop(state, 1), i++) {
        value_take(state, sandbox, lua_gettop(state) - 1, depth - 1, &items[i].key);
        value_take(state, sandbox, lua_gettop(state), depth - 1, &items[i].value);
    }
    lua_settop(state, top);
    out->as.pairs.count = i; /* a collection meanwhile takes entries out of weak tables */
}

static void value_take_text(lua_State *state, emma_sandbox *sandbox, int index,
                            emma_sandbox_value *out)
{
    size_t bytes;
    const char *text = lua_tolstring(state, index, &bytes);
    char *copy = value_room(state, sandbox, bytes + 1);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    out->type = EMMA_SANDBOX_TEXT;
    out->as.text.data = copy;
    out->as.text.bytes = bytes;
}

static void value_take(lua_State *state, emma_sandbox *sandbox, int index, unsigned depth,
                       emma_sandbox_value *out)
{
    switch (lua_type(state, index)) {
    case LUA_TNIL:
        out->type = EMMA_SANDBOX_NIL;
        break;
    case LUA_TBOOLEAN:
        out->type = EMMA_SANDBOX_BOOLEAN;
        out->as.boolean = lua_toboolean(state, index);
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(state, index)) {
            out->type = EMMA_SANDBOX_INTEGER;
            out->as.integer = lua_tointeger(state, index);
        } else {
            out->type = EMMA_SANDBOX_FLOAT;
            out->as.number = lua_tonumber(state, index);
        }
        break;
    case LUA_TSTRING:
        value_take_text(state, sandbox, index, out);
        break;
    case LUA_TTABLE:
        value_take_pairs(state, sandbox, index, depth, out);
        break;
    default:
        luaL_error(state,
                   "%s %s is or has a %s: only nil, booleans, numbers, strings and tables can be "
                   "handed over",
                   value_article(sandbox), sandbox->taken, luaL_typename(state, index));
    }
}

static emma_sandbox_value *emmai_value_take_all(lua_State *state, emma_sandbox *sandbox, int first,
                                                const char *what)
{
    const int last = lua_gettop(state);
    sandbox->taken = what;
    if (last < first)
        return NULL;
    emma_sandbox_value *values =
        value_room(state, sandbox, (size_t)(last - first + 1) * sizeof *values);
    for (int index = first; index <= last; index++)
        value_take(state, sandbox, index, sandbox->options.value_depth, &values[index - first]);
    return values;
}

static emmai_place emmai_value_place(const emma_sandbox *sandbox)
{
    const emmai_piece *piece = sandbox->pieces;
    return (emmai_place){ piece, piece ? piece->used_bytes : 0, sandbox->pieces_bytes };
}

static void emmai_value_go_back(emma_sandbox *sandbox, const emmai_place *place)
{
    while (sandbox->pieces != place->piece) {
        emmai_piece *piece = sandbox->pieces;
        sandbox->pieces = piece->next;
        free(piece);
    }
    if (sandbox->pieces)
        sandbox->pieces->used_bytes = place->used_bytes;
    sandbox->pieces_bytes = place->pieces_bytes;
}
