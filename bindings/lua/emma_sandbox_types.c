/* emma_sandbox_types.c - bytes by type: all that can be reached from the registry is visited, each
 * object once, and the block that it lies in, which emma's walk tells, is of its type. What no
 * object lies in is the rest.
 *
 * The way down is on Lua's stack (the object, and what lua_next needs), its state in frames of
 * host memory. Where that stack ends, at some 300,000 tables in tables, what is deeper counts as
 * rest. */
#include "emma_sandbox_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct types_block {
    uintptr_t low;
    size_t bytes;
    int type; /* LUA_T...; LUA_TNONE: no object that was reached */
} types_block;

/* An object on the way down. */
typedef struct types_frame {
    int index; /* on Lua's stack */
    int type;
    int step;    /* how many of its parts were looked at */
    int level;   /* of a thread: the function whose locals are looked at */
    bool at_key; /* of a table: the next part is the key that lua_next gave */
} types_frame;

typedef struct types_walk {
    emma_sandbox *sandbox;
    types_block *blocks; /* by address */
    size_t count;
    size_t room;
    types_frame *frames;
    size_t depth;
    size_t frame_room;
} types_walk;

static bool types_note_block(void *arg, void *block, size_t bytes)
{
    types_walk *walk = arg;
    if (walk->count == walk->room)
        return false;
    walk->blocks[walk->count++] = (types_block){ (uintptr_t)block, bytes, LUA_TNONE };
    return true;
}

/* The block that an address lies in; NULL: none. */
static types_block *types_find(const types_walk *walk, const void *address)
{
    const uintptr_t at = (uintptr_t)address;
    size_t low = 0, high = walk->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (walk->blocks[middle].low <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || at - walk->blocks[low - 1].low >= walk->blocks[low - 1].bytes)
        return NULL;
    return &walk->blocks[low - 1];
}

static const void *types_address(lua_State *state)
{
    switch (lua_type(state, -1)) {
    case LUA_TSTRING:
    case LUA_TTABLE:
    case LUA_TFUNCTION:
    case LUA_TTHREAD:
    case LUA_TUSERDATA:
        return lua_topointer(state, -1);
    default:
        return NULL;
    }
}

static bool types_push_frame(types_walk *walk, types_frame frame)
{
    if (walk->depth == walk->frame_room) {
        const size_t room = walk->frame_room ? walk->frame_room * 2 : 64;
        emmai_host_enter(walk->sandbox);
        types_frame *frames = realloc(walk->frames, room * sizeof *frames);
        if (frames) {
            walk->frames = frames;
            walk->frame_room = room;
        }
        emmai_host_leave(walk->sandbox);
        if (!frames)
            return false;
    }
    walk->frames[walk->depth++] = frame;
    return true;
}

/* Takes the value on top of the stack as the next object on the way down, if it is one that was
 * not seen. */
static void types_enter(types_walk *walk, lua_State *state)
{
    const void *address = types_address(state);
    types_block *block = address ? types_find(walk, address) : NULL;
    if (block && block->type == LUA_TNONE) {
        block->type = lua_type(state, -1);
        const types_frame frame = { .index = lua_gettop(state), .type = block->type };
        if (block->type != LUA_TSTRING && lua_checkstack(state, LUA_MINSTACK) &&
            types_push_frame(walk, frame)) {
            if (frame.type == LUA_TTABLE)
                lua_pushnil(state);
            return;
        }
    }
    lua_pop(state, 1);
}

/* Each of these puts the next part of the object of the innermost frame on the stack; false:
 * there is no more. */

static bool types_next_of_table(types_frame *frame, lua_State *state)
{
    if (frame->step++ == 0 && lua_getmetatable(state, frame->index))
        return true;
    if (frame->at_key) {
        lua_pushvalue(state, -1);
        frame->at_key = false;
        return true;
    }
    frame->at_key = true;
    return lua_next(state, frame->index);
}

