/* embed_python_and_lua.c - one process that embeds CPython and Lua, each in an instance of its own: each with
 * its own limit and its own figures, and what one takes the other does not feel.
 *
 * Build, in the project's top folder:
 *     cc -O2 -Icore -Ibindings/python -Ibindings/lua $(python3-config --cflags --embed) \
 *         $(pkg-config --cflags lua5.4) examples/embed_python_and_lua.c bindings/python/emma_python.c \
 *         bindings/lua/emma_lua.c core/emma.c $(python3-config --ldflags --embed) \
 *         $(pkg-config --libs lua5.4) -o embed_python_and_lua
 *
 * Expected output:
 *     Lua took all it may: not enough memory
 *     Python goes on: 1000 lists
 *     Python took all it may: MemoryError
 *     Lua goes on: 1000 tables
 *     Python's blocks lie in Python's instance, Lua's in Lua's: yes
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "emma_lua.h"
#include "emma_python.h"

#include <stdio.h>

#define PYTHON_LIMIT_BYTES ((size_t)64 * 1024 * 1024)
#define LUA_LIMIT_BYTES    ((size_t)1024 * 1024)

static emma *instance_for_python(void)
{
    emma_options options = EMMA_OPTIONS_INIT;
    options.name = "python";
    options.flags = EMMA_SHARED;
    options.limit_bytes = PYTHON_LIMIT_BYTES;
    return emma_create(&options);
}

static emma *instance_for_lua(void)
{
    emma_options options = EMMA_LUA_OPTIONS_INIT;
    options.limit_bytes = LUA_LIMIT_BYTES;
    return emma_create(&options);
}

/* Runs a chunk that returns a string, or fails. */
static void run_lua(lua_State *state, const char *title, const char *chunk)
{
    if (luaL_loadstring(state, chunk) == 0)
        lua_pcall(state, 0, 1, 0);
    printf("%s: %s\n", title, lua_tostring(state, -1));
    lua_settop(state, 0);
}

/* Evaluates an expression that yields a string, or fails. */
static void run_python(const char *title, const char *expression)
{
    PyObject *names = Py_BuildValue("{s:O}", "__builtins__", PyEval_GetBuiltins());
    PyObject *value = names ? PyRun_String(expression, Py_eval_input, names, names) : NULL;
    const bool is_memory = !value && PyErr_ExceptionMatches(PyExc_MemoryError);
    printf("%s: %s\n", title,
           value       ? PyUnicode_AsUTF8(value)
           : is_memory ? "MemoryError"
                       : "error");
    PyErr_Clear();
    Py_XDECREF(value);
    Py_XDECREF(names);
}

int main(void)
{
    emma *for_python = instance_for_python();
    emma *for_lua = instance_for_lua();
    if (!for_python || !for_lua || emma_python_install(for_python, EMMA_PYTHON_ALL) != EMMA_OK) {
        fputs("embed_python_and_lua: no memory\n", stderr);
        return 1;
    }
    Py_InitializeEx(0);
    lua_State *state = lua_newstate(emma_lua_alloc, for_lua);
    if (!state) {
        fputs("embed_python_and_lua: no memory for Lua\n", stderr);
        return 1;
    }
    luaL_openlibs(state);

    run_lua(state, "Lua took all it may", "local t = {} while true do t[#t + 1] = {} end");
    run_python("Python goes on", "'%d lists' % len([[i] for i in range(1000)])");
    run_python("Python took all it may", "[bytes(10**6 + i) for i in range(1000)]");
    run_lua(state, "Lua goes on",
            "local t = {} for i = 1, 1000 do t[i] = {} end return #t .. ' tables'");

    PyObject *list = PyList_New(3);
    const void *table = lua_newuserdatauv(state, 100, 0);
    const bool apart = emma_owns(for_python, list) && !emma_owns(for_lua, list) &&
                       emma_owns(for_lua, table) && !emma_owns(for_python, table);
    printf("Python's blocks lie in Python's instance, Lua's in Lua's: %s\n", apart ? "yes" : "no");
    Py_XDECREF(list);

    emma_destroy(for_lua); /* all of Lua, without lua_close */
    return Py_FinalizeEx() < 0;
}
