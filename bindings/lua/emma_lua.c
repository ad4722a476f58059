/* emma_lua.c - the lua_Alloc function; emma_lua.h tells its contract.
 *
 * emma_resize has the same four arguments in the same order and the same cases, so this is one
 * jump: all that Lua asks for is in the core's fast path. */
#include "emma_lua.h"

void *emma_lua_alloc(void *instance, void *ptr, size_t osize, size_t nsize)
{
    return emma_resize(instance, ptr, osize, nsize);
}
