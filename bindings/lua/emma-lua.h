/* emma-lua.h - what the files of the emma-lua program share.
 *
 * emma-lua.c          main, the Lua side of the command line, protected calls, interrupts
 * emma-lua-options.c  the command line read once, before any memory is taken
 * emma-lua-state.c    the instance, the state in it, and how both end
 * emma-lua-repl.c     the interactive mode
 * emma-lua-watch.c    what is noted of a run that is to be reported
 * emma-lua-sample.c   which lines allocate
 * emma-lua-report.c   --stats and --report
 *
 * One interpreter per process: emmai_cli. It is written by the main thread only. */
#ifndef EMMA_LUA_PROGRAM_H
#define EMMA_LUA_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "emma_lua.h"
#include "emma_report.h"

#if LUA_VERSION_NUM != 504
#error "emma-lua is an interpreter for Lua 5.4"
#endif

/* The command line. Strings belong to argv. */
typedef struct cli_options {
    size_t limit_bytes;      /* EMMA_UNLIMITED: none */
    size_t soft_limit_bytes; /* EMMA_UNLIMITED: none */
    bool show_stats;
    const char *report_path; /* NULL: no report */
    bool exports;            /* --export */
    size_t sample_bytes;     /* 0: no samples */
    bool interactive;        /* -i */
    bool show_version;       /* -v or -i */
    bool runs_strings;       /* there is a -e */
    bool ignore_environment; /* -E */
    int script;              /* index in argv of the script or of what follows "--"; argc if none */
} cli_options;

enum option_kind {
    OPTION_END,  /* not an option, "-" or "--": stop */
    OPTION_BAD,  /* unknown, or with characters that do not belong there */
    OPTION_BARE, /* a known one whose argument is missing */
    OPTION_EXECUTE,
    OPTION_REQUIRE,
    OPTION_INTERACTIVE,
    OPTION_VERSION,
    OPTION_ENVIRONMENT,
    OPTION_WARNINGS,
    OPTION_LIMIT,
    OPTION_SOFT_LIMIT,
    OPTION_STATS,
    OPTION_REPORT,
    OPTION_EXPORT,
    OPTION_SAMPLE
};

/* The interpreter. */
typedef struct interpreter {
    const char *program;  /* the name it was called by */
    const char *progname; /* that name before messages of scripts; NULL in interactive mode */
    char **argv;
    int argc;
    cli_options options;
    emma *instance;          /* NULL before and after its life */
    lua_State *state;        /* NULL likewise */
    size_t spare_bytes;      /* as the instance was created with */
    bool soft_limit_crossed; /* the warning has been given */
    pid_t pid;               /* of the process that started: a forked child reports nothing */
    struct timespec start;   /* on the monotonic clock */
    bool reported;
    bool figures_taken;      /* `report` is filled in */
    emma_report report;      /* figures of the instance when its state was about to be dropped */
    emma_report_place place; /* where --report goes */
    double run_seconds;
    double cpu_seconds;
} interpreter;

extern interpreter emmai_cli;

/* emma-lua.c */

/* Prints a message, after the program's name unless that is NULL. */
void emmai_cli_message(const char *progname, const char *message);

/* Prints the error object on top of the stack and pops it, unless status is LUA_OK; closes the
 * spare. Returns status. */
int emmai_cli_report(lua_State *state, int status);

/* Calls the function under `arguments` values with a traceback for its errors; an interrupt stops
 * it. */
int emmai_cli_call(lua_State *state, int arguments, int results);

/* Whether a hook is the one of an interrupt; sets it again if an interrupt is under way. */
bool emmai_cli_is_interrupt(lua_Hook hook);
void emmai_cli_renew_interrupt(void);

/* emma-lua-options.c */

/* Decodes argv[*index], with its argument *value; *index is left at the last word that was used. */
enum option_kind emmai_options_decode(char **argv, int *index, char **value);

/* Fills emmai_cli.options. False: a message has been printed. */
bool emmai_options_read(void);

/* emma-lua-state.c */

/* Makes the instance and the state. False: a message has been printed and nothing is left. */
bool emmai_state_open(void);

/* Hides the end-of-life guard in a new state and puts emma-lua's os.exit in place; either may
 * raise an error. */
void emmai_state_guard(lua_State *state);
void emmai_state_replace_exit(lua_State *state);

/* Runs what lua_close runs, takes the figures, and drops the state with its instance. */
void emmai_state_end(void);

void emmai_state_use_spare(bool use);

/* Says on stderr where a "not enough memory" came from: the limit, the end of the address space, or
 * one request that was too large for them. */
void emmai_state_explain_no_memory(void);

/* emma-lua-repl.c */

/* Reads, runs and prints until the input ends. */
void emmai_repl_run(lua_State *state);

/* emma-lua-watch.c */

/* Starts to note down what happens in the instance, and to draw samples; the lua_Alloc that does
 * it. */
lua_Alloc emmai_watch_start(emma *instance, bool with_samples);

/* The program begins: what types take more from now on is growth. */
void emmai_watch_begin(void);

/* Takes the last point of memory over time. */
void emmai_watch_end(void);

/* Adds what was noted to a report. */
void emmai_watch_tell(emma_report *report);

/* emma-lua-sample.c */

extern emma_sampler emmai_sampler;

/* Starts to take samples; false: the kernel has no memory for it. */
bool emmai_sample_start(size_t rate_bytes);

/* Takes a sample of a new block, if it is one; `tag`: what Lua told of it. */
void emmai_sample_draw(const void *block, size_t bytes, size_t tag);

/* The program begins in this state: sites are told from now on. No-ops without samples. */
void emmai_sample_begin(lua_State *state);
void emmai_sample_end(void);
void emmai_sample_tell(emma_report *report);

/* emma-lua-report.c */

/* Finds out whether the report can be written, without leaving a file. False: a message has been
 * printed. */
bool emmai_report_prepare(void);

/* Copies the instance's figures for emmai_report_finish. */
void emmai_report_take_figures(void);

/* Writes what --stats and --report ask for, once; `exit_status` NULL: not known. False: the report
 * failed. */
bool emmai_report_finish(const int *exit_status);

#endif
