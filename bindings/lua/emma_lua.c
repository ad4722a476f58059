/* emma_lua.c - the lua_Alloc function; emma_lua.h tells its contract.
 *
 * Every path but the free ends in a tail call whose arguments are in their registers already, so
 * that nothing is pushed. The free cannot: Lua keeps what a shrink to nothing returns as the
 * vector's new address, so it has to be NULL, and emma_free_sized returns nothing. */
#include "emma_lua.h"

void *emma_lua_alloc(void *instance, void *ptr, size_t osize, size_t nsize) {
    if (ptr == NULL) /* first: Lua frees NULL once per table */
        return nsize != 0 ? emma_malloc(instance, nsize) : NULL;
    if (nsize != 0)
        return emma_realloc_sized(instance, ptr, osize, nsize);
    emma_free_sized(instance, ptr, osize);
    return NULL;
}
