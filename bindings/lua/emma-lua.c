/* emma-lua.c - a stand-alone interpreter for Lua 5.4 that keeps its whole state in one emma
 * instance.
 *
 * It takes the command lines that lua takes and behaves the same, and adds a memory limit and
 * figures; what lua prints, this prints. Here: main, the order of things on the command line,
 * protected calls and interrupts. */
#define _POSIX_C_SOURCE 200809L /* sigaction, getpid, clock_gettime */
#include "emma-lua.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

interpreter emmai_cli;

/* The state that an interrupt stops: the one that runs now. */
static lua_State *volatile interruptible;

void emmai_cli_message(const char *progname, const char *message)
{
    if (progname != NULL)
        fprintf(stderr, "%s: ", progname);
    fprintf(stderr, "%s\n", message);
    fflush(stderr);
}

/* Whether a message is Lua's own for a refused allocation. A script that caught it and raised it
 * again has put a position before it ("name:1: ") and a traceback behind it; in any other text of a
 * script's it does not count. */
static bool is_no_memory(const char *message)
{
    static const char no_memory[] = "not enough memory";
    const size_t length = sizeof no_memory - 1;
    const char *end = strstr(message, "\nstack traceback:\n");
    if (end == NULL)
        end = message + strlen(message);
    if ((size_t)(end - message) < length || strncmp(end - length, no_memory, length) != 0)
        return false;
    const char *at = end - length;
    if (at == message)
        return true;
    if (at - message < 2 || at[-1] != ' ' || at[-2] != ':')
        return false;
    at -= 2;
    const char *behind_line = at;
    while (at > message && isdigit((unsigned char)at[-1]))
        at--;
    return at < behind_line && at > message && at[-1] == ':';
}

int emmai_cli_report(lua_State *state, int status)
{
    if (status == LUA_OK)
        return status;
    const char *message = lua_tostring(state, -1);
    if (message == NULL)
        message = "(error message not a string)";
    const bool no_memory = is_no_memory(message);
    emmai_cli_message(emmai_cli.progname, message);
    lua_pop(state, 1);
    if (no_memory)
        emmai_state_explain_no_memory();
    emmai_state_use_spare(false);
    return status;
}

/* Adds a traceback to an error. The spare stays open until the error has been reported. */
static int add_traceback(lua_State *state)
{
    emmai_state_use_spare(true);
    const char *message = lua_tostring(state, 1);
    if (message == NULL) {
        if (luaL_callmeta(state, 1, "__tostring") && lua_type(state, -1) == LUA_TSTRING)
            return 1; /* an object that describes itself needs no traceback */
        message = lua_pushfstring(state, "(error object is a %s value)", luaL_typename(state, 1));
    }
    luaL_traceback(state, state, message, 1);
    return 1;
}

