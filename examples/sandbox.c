/* sandbox.c - scripts that try to do harm, all in the same sandbox: 1 MiB, 500,000 instructions and
 * 200 ms for each. After each one the sandbox is rolled back, and serves a good request as before.
 *
 * Build, in the project's top folder (Lua 5.4):
 *     cc -O2 -Icore -Ibindings/lua $(pkg-config --cflags lua5.4) examples/sandbox.c \
 *         bindings/lua/emma_sandbox.c bindings/lua/emma_lua.c core/emma.c \
 *         $(pkg-config --libs lua5.4) -pthread -o sandbox
 *
 * Expected output:
 *     3 apples and 2 pears: 19
 *     endless loop: instructions
 *     endless loop in a coroutine: instructions
 *     endless loop, and pcall around it: instructions
 *     endless loop in an error handler: instructions
 *     endless loop in an error object: instructions
 *     endless loop in a variable's end: instructions
 *     endless loop in the string library: deadline
 *     exponential pattern: deadline
 *     table bomb: memory
 *     string bomb: memory
 *     string bomb, and pcall around it: memory
 *     coroutine bomb: memory
 *     deep recursion: memory
 *     coroutines in coroutines: error
 *     syntax in syntax: error
 *     precompiled code: error
 *     a way to files: error
 *     a finalizer: error
 *     a result without end: error
 *     a host function's argument: error
 *     files left open: done
 *     globals replaced: done
 *     metatable of the globals: done
 *     metatable of all strings: done
 *     endless loop, no budget, killed by another thread: killed
 *     good requests after them: 25 of 25
 *     the process has as many mappings as before: yes
 *     the process has as many open files as before: yes
 */
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lua.h>

#include "emma_sandbox.h"

#define LIMIT_BYTES   ((size_t)1024 * 1024)
#define INSTRUCTIONS  500000
#define DEADLINE_US   200000
#define KILL_AFTER_NS 20000000
#define GOOD_TOTAL    19

static const char prelude[] = "function total(order)\n"
                              "    local sum = 0\n"
                              "    for item, count in pairs(order) do\n"
                              "        sum = sum + count * price(item:lower())\n"
                              "    end\n"
                              "    return sum\n"
                              "end\n";

static const struct {
    const char *title;
    const char *script;
} hostile[] = {
    { "endless loop", "while true do end" },
    { "endless loop in a coroutine", "coroutine.wrap(function() while true do end end)()" },
    { "endless loop, and pcall around it",
      "while true do pcall(function() while true do end end) end" },
    { "endless loop in an error handler", "xpcall(error, function() while true do end end)" },
    { "endless loop in an error object",
      "error(setmetatable({}, {__tostring = function() while true do end end}))" },
    { "endless loop in a variable's end",
      "local v <close> = setmetatable({}, {__close = function() while true do end end})" },
    { "endless loop in the string library", "string.rep('', 1 << 60)" },
    { "exponential pattern", "('a'):rep(40):find(('a?'):rep(40) .. ('a'):rep(40))" },
    { "table bomb", "local t = {} while true do t[#t + 1] = {} end" },
    { "string bomb", "local s = 'x' while true do s = s .. s end" },
    { "string bomb, and pcall around it", "while true do pcall(string.rep, 'x', 1 << 30) end" },
    { "coroutine bomb", "local t = {} while true do t[#t + 1] = coroutine.create(print) end" },
    { "deep recursion", "local function f() return f() + 1 end f()" },
    { "coroutines in coroutines", "local function f() coroutine.wrap(f)() end f()" },
    { "syntax in syntax", "assert(load('return ' .. ('('):rep(10000)))" },
    { "precompiled code", "assert(load('\\27LuaT', 'code', 'b'))" },
    { "a way to files", "return (io or os or require or dofile)('/etc/passwd')" },
    { "a finalizer", "setmetatable({}, {__gc = function() while true do end end})" },
    { "a result without end", "local t = {} t.t = t return t" },
    { "a host function's argument", "price({})" },
    { "files left open", "for i = 1, 20 do open() end" },
    { "globals replaced", "price, pairs, total = print, nil, function() return 0 end" },
    { "metatable of the globals", "setmetatable(_G, {__index = error, __newindex = error})" },
    { "metatable of all strings", "getmetatable('').__index = function() return '' end" },
};

#define HOSTILE_COUNT (sizeof hostile / sizeof hostile[0])

/* price(item): a function of the host's that scripts may call. */
static int host_price(lua_State *state)
{
    lua_pushinteger(state, strcmp(luaL_checkstring(state, 1), "apple") == 0 ? 5 : 2);
    return 1;
}

