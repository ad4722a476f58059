/* A program that opens the module for Lua, uses it, and closes its last state, which unloads modules: what the module leaves in
 * the process (a signal handler, ends of threads, the export's thread) goes on working. */
#include <lauxlib.h>
#include <lualib.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char script[] = "local emma = require 'emma' emma.export() "
                             "local box = emma.sandbox { deadline = 5 } assert(box:load('return 1'))";

static void *use(void *failed)
{
    lua_State *state = luaL_newstate();
    luaL_openlibs(state);
    if (luaL_dostring(state, script)) {
        fprintf(stderr, "%s\n", lua_tostring(state, -1));
        *(int *)failed = 1;
    }
    lua_close(state);
    return NULL; /* and the thread ends, with a timer of the module's */
}

int main(void)
{
    int failed = 0;
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, use, &failed) || pthread_join(thread, NULL))
            return EXIT_FAILURE;
        raise(SIGURG);
    }
    usleep(600 * 1000); /* the export's thread writes twice */
    return failed;
}