static void set_interrupt(void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

/* The hook may be set at any moment, also while other code of this thread sets one:
 * that code sets it again. */
static volatile sig_atomic_t interrupted;

static void stop_script(lua_State *state, lua_Debug *activation)
{
    (void)activation;
    interrupted = false;
    lua_sethook(state, NULL, 0, 0);
    luaL_error(state, "interrupted!");
}

static void set_stop_hook(void)
{
    lua_sethook(interruptible, stop_script,
                LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

bool emmai_cli_is_interrupt(lua_Hook hook)
{
    return hook == stop_script;
}

void emmai_cli_renew_interrupt(void)
{
    if (interrupted)
        set_stop_hook();
}

/* In a signal handler a hook is all that Lua allows; it stops the script at its next instruction.
 * A second interrupt, should that not come, ends the process. */
static void interrupt(int signal)
{
    (void)signal;
    set_interrupt(SIG_DFL);
    interrupted = true;
    set_stop_hook();
}

int emmai_cli_call(lua_State *state, int arguments, int results)
{
    int handler = lua_gettop(state) - arguments;
    lua_pushcfunction(state, add_traceback);
    lua_insert(state, handler);
    interruptible = state;
    interrupted = false;
    set_interrupt(interrupt);
    int status = lua_pcall(state, arguments, results, handler);
    set_interrupt(SIG_DFL);
    lua_remove(state, handler);
    return status;
}

/* Runs the chunk that was just loaded, or reports why it was not. True: no error. */
static bool run_chunk(lua_State *state, int load_status)
{
    if (load_status == LUA_OK)
        load_status = emmai_cli_call(state, 0, 0);
    return emmai_cli_report(state, load_status) == LUA_OK;
}

static bool run_file(lua_State *state, const char *path)
{
    return run_chunk(state, luaL_loadfile(state, path));
}

static bool run_string(lua_State *state, const char *text, const char *chunk_name)
{
    return run_chunk(state, luaL_loadbuffer(state, text, strlen(text), chunk_name));
}

/* "mod" or "global=mod". */
static bool run_require(lua_State *state, char *text)
{
    char *equals = strchr(text, '=');
    const char *module = equals != NULL ? equals + 1 : text;
    if (equals != NULL)
        *equals = '\0';
    lua_getglobal(state, "require");
    lua_pushstring(state, module);
    int status = emmai_cli_call(state, 1, 1);
    if (status == LUA_OK)
        lua_setglobal(state, text);
    return emmai_cli_report(state, status) == LUA_OK;
}

static bool run_environment(lua_State *state)
{
    static const char *const names[] = { "=LUA_INIT" LUA_VERSUFFIX, "=LUA_INIT" }; /* chunk names */
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = getenv(names[i] + 1);
        if (text != NULL && text[0] == '@')
            return run_file(state, text + 1);
        if (text != NULL)
            return run_string(state, text, names[i]);
    }
    return true;
}

/* -e, -l and -W in their order. */
static bool run_options(lua_State *state)
{
    for (int index = 1; index < emmai_cli.options.script; index++) {
        char *value = NULL;
        bool ok = true;
        switch (emmai_options_decode(emmai_cli.argv, &index, &value)) {
        case OPTION_EXECUTE:
            ok = run_string(state, value, "=(command line)");
            break;
        case OPTION_REQUIRE:
            ok = run_require(state, value);
            break;
        case OPTION_WARNINGS:
            lua_warning(state, "@on", 0);
            break;
        default:
            break;
        }
        if (!ok)
            return false;
    }
    return true;
}

/* The global "arg": the script at 0, its arguments after it, everything before it at negative
 * indices. */
static void make_arg_table(lua_State *state)
{
    int argc = emmai_cli.argc;
    int script = emmai_cli.options.script < argc ? emmai_cli.options.script : 0;
    lua_createtable(state, argc - script - 1, script + 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(state, emmai_cli.argv[i]);
        lua_rawseti(state, -2, i - script);
    }
    lua_setglobal(state, "arg");
}

/* What "arg" holds by now is what the script gets. */
static int push_script_arguments(lua_State *state)
{
    if (lua_getglobal(state, "arg") != LUA_TTABLE)
        luaL_error(state, "'arg' is not a table");
    int table = lua_gettop(state);
    int count = (int)luaL_len(state, table);
    luaL_checkstack(state, count + 3, "too many arguments to script");
    for (int i = 1; i <= count; i++)
        lua_rawgeti(state, table, i);
    lua_remove(state, table);
    return count;
}

static bool run_script(lua_State *state)
{
    char **words = emmai_cli.argv + emmai_cli.options.script;
    bool standard_input = strcmp(words[0], "-") == 0 && strcmp(words[-1], "--") != 0;
    int status = luaL_loadfile(state, standard_input ? NULL : words[0]);
    if (status == LUA_OK)
        status = emmai_cli_call(state, push_script_arguments(state), LUA_MULTRET);
    return emmai_cli_report(state, status) == LUA_OK;
}

static void print_version(void)
{
    puts(LUA_COPYRIGHT);
    fflush(stdout);
}

static void open_libraries(lua_State *state)
{
    emmai_state_guard(state); /* before anything else can have a finalizer */
    if (emmai_cli.options.ignore_environment) {
        lua_pushboolean(state, true);
        lua_setfield(state, LUA_REGISTRYINDEX, "LUA_NOENV");
    }
    luaL_openlibs(state);
    emmai_state_replace_exit(state);
    make_arg_table(state);
    lua_gc(state, LUA_GCGEN, 0, 0);
    emmai_sample_begin(state);
    emmai_watch_begin();
}

static bool run_command_line(lua_State *state)
{
    const cli_options *options = &emmai_cli.options;
    bool has_script = options->script < emmai_cli.argc;
    if (options->show_version)
        print_version();
    open_libraries(state);
    if (!options->ignore_environment && !run_environment(state))
        return false;
    if (!run_options(state))
        return false;
    if (has_script && !run_script(state))
        return false;
    if (options->interactive) {
        emmai_repl_run(state);
    } else if (!has_script && !options->runs_strings && !options->show_version) {
        if (isatty(STDIN_FILENO)) {
            print_version();
            emmai_repl_run(state);
        } else {
            run_file(state, NULL); /* as in lua, its failure is reported and not an exit status */
        }
    }
    return true;
}

static int protected_main(lua_State *state)
{
    luaL_checkversion(state);
    lua_pushboolean(state, run_command_line(state));
    return 1;
}

/* A script, or a library of its, that ends the process by exit(). */
static void report_at_exit(void)
{
    emmai_report_finish(NULL);
}

int main(int argc, char **argv)
{
    interpreter *self = &emmai_cli;
    self->program = argc > 0 && argv[0][0] != '\0' ? argv[0] : "emma-lua";
    self->progname = self->program;
    self->argv = argv;
    self->argc = argc;
    self->pid = getpid();
    clock_gettime(CLOCK_MONOTONIC, &self->start);
    if (argc < 1 || !emmai_options_read() || !emmai_report_prepare())
        return EXIT_FAILURE;
    atexit(report_at_exit);

    int exit_status = EXIT_FAILURE;
    if (emmai_state_open()) {
        lua_pushcfunction(self->state, protected_main);
        int status = lua_pcall(self->state, 0, 1, 0);
        if (status == LUA_OK && lua_toboolean(self->state, -1))
            exit_status = EXIT_SUCCESS;
        emmai_cli_report(self->state, status);
        emmai_state_end();
    }
    if (!emmai_report_finish(&exit_status))
        exit_status = EXIT_FAILURE;
    return exit_status;
}
