/* emma_lua.h - emma as the allocator of a Lua state.
 *
 *     emma_options options = EMMA_LUA_OPTIONS_INIT;
 *     emma *instance = emma_create(&options);
 *     lua_State *state = lua_newstate(emma_lua_alloc, instance);
 *
 * One function serves Lua 5.1 to 5.5 and LuaJIT; it needs no Lua header, no C library and nothing
 * of emma but emma.h. The instance must outlive the state, and it may hold other blocks of the
 * host's too. A state whose finalizers need not run can be thrown away without lua_close:
 * emma_destroy takes all of it.
 *
 * What lua_newstate leaves to its host and luaL_newstate would do: a panic function (lua_atpanic),
 * and from 5.4 on one for warnings (lua_setwarnf). LuaJIT up to 2.1 crashes in lua_newstate when
 * one of its first allocations fails, and after a failed allocation it may free a block of 48
 * bytes as one of 40, which a build with EMMA_CHECKS reports.
 *
 * With EMMA_PREFIX, emma_lua_alloc bears the prefix as emma's own symbols do. */
#ifndef EMMA_LUA_H
#define EMMA_LUA_H

#include "emma.h"

#ifdef EMMA_PREFIX
#define emma_lua_alloc EMMA_PASTE(EMMA_PREFIX, emma_lua_alloc)
#endif

/* The instance flags that suit the Lua whose lua.h is included where this macro is used. Up to 5.4
 * no object of Lua needs more than 8-byte alignment, and steps of 8 bytes save memory (a table is
 * 56 bytes). From 5.5 on a userdata may hold a long double, and its free does not tell that it was
 * one: 16 for all. */
#define EMMA_LUA_FLAGS (LUA_VERSION_NUM <= 504 ? (unsigned)EMMA_ALIGN8 : 0u)

/* emma_options for an instance that holds a Lua state: no limit, the flags above. */
#define EMMA_LUA_OPTIONS_INIT EMMA_OPTIONS_WITH(EMMA_LUA_FLAGS, "lua")

#ifdef __cplusplus
extern "C" {
#endif

/* Does what Lua asks of a lua_Alloc: `instance` is an emma *, never NULL. `nsize` 0 frees `ptr`
 * (NULL: nothing) and returns NULL. Else `ptr` NULL allocates; `osize` is then a type tag, or 0,
 * and unused. Else it resizes; `osize` is the size that was asked for last, which a build with
 * EMMA_CHECKS verifies and none relies on. Returns NULL, with the old block intact, where
 * emma_malloc and emma_realloc do; never when nsize is at most osize. Threads: as the
 * instance's. */
EMMA_API void *emma_lua_alloc(void *instance, void *ptr, size_t osize, size_t nsize);

#ifdef __cplusplus
}
#endif

#endif