static bool types_next_of_userdata(types_frame *frame, lua_State *state)
{
    if (frame->step++ == 0 && lua_getmetatable(state, frame->index))
        return true;
    return lua_getiuservalue(state, frame->index, frame->step) != LUA_TNONE;
}

/* What is on a thread's own stack, then the locals and temporaries of its functions. */
static bool types_next_of_thread(types_frame *frame, lua_State *state)
{
    lua_State *thread = lua_tothread(state, frame->index);
    if (thread == state || !lua_checkstack(thread, 1))
        return false;
    frame->step++;
    if (frame->level == 0 && frame->step <= lua_gettop(thread)) {
        lua_pushvalue(thread, frame->step);
        lua_xmove(thread, state, 1);
        return true;
    }
    lua_Debug function;
    if (frame->level == 0) {
        frame->level = 1;
        frame->step = 1;
    }
    for (; lua_getstack(thread, frame->level - 1, &function); frame->level++, frame->step = 1) {
        if (!lua_getlocal(thread, &function, frame->step))
            continue;
        lua_xmove(thread, state, 1);
        return true;
    }
    return false;
}

static bool types_next(types_frame *frame, lua_State *state)
{
    switch (frame->type) {
    case LUA_TTABLE:
        return types_next_of_table(frame, state);
    case LUA_TUSERDATA:
        return types_next_of_userdata(frame, state);
    case LUA_TTHREAD:
        return types_next_of_thread(frame, state);
    default:
        return lua_getupvalue(state, frame->index, ++frame->step) != NULL;
    }
}

/* Visits all that the value on top of the stack leads to; it is popped. */
static void types_visit(types_walk *walk, lua_State *state)
{
    types_enter(walk, state);
    while (walk->depth) {
        types_frame *frame = &walk->frames[walk->depth - 1];
        if (types_next(frame, state)) {
            types_enter(walk, state);
            continue;
        }
        lua_settop(state, frame->index - 1);
        walk->depth--;
    }
}

static int types_collect(lua_State *state)
{
    types_walk *walk = lua_touserdata(state, 1);
    luaL_checkstack(state, LUA_MINSTACK, NULL);
    lua_pushliteral(state, LUA_GNAME); /* any string, but one that is there */
    if (lua_getmetatable(state, -1))
        types_visit(walk, state);
    lua_pushvalue(state, LUA_REGISTRYINDEX);
    types_visit(walk, state);
    return 0;
}

static void types_sum(const types_walk *walk, emma_sandbox_type_bytes *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < walk->count; i++) {
        const types_block *block = &walk->blocks[i];
        size_t *sum = &out->rest;
        switch (block->type) {
        case LUA_TSTRING:
            sum = &out->strings;
            break;
        case LUA_TTABLE:
            sum = &out->tables;
            break;
        case LUA_TFUNCTION:
            sum = &out->functions;
            break;
        case LUA_TUSERDATA:
            sum = &out->userdata;
            break;
        case LUA_TTHREAD:
            sum = &out->threads;
            break;
        default:
            break;
        }
        *sum += block->bytes;
    }
}

enum emma_sandbox_status emma_sandbox_get_type_bytes(emma_sandbox *sandbox,
                                                     emma_sandbox_type_bytes *out)
{
    const enum emma_sandbox_status begins = emmai_sandbox_begin(sandbox);
    if (begins != EMMA_SANDBOX_DONE)
        return begins;
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(sandbox->instance, &stats);
    types_walk walk = { .sandbox = sandbox, .room = stats.live_blocks };
    walk.blocks = malloc((walk.room + 1) * sizeof walk.blocks[0]);
    if (!walk.blocks)
        return emmai_sandbox_refuse(sandbox, EMMA_SANDBOX_MEMORY, "the host has no memory");
    emma_walk(sandbox->instance, types_note_block, &walk);
    const enum emma_sandbox_status status =
        emmai_sandbox_protect(sandbox, types_collect, &walk, &EMMAI_WINDOW_OWN);
    if (status == EMMA_SANDBOX_DONE)
        types_sum(&walk, out);
    free(walk.blocks);
    free(walk.frames);
    return status;
}
