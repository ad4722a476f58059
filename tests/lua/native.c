/* A Lua module in C that does what scripts cannot: it ends the process by exit, forks, and keeps
 * something outside Lua that only a finalizer lets go of. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lua.h>
#include <lauxlib.h>

int luaopen_native(lua_State *state);

static int let_go(lua_State *state)
{
    printf("let go of %s\n", *(const char **)lua_touserdata(state, 1));
    return 0;
}

/* hold(text): an object whose finalizer says so. */
static int hold(lua_State *state)
{
    const char *text = luaL_checkstring(state, 1);
    const char **held = lua_newuserdatauv(state, sizeof *held, 1);
    *held = text;
    lua_pushvalue(state, 1);
    lua_setiuservalue(state, -2, 1);
    if (luaL_newmetatable(state, "native.held")) {
        lua_pushcfunction(state, let_go);
        lua_setfield(state, -2, "__gc");
    }
    lua_setmetatable(state, -2);
    return 1;
}

/* leave(status): exit, behind the interpreter's back. */
static int leave(lua_State *state)
{
    exit((int)luaL_checkinteger(state, 1));
}

/* fork(function): the exit status of a child that runs the function and exits with 7. */
static int run_forked(lua_State *state)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child < 0)
        return luaL_error(state, "fork failed");
    if (child == 0) {
        lua_call(state, 0, 0);
        exit(7);
    }
    int status = 0;
    waitpid(child, &status, 0);
    lua_pushinteger(state, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return 1;
}

int luaopen_native(lua_State *state)
{
    static const luaL_Reg functions[] = {
        { "hold", hold }, { "leave", leave }, { "fork", run_forked }, { NULL, NULL }
    };
    luaL_newlib(state, functions);
    return 1;
}
