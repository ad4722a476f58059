/* lua_seed.c - the same hash seed in every run, by the linker's --wrap=luaS_hash.
 *
 * Lua mixes the time and addresses into the seed of its string hash by this function, in
 * lua_newstate only. A constant instead makes every run walk its tables in the same order, so
 * that runs differ by what is measured alone. */
#include <stddef.h>

#define SEED 0x5bd1e995u

unsigned int __wrap_luaS_hash(const char *text, size_t length, unsigned int seed);

unsigned int __wrap_luaS_hash(const char *text, size_t length, unsigned int seed)
{
    (void)text;
    (void)length;
    (void)seed;
    return SEED;
}
