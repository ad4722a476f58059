/* embed_lua.c - a Lua state with all its memory in an emma instance that is capped at 2 MiB. A script that wants
 * more gets Lua's own memory error; the host catches it and goes on with the same state.
 *
 * Build, in the project's top folder (any Lua from 5.1 to 5.4):
 *     cc -O2 -Icore -Ibindings/lua $(pkg-config --cflags lua5.4) examples/embed_lua.c \
 *         bindings/lua/emma_lua.c core/emma.c $(pkg-config --libs lua5.4) -o embed_lua
 *
 * Expected output:
 *     Lua in 2 MiB
 *     modest script: 5050
 *     greedy script: not enough memory
 *     modest script: 5050
 *     limit: 2097152 bytes, never exceeded: yes
 *     requests refused: yes
 *     blocks alive after a full collection: as many as before the greedy script
 *     without lua_close, after emma_destroy, the process has as many mappings as before: yes
 */
#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "emma_lua.h"

#define LIMIT_BYTES ((size_t)2 * 1024 * 1024)

static const char modest_script[] = "local sum = 0\n"
                                    "for i = 1, 100 do sum = sum + i end\n"
                                    "return ('%d'):format(sum)\n";

static const char greedy_script[] =
    "local hoard = {}\n"
    "while true do hoard[#hoard + 1] = ('x'):rep(1000) .. #hoard end\n";

/* Runs a script and shows the string that it returns, or the error. */
static void run(lua_State *state, const char *title, const char *script)
{
    if (luaL_loadstring(state, script) == 0)
        lua_pcall(state, 0, 1, 0);
    printf("%s: %s\n", title, lua_tostring(state, -1));
    lua_settop(state, 0);
}

static emma_stats stats_after_collection(emma *instance, lua_State *state)
{
    lua_gc(state, LUA_GCCOLLECT, 0);
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    return stats;
}

/* How many mappings the process has: the lines of /proc/self/maps. */
static unsigned count_mappings(void)
{
    unsigned lines = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps != NULL) {
        for (int c = getc(maps); c != EOF; c = getc(maps))
            lines += c == '\n';
        fclose(maps);
    }
    return lines;
}

int main(void)
{
    puts("Lua in 2 MiB"); /* first, as the C library makes its own heap for it */
    unsigned mappings = count_mappings();

    emma_options options = EMMA_LUA_OPTIONS_INIT;
    options.limit_bytes = LIMIT_BYTES;
    options.name = "embed_lua";
    emma *instance = emma_create(&options);
    lua_State *state = instance == NULL ? NULL : lua_newstate(emma_lua_alloc, instance);
    if (state == NULL) {
        fputs("embed_lua: cannot create the state\n", stderr);
        return 1;
    }
    luaL_openlibs(state);

    run(state, "modest script", modest_script);
    emma_stats before = stats_after_collection(instance, state);
    run(state, "greedy script", greedy_script);
    run(state, "modest script", modest_script);
    emma_stats after = stats_after_collection(instance, state);

    printf("limit: %zu bytes, never exceeded: %s\n", after.limit_bytes,
           after.peak_footprint_bytes <= LIMIT_BYTES ? "yes" : "no");
    printf("requests refused: %s\n", after.refused_count > 0 ? "yes" : "no");
    printf("blocks alive after a full collection: %s\n",
           after.live_blocks <= before.live_blocks ? "as many as before the greedy script"
                                                   : "more than before the greedy script");
    emma_destroy(instance);
    printf(
        "without lua_close, after emma_destroy, the process has as many mappings as before: %s\n",
        count_mappings() == mappings ? "yes" : "no");
    return 0;
}