static void close_file(void *file)
{
    fclose(file);
}

/* open(): one that takes something of the process's. A rollback gives it back. */
static int host_open(lua_State *state)
{
    FILE *file = fopen("/dev/null", "r");
    if (file == NULL)
        return luaL_error(state, "too many files");
    if (emma_sandbox_hold(emma_sandbox_of(state), file, close_file) != EMMA_SANDBOX_DONE) {
        fclose(file);
        return luaL_error(state, "not enough memory");
    }
    return 0;
}

static emma_sandbox *create(unsigned *level)
{
    emma_sandbox_options options = EMMA_SANDBOX_OPTIONS_INIT;
    options.limit_bytes = LIMIT_BYTES;
    options.instructions = INSTRUCTIONS;
    options.deadline_us = DEADLINE_US;
    emma_sandbox *sandbox = emma_sandbox_create(&options);
    if (sandbox != NULL &&
        emma_sandbox_register(sandbox, "price", host_price, NULL) == EMMA_SANDBOX_DONE &&
        emma_sandbox_register(sandbox, "open", host_open, NULL) == EMMA_SANDBOX_DONE &&
        emma_sandbox_run(sandbox, "prelude", prelude, strlen(prelude)) == EMMA_SANDBOX_DONE &&
        emma_sandbox_checkpoint(sandbox, level) == EMMA_SANDBOX_DONE)
        return sandbox;
    emma_sandbox_destroy(sandbox);
    return NULL;
}

/* What the prelude makes of an order, as the host reads it; -1: the call failed. */
static int64_t good_request(emma_sandbox *sandbox)
{
    static const char script[] = "return total{Apple = 3, Pear = 2}";
    size_t count;
    const enum emma_sandbox_status status =
        emma_sandbox_run(sandbox, "good", script, strlen(script));
    const emma_sandbox_value *results = emma_sandbox_results(sandbox, &count);
    if (status != EMMA_SANDBOX_DONE || count != 1 || results[0].type != EMMA_SANDBOX_INTEGER)
        return -1;
    return results[0].as.integer;
}

/* Runs a script, shows how it ended, rolls it back; whether a good request is served then. */
static bool withstand(emma_sandbox *sandbox, unsigned level, const char *title, const char *script)
{
    const enum emma_sandbox_status status =
        emma_sandbox_run(sandbox, title, script, strlen(script));
    printf("%s: %s\n", title, emma_sandbox_status_text(status));
    return emma_sandbox_rollback(sandbox, level) == EMMA_SANDBOX_DONE &&
           good_request(sandbox) == GOOD_TOTAL;
}

static void *kill_later(void *sandbox)
{
    const struct timespec pause = { .tv_nsec = KILL_AFTER_NS };
    nanosleep(&pause, NULL);
    if (sandbox != NULL)
        emma_sandbox_kill(sandbox);
    return NULL;
}

static bool withstand_until_killed(emma_sandbox *sandbox, unsigned level)
{
    pthread_t killer;
    emma_sandbox_set_budget(sandbox, 0, 0);
    if (pthread_create(&killer, NULL, kill_later, sandbox) != 0)
        return false;
    const bool good = withstand(sandbox, level, "endless loop, no budget, killed by another thread",
                                "while true do pcall(function() while true do end end) end");
    pthread_join(killer, NULL);
    return good;
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

static unsigned count_files(void)
{
    unsigned files = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder != NULL) {
        while (readdir(folder) != NULL)
            files++;
        closedir(folder);
    }
    return files;
}

/* The C library keeps the stack of a thread that ended: it has one before mappings are counted. */
static void warm_up(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, kill_later, NULL) == 0)
        pthread_join(thread, NULL);
}

int main(void)
{
    warm_up();
    const unsigned mappings = count_mappings();
    const unsigned files = count_files();

    unsigned level;
    emma_sandbox *sandbox = create(&level);
    if (sandbox == NULL) {
        fputs("sandbox: cannot create it\n", stderr);
        return 1;
    }
    printf("3 apples and 2 pears: %d\n", (int)good_request(sandbox));
    size_t good = 0;
    for (size_t i = 0; i < HOSTILE_COUNT; i++)
        good += withstand(sandbox, level, hostile[i].title, hostile[i].script);
    good += withstand_until_killed(sandbox, level);
    printf("good requests after them: %zu of %zu\n", good, HOSTILE_COUNT + 1);
    emma_sandbox_destroy(sandbox);

    printf("the process has as many mappings as before: %s\n",
           count_mappings() == mappings ? "yes" : "no");
    printf("the process has as many open files as before: %s\n",
           count_files() == files ? "yes" : "no");
    return 0;
}
