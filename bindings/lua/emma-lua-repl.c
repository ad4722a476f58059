/* emma-lua-repl.c - the interactive mode: reads a line, or as many as a statement needs, runs it
 * and prints what it returns.
 *
 * The build says how a line is read: by readline (EMMA_LUA_READLINE), by libedit
 * (EMMA_LUA_LIBEDIT), or plainly. The two libraries keep a history; their memory is the process's,
 * not the instance's. */
#define _POSIX_C_SOURCE 200809L
#include "emma-lua.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EMMA_LUA_READLINE
#define EMMA_LUA_READLINE 0
#endif
#ifndef EMMA_LUA_LIBEDIT
#define EMMA_LUA_LIBEDIT 0
#endif

#define LINE_BYTES 512 /* of a plainly read line, its end included */

/* How the compiler's message ends when it needs more text. */
#define INCOMPLETE_MARK "<eof>"

#if EMMA_LUA_READLINE || EMMA_LUA_LIBEDIT

#if EMMA_LUA_READLINE
#include <readline/readline.h>
#include <readline/history.h>
#else
#include <editline/readline.h>
#endif

static void line_begin(void)
{
    static char name[] = "lua"; /* for the user's key bindings */
    rl_readline_name = name;
    if (EMMA_LUA_LIBEDIT)
        setlocale(LC_CTYPE,
                  ""); /* libedit leaves this to its caller; without it only ASCII can be typed */
}

static char *line_read(const char *prompt, char buffer[LINE_BYTES])
{
    (void)buffer;
    return readline(prompt);
}

static void line_remember(const char *line)
{
    if (line[0] != '\0')
        add_history(line);
}

static void line_free(char *line)
{
    free(line);
}

#else

static void line_begin(void)
{
}

static char *line_read(const char *prompt, char buffer[LINE_BYTES])
{
    fputs(prompt, stdout);
    fflush(stdout);
    return fgets(buffer, LINE_BYTES, stdin);
}

static void line_remember(const char *line)
{
    (void)line;
}

static void line_free(char *line)
{
    (void)line;
}

#endif

/* Pushes the prompt's text, which a script may have set to anything. */
static const char *push_prompt(lua_State *state, bool first_line)
{
    if (lua_getglobal(state, first_line ? "_PROMPT" : "_PROMPT2") == LUA_TNIL)
        return first_line ? "> " : ">> ";
    const char *text = luaL_tolstring(state, -1, NULL);
    lua_remove(state, -2);
    return text;
}

/* Asks for a line and pushes it without its end. False, with nothing pushed: the input has
 * ended. */
static bool push_line(lua_State *state, bool first_line)
{
    char buffer[LINE_BYTES];
    char *line = line_read(push_prompt(state, first_line), buffer);
    lua_pop(state, 1);
    if (line == NULL)
        return false;
    size_t length = strlen(line);
    if (length > 0 && line[length - 1] == '\n')
        line[--length] = '\0';
    if (first_line && line[0] == '=') /* the old way to print an expression */
        lua_pushfstring(state, "return %s", line + 1);
    else
        lua_pushlstring(state, line, length);
    line_free(line);
    return true;
}

/* Pops the message of a failed compilation if all that it lacks is more text. */
static bool wants_more(lua_State *state, int status)
{
    if (status != LUA_ERRSYNTAX)
        return false;
    size_t length;
    size_t mark_length = strlen(INCOMPLETE_MARK);
    const char *message = lua_tolstring(state, -1, &length);
    if (length < mark_length || strcmp(message + length - mark_length, INCOMPLETE_MARK) != 0)
        return false;
    lua_pop(state, 1);
    return true;
}

/* Compiles the line at index 1 as an expression. On success pushes the function; else pushes
 * nothing. */
static bool compile_expression(lua_State *state)
{
    const char *line = lua_tostring(state, 1);
    const char *expression = lua_pushfstring(state, "return %s;", line);
    int status = luaL_loadbuffer(state, expression, strlen(expression), "=stdin");
    lua_remove(state, 2);
    if (status == LUA_OK) {
        line_remember(line);
        return true;
    }
    lua_pop(state, 1);
    return false;
}

/* Compiles the text at index 1 as statements, adding lines to it while it needs them. Pushes the
 * function, or the message. */
static int compile_statements(lua_State *state)
{
    for (;;) {
        size_t length;
        const char *text = lua_tolstring(state, 1, &length);
        int status = luaL_loadbuffer(state, text, length, "=stdin");
        if (!wants_more(state, status)) {
            line_remember(text);
            return status;
        }
        lua_pushliteral(state, "\n");
        if (!push_line(state, false)) {
            lua_pop(state, 1);
            line_remember(text);
            return luaL_loadbuffer(state, text, length, "=stdin");
        }
        lua_concat(state, 3);
    }
}

static void print_results(lua_State *state)
{
    int count = lua_gettop(state);
    if (count == 0)
        return;
    luaL_checkstack(state, LUA_MINSTACK, "too many results to print");
    lua_getglobal(state, "print");
    lua_insert(state, 1);
    if (lua_pcall(state, count, 0, 0) != LUA_OK)
        emmai_cli_message(
            NULL, lua_pushfstring(state, "error calling 'print' (%s)", lua_tostring(state, -1)));
}

void emmai_repl_run(lua_State *state)
{
    const char *progname = emmai_cli.progname;
    emmai_cli.progname = NULL;
    line_begin();
    for (;;) {
        lua_settop(state, 0);
        emmai_state_use_spare(true); /* "t = nil" must compile when t has taken everything */
        if (!push_line(state, true))
            break;
        int status = compile_expression(state) ? LUA_OK : compile_statements(state);
        lua_remove(state, 1);
        emmai_state_use_spare(false);
        if (status == LUA_OK)
            status = emmai_cli_call(state, 0, LUA_MULTRET);
        if (status == LUA_OK)
            print_results(state);
        else
            emmai_cli_report(state, status);
    }
    lua_settop(state, 0);
    putchar('\n');
    fflush(stdout);
    emmai_cli.progname = progname;
}
