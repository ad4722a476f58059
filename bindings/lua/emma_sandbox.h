/* emma_sandbox.h - Lua 5.4 for scripts that are not trusted: many capped interpreters in one
 * process, each with a budget of instructions and time, brought back to a clean state between
 * requests, or killed.
 *
 *     emma_sandbox_options options = EMMA_SANDBOX_OPTIONS_INIT;
 *     options.limit_bytes = 1 << 20;
 *     options.deadline_us = 10000;
 *     emma_sandbox *sandbox = emma_sandbox_create(&options);
 *     unsigned level;
 *     emma_sandbox_run(sandbox, "prelude", prelude, strlen(prelude));
 *     emma_sandbox_checkpoint(sandbox, &level);
 *     for (;;) {                                                  - each request -
 *         status = emma_sandbox_call(sandbox, "handle", &argument, 1);
 *         ... emma_sandbox_results(sandbox, &count) ...
 *         emma_sandbox_rollback(sandbox, level);
 *     }
 *
 * How a call is stopped. An error is raised by Lua's hook wherever instructions are executed;
 * scripts cannot catch it. Where that has no effect within two milliseconds or so (a
 * search for an exponential pattern, a sort, a finalizer: no hook runs there), the thread is taken
 * out of the interpreter by a signal: only while Lua's own code runs, never inside the C library,
 * emma or a function of the host's. The sandbox is *broken* then: rollback or destroy. A budget of
 * instructions alone does not bound time, as one instruction can be such a search.
 *
 * The signal is SIGURG (EMMA_SANDBOX_SIGNAL when the kit is compiled); each call unblocks it. The
 * handler passes signals of others to the one that it found; one that is set later is found by
 * the next call with a deadline, or kill. It interrupts host functions, too, once each
 * millisecond, when their call is to be stopped: poll() and the like return EINTR then. In a
 * program that Lua is linked into statically, other signals' handlers must block it (sa_mask), as
 * their code cannot be told from Lua's.
 *
 * Threads: a sandbox is used by one thread at a time, any, with a stack of at least 1 MiB;
 * emma_sandbox_kill comes from any thread at any time. Forks: parent and child each have all
 * sandboxes. What is told of time is the monotonic clock's. In a sandbox that is called by a host
 * function of another, a call ends with the other's when that is to be stopped. Host functions may
 * change to another stack of the thread's (fibers, greenlets), where calls begin and end in any
 * order; one that begins while another waits counts as called by it.
 *
 * The code stays in the process: a library that has the kit in it is linked with -z nodelete, if it
 * is ever unloaded, as the handler and the ends of threads refer to it.
 *
 * Memory of the host's (malloc): the sandbox's struct, results and messages, a list of resources;
 * nothing of it is counted or limited, but results and messages are bounded. One timer per thread
 * that makes calls. */
#ifndef EMMA_SANDBOX_H
#define EMMA_SANDBOX_H

#include "emma_lua.h"

/* As lua.hpp does. */
#ifdef __cplusplus
extern "C" {
#endif
#include <lua.h>
#ifdef __cplusplus
}
#endif

#ifdef EMMA_PREFIX
#define emma_sandbox_arg            EMMA_PASTE(EMMA_PREFIX, emma_sandbox_arg)
#define emma_sandbox_call           EMMA_PASTE(EMMA_PREFIX, emma_sandbox_call)
#define emma_sandbox_checkpoint     EMMA_PASTE(EMMA_PREFIX, emma_sandbox_checkpoint)
#define emma_sandbox_create         EMMA_PASTE(EMMA_PREFIX, emma_sandbox_create)
#define emma_sandbox_destroy        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_destroy)
#define emma_sandbox_drop           EMMA_PASTE(EMMA_PREFIX, emma_sandbox_drop)
#define emma_sandbox_get_stats      EMMA_PASTE(EMMA_PREFIX, emma_sandbox_get_stats)
#define emma_sandbox_get_type_bytes EMMA_PASTE(EMMA_PREFIX, emma_sandbox_get_type_bytes)
#define emma_sandbox_hold           EMMA_PASTE(EMMA_PREFIX, emma_sandbox_hold)
#define emma_sandbox_instance       EMMA_PASTE(EMMA_PREFIX, emma_sandbox_instance)
#define emma_sandbox_kill           EMMA_PASTE(EMMA_PREFIX, emma_sandbox_kill)
#define emma_sandbox_let_go         EMMA_PASTE(EMMA_PREFIX, emma_sandbox_let_go)
#define emma_sandbox_message        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_message)
#define emma_sandbox_message_bytes  EMMA_PASTE(EMMA_PREFIX, emma_sandbox_message_bytes)
#define emma_sandbox_of             EMMA_PASTE(EMMA_PREFIX, emma_sandbox_of)
#define emma_sandbox_options_check  EMMA_PASTE(EMMA_PREFIX, emma_sandbox_options_check)
#define emma_sandbox_provide        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_provide)
#define emma_sandbox_push           EMMA_PASTE(EMMA_PREFIX, emma_sandbox_push)
#define emma_sandbox_register       EMMA_PASTE(EMMA_PREFIX, emma_sandbox_register)
#define emma_sandbox_resume         EMMA_PASTE(EMMA_PREFIX, emma_sandbox_resume)
#define emma_sandbox_results        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_results)
#define emma_sandbox_rollback       EMMA_PASTE(EMMA_PREFIX, emma_sandbox_rollback)
#define emma_sandbox_run            EMMA_PASTE(EMMA_PREFIX, emma_sandbox_run)
#define emma_sandbox_set            EMMA_PASTE(EMMA_PREFIX, emma_sandbox_set)
#define emma_sandbox_set_budget     EMMA_PASTE(EMMA_PREFIX, emma_sandbox_set_budget)
#define emma_sandbox_set_limit      EMMA_PASTE(EMMA_PREFIX, emma_sandbox_set_limit)
#define emma_sandbox_state          EMMA_PASTE(EMMA_PREFIX, emma_sandbox_state)
#define emma_sandbox_status_text    EMMA_PASTE(EMMA_PREFIX, emma_sandbox_status_text)
#define emma_sandbox_traceback      EMMA_PASTE(EMMA_PREFIX, emma_sandbox_traceback)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A sandbox: opaque, made by emma_sandbox_create, gone after emma_sandbox_destroy. */
typedef struct emma_sandbox emma_sandbox;

/* How a call ended. After the first six the sandbox can be called again, as the state of a Lua
 * program after an error, unless it is broken: then every call says so. */
enum emma_sandbox_status {
    EMMA_SANDBOX_DONE = 0,
    EMMA_SANDBOX_ERROR,  /* the script's, syntax, or a result that cannot be handed over */
    EMMA_SANDBOX_MEMORY, /* the limit, or the kernel, refused memory (or the script says so) */
    EMMA_SANDBOX_INSTRUCTIONS, /* the budget of instructions is used up */
    EMMA_SANDBOX_DEADLINE,     /* the time is over */
    EMMA_SANDBOX_KILLED,       /* emma_sandbox_kill */
    /* Nothing was run: */
    EMMA_SANDBOX_BROKEN,     /* a call was left in the middle: roll back or destroy */
    EMMA_SANDBOX_BUSY,       /* from inside a call of this sandbox */
    EMMA_SANDBOX_INVALID,    /* an argument is out of its range; emma_sandbox_message names it */
    EMMA_SANDBOX_UNSUPPORTED /* no checkpoints asked for; this kernel or this Lua cannot do it */
};

/* Libraries of Lua's. What is not in the default set is for scripts that are trusted: each lets
 * a script out of the sandbox, by files, by programs, by C modules, by pointers. */
enum emma_sandbox_libraries {
    EMMA_SANDBOX_BASE = 1, /* without dofile and loadfile; load takes text only */
    EMMA_SANDBOX_COROUTINE = 2,
    EMMA_SANDBOX_TABLE = 4,
    EMMA_SANDBOX_STRING = 8, /* without string.dump */
    EMMA_SANDBOX_MATH = 16,
    EMMA_SANDBOX_UTF8 = 32,
    EMMA_SANDBOX_IO = 64, /* open files are resources of the sandbox: see emma_sandbox_hold */
    EMMA_SANDBOX_OS = 128,
    EMMA_SANDBOX_PACKAGE = 256,
    EMMA_SANDBOX_DEBUG = 512, /* without sethook and debug */
    EMMA_SANDBOX_LIBRARIES_DEFAULT = 63
};

enum emma_sandbox_flags {
    EMMA_SANDBOX_CHECKPOINTS = 1, /* emma_sandbox_checkpoint can be called; some pages more */
    /* load and emma_sandbox_run take precompiled chunks, which can do anything to the process. */
    EMMA_SANDBOX_BYTECODE = 2,
    /* setmetatable takes metatables with __gc. Their functions run at any allocation, and no hook
     * does in them: an instruction budget needs a deadline beside it then. */
    EMMA_SANDBOX_FINALIZERS = 4,
    /* pcall catches "not enough memory", as in plain Lua. Scripts that try again and again take
     * time, not instructions. */
    EMMA_SANDBOX_CATCH_MEMORY = 8,
    /* The limit holds from the first page on. Otherwise it is counted from when the sandbox was
     * made, and again from each checkpoint: what the start took, and a prelude, is not the
     * script's (while a prelude runs, emma_sandbox_set_limit can lift it). */
    EMMA_SANDBOX_LIMIT_ALL = 16,
    /* Stay with an incremental collector; otherwise it is generational. */
    EMMA_SANDBOX_INCREMENTAL = 32
};

/* Prints what Lua's print would: `text` ends with a newline, and lives during the call. As a
 * host function it is not left in the middle; it raises no errors. */
typedef void (*emma_sandbox_print_fn)(void *arg, emma_sandbox *sandbox, const char *text,
                                      size_t bytes);

/* The soft limit was crossed, over = true on the way up; under the rules of emma_limit_fn:
 * nothing of the sandbox may be called but emma_sandbox_kill. */
typedef void (*emma_sandbox_soft_fn)(void *arg, emma_sandbox *sandbox, bool over);

typedef struct emma_sandbox_options {
    size_t struct_bytes;     /* sizeof(emma_sandbox_options): lets the struct grow */
    const char *name;        /* in emma's messages; copied; NULL: "sandbox" */
    size_t limit_bytes;      /* hard cap of what the scripts may take; EMMA_UNLIMITED: none */
    size_t soft_limit_bytes; /* crossing it calls soft_handler; EMMA_UNLIMITED: never */
    size_t spare_bytes;      /* beside the limit: for messages and tracebacks */
    size_t reserve_bytes;    /* address space; 0: chosen from the limit */
    uint64_t instructions; /* that a call may execute, as Lua's count hook counts; 0: any number */
    /* Microseconds that a call may take; 0: any time, and three system calls less per call. */
    uint64_t deadline_us;
    unsigned libraries; /* emma_sandbox_libraries, or-ed */
    unsigned flags;     /* emma_sandbox_flags, or-ed */
    /* That are allocated after a checkpoint without a collection; at most a sixteenth of the
     * limit. */
    size_t collect_after_bytes;
    unsigned value_depth;        /* tables in tables that arguments and results may have */
    size_t value_bytes;          /* that the results of a call may take in the host's memory */
    emma_sandbox_print_fn print; /* NULL: to stdout */
    void *print_arg;
    emma_sandbox_soft_fn soft_handler; /* NULL: none */
    void *soft_arg;
} emma_sandbox_options;

#define EMMA_SANDBOX_SPARE_DEFAULT_BYTES   ((size_t)16 * 1024)
#define EMMA_SANDBOX_COLLECT_DEFAULT_BYTES ((size_t)1024 * 1024)
#define EMMA_SANDBOX_VALUE_DEPTH_DEFAULT   16
#define EMMA_SANDBOX_VALUE_DEPTH_MAX       100
#define EMMA_SANDBOX_VALUE_DEFAULT_BYTES   ((size_t)1024 * 1024)

#define EMMA_SANDBOX_OPTIONS_INIT                                                                 \
    {                                                                                             \
        sizeof(emma_sandbox_options), NULL, EMMA_UNLIMITED, EMMA_UNLIMITED,                       \
            EMMA_SANDBOX_SPARE_DEFAULT_BYTES, 0, 0, 0, EMMA_SANDBOX_LIBRARIES_DEFAULT,            \
            EMMA_SANDBOX_CHECKPOINTS, EMMA_SANDBOX_COLLECT_DEFAULT_BYTES,                         \
            EMMA_SANDBOX_VALUE_DEPTH_DEFAULT, EMMA_SANDBOX_VALUE_DEFAULT_BYTES, NULL, NULL, NULL, \
            NULL                                                                                  \
    }

/* ---- Values ---- */

enum emma_sandbox_type {
    EMMA_SANDBOX_NIL = 0,
    EMMA_SANDBOX_BOOLEAN,
    EMMA_SANDBOX_INTEGER,
    EMMA_SANDBOX_FLOAT,
    EMMA_SANDBOX_TEXT, /* a string: any bytes */
    EMMA_SANDBOX_PAIRS /* a table, without its metatable */
};

struct emma_sandbox_pair;

/* A value outside of any interpreter. Of `as`, what belongs to the type. */
typedef struct emma_sandbox_value {
    enum emma_sandbox_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct {
            const char *data; /* of results a 0 follows; NULL only with 0 bytes */
            size_t bytes;
        } text;
        struct {
            const struct emma_sandbox_pair *items;
            size_t count;
        } pairs;
    } as;
} emma_sandbox_value;

/* An entry of a table; the key is neither nil nor NaN. Of results the order is lua_next's. */
typedef struct emma_sandbox_pair {
    emma_sandbox_value key;
    emma_sandbox_value value;
} emma_sandbox_pair;

/* ---- Life ---- */

/* Tells whether emma_sandbox_create would take these options: DONE, INVALID, UNSUPPORTED (this
 * program cannot be stopped by a signal, as it is linked statically with the C library; or the
 * place where this Lua counts instructions was not found). *why, unless NULL, is a constant text
 * that names what is wrong. NULL options: the defaults. */
EMMA_API enum emma_sandbox_status emma_sandbox_options_check(const emma_sandbox_options *options,
                                                             const char **why);

/* Makes an interpreter with its libraries. NULL: the options are invalid, or memory was refused
 * (by the limit, with EMMA_SANDBOX_LIMIT_ALL, or by the kernel); nothing is left. */
EMMA_API emma_sandbox *emma_sandbox_create(const emma_sandbox_options *options);

/* Throws it away, whatever is in it: no finalizer runs, nothing is walked; resources are
 * released. From a function that the sandbox called: undefined. NULL: nothing happens. */
EMMA_API void emma_sandbox_destroy(emma_sandbox *sandbox);

/* ---- Calls ---- */

/* Compiles a text and runs it. `name` is what messages call it (NULL: "script"). Statuses: all. */
EMMA_API enum emma_sandbox_status emma_sandbox_run(emma_sandbox *sandbox, const char *name,
                                                   const char *text, size_t bytes);

/* Calls a global function, or one in a table ("game.on_join"), with copies of `count` arguments.
 * Statuses: all. */
EMMA_API enum emma_sandbox_status emma_sandbox_call(emma_sandbox *sandbox, const char *function,
                                                    const emma_sandbox_value *arguments,
                                                    size_t count);

/* What the last run or call returned, after DONE; none otherwise. They belong to the sandbox,
 * and are gone after the next run or call, whose arguments they may be, or destroy; a rollback
 * leaves them. */
EMMA_API const emma_sandbox_value *emma_sandbox_results(const emma_sandbox *sandbox, size_t *count);

/* What the last function of the kit on this sandbox has to say, if it failed, at most
 * EMMA_SANDBOX_MESSAGE_BYTES; "" if it did not. Gone with the next one. */
EMMA_API const char *emma_sandbox_message(const emma_sandbox *sandbox);
#define EMMA_SANDBOX_MESSAGE_BYTES 1024

/* The same, with its length: the error of a script may have null characters in it, the first of
 * which ends it otherwise. */
EMMA_API const char *emma_sandbox_message_bytes(const emma_sandbox *sandbox, size_t *bytes);

/* Where the error was, in the form of Lua's traceback; "" where there is none (memory, a broken
 * sandbox). */
EMMA_API const char *emma_sandbox_traceback(const emma_sandbox *sandbox);
#define EMMA_SANDBOX_TRACEBACK_BYTES 4096

/* "done", "error", "memory", ... */
EMMA_API const char *emma_sandbox_status_text(enum emma_sandbox_status status);

/* Stops the run or call that is going on, or the next one if none is; a rollback forgets it. For
 * any thread, and signal handlers. Who kills a sandbox of a pool must know that the lease still
 * lasts. */
EMMA_API void emma_sandbox_kill(emma_sandbox *sandbox);

/* Changes what each following call may execute, and how long it may take, as the options say.
 * INVALID as there. */
EMMA_API enum emma_sandbox_status
emma_sandbox_set_budget(emma_sandbox *sandbox, uint64_t instructions, uint64_t deadline_us);

/* Changes the limit: from now on, so much may be taken (with EMMA_SANDBOX_LIMIT_ALL: in all). A
 * rollback counts it from the checkpoint. MEMORY when more is in use already, INVALID when it is
 * too small, BUSY. */
EMMA_API enum emma_sandbox_status emma_sandbox_set_limit(emma_sandbox *sandbox, size_t limit_bytes);

/* ---- What scripts see ---- */

/* Sets a global, or a field ("game.config"; tables on the way are made). MEMORY, INVALID, BUSY,
 * BROKEN. */
EMMA_API enum emma_sandbox_status emma_sandbox_set(emma_sandbox *sandbox, const char *name,
                                                   const emma_sandbox_value *value);

/* The same with a function of the host's, which may do what a lua_CFunction may: raise errors, call
 * back. It is never left in the middle by a signal; a kill or a deadline takes effect when it
 * returns, or as an error out of Lua code that it calls. It cannot yield, nor be yielded across. It
 * resumes threads of Lua's by emma_sandbox_resume: in others the hook is set late, and nothing is
 * counted. Functions that the host puts into the state otherwise can be left in the middle of any
 * call of Lua's. */
EMMA_API enum emma_sandbox_status emma_sandbox_register(emma_sandbox *sandbox, const char *name,
                                                        lua_CFunction function, void *arg);

/* What a function of the host's in values answers. `values` are copied when it has returned; then,
 * whatever happens, `release` is called. */
typedef struct emma_sandbox_answer {
    const emma_sandbox_value *values;
    size_t count;
    const char *error; /* NULL: none; otherwise the script's error, in place of values */
    void (*release)(struct emma_sandbox_answer *answer); /* NULL: nothing to do */
    void *memory;                                        /* for `release` */
} emma_sandbox_answer;

/* A function of the host's that needs no interface of Lua's. The arguments are copies, within
 * value_depth and value_bytes, that live until it returns; the answer is empty when it is
 * called. */
typedef void (*emma_sandbox_function_fn)(void *arg, emma_sandbox *sandbox,
                                         const emma_sandbox_value *arguments, size_t count,
                                         emma_sandbox_answer *answer);

/* emma_sandbox_register for such a function. It may be called, with `arg`, until the sandbox is
 * gone, also when another one has taken its name: scripts may have it, and a rollback brings it
 * back. */
EMMA_API enum emma_sandbox_status emma_sandbox_provide(emma_sandbox *sandbox, const char *name,
                                                       emma_sandbox_function_fn function,
                                                       void *arg);

/* Pushes a copy of a value onto the stack of a state, which need not be a sandbox's, as lua_push...
 * do: for functions that know Lua's interface. Raises an error where Lua has no memory. */
EMMA_API void emma_sandbox_push(lua_State *state, const emma_sandbox_value *value);

/* lua_resume for host functions; `from` is the thread that they were called in. */
EMMA_API int emma_sandbox_resume(lua_State *thread, lua_State *from, int count, int *results);

/* Inside such a function: the `arg` that it was registered with. */
EMMA_API void *emma_sandbox_arg(lua_State *state);

/* Inside such a function: the sandbox that called it. */
EMMA_API emma_sandbox *emma_sandbox_of(lua_State *state);

/* ---- Checkpoints ---- */

/* Collects all garbage and takes a checkpoint, named by *level. A further one is taken without a
 * collection, which would write to every page, until collect_after_bytes were allocated since
 * the last. MEMORY (the limit does not bound it, unless EMMA_SANDBOX_LIMIT_ALL), BUSY, BROKEN,
 * UNSUPPORTED. */
EMMA_API enum emma_sandbox_status emma_sandbox_checkpoint(emma_sandbox *sandbox, unsigned *level);

/* Brings the interpreter back to a checkpoint, to the byte, broken or not; releases resources
 * held since. The limit and the budget stay. INVALID for a level that is none; BUSY;
 * UNSUPPORTED. */
EMMA_API enum emma_sandbox_status emma_sandbox_rollback(emma_sandbox *sandbox, unsigned level);

/* Drops a checkpoint and all later ones. As emma_sandbox_rollback. */
EMMA_API enum emma_sandbox_status emma_sandbox_drop(emma_sandbox *sandbox, unsigned level);

/* ---- Resources ---- */

/* Notes something outside that a script has got, a file or a connection: `release` is called
 * with it when the sandbox is rolled back to before now, or destroyed; the last one first. It
 * may not call the sandbox. For host functions, and between calls. MEMORY, INVALID (NULL, or
 * held already). */
EMMA_API enum emma_sandbox_status emma_sandbox_hold(emma_sandbox *sandbox, void *resource,
                                                    void (*release)(void *resource));

/* Forgets it, as the script gave it back, without calling `release`. INVALID when it is not
 * held, or held since before the last checkpoint: then a rollback would bring back a script that
 * has it. */
EMMA_API enum emma_sandbox_status emma_sandbox_let_go(emma_sandbox *sandbox, const void *resource);

/* ---- Figures ---- */

typedef struct emma_sandbox_stats {
    size_t struct_bytes; /* in: sizeof(emma_sandbox_stats) of the caller; out: what was filled in */
    size_t limit_bytes;  /* of the instance, all included; EMMA_UNLIMITED if none */
    size_t live_bytes;   /* in blocks */
    size_t footprint_bytes; /* pages in use, of checkpoints too */
    size_t peak_footprint_bytes;
    size_t checkpoint_bytes;             /* part of the footprint */
    size_t resource_count;               /* held now */
    uint64_t instructions;               /* of the last call; 0 if it had no budget */
    uint64_t total_instructions;         /* of all calls with a budget */
    uint64_t microseconds;               /* of the last call */
    uint64_t total_microseconds;         /* of all calls */
    uint64_t calls[EMMA_SANDBOX_BROKEN]; /* by the status that they ended with */
    uint64_t broken_count;               /* calls that were left in the middle */
    uint64_t rollback_count;
} emma_sandbox_stats;

/* Fills in the figures. Does nothing if out->struct_bytes is 0. */
EMMA_API void emma_sandbox_get_stats(const emma_sandbox *sandbox, emma_sandbox_stats *out);

/* Bytes of what the script can reach, by type; the rest is arrays and hash parts of tables,
 * stacks, code, what Lua keeps for itself, and garbage. */
typedef struct emma_sandbox_type_bytes {
    size_t strings, tables, functions, userdata, threads, rest;
} emma_sandbox_type_bytes;

/* Walks the interpreter from its registry. O(objects); takes host memory for that. MEMORY, BUSY,
 * BROKEN. */
EMMA_API enum emma_sandbox_status emma_sandbox_get_type_bytes(emma_sandbox *sandbox,
                                                              emma_sandbox_type_bytes *out);

/* The interpreter, for what is not here. Lua code that the host runs in the state itself has no
 * budget, and is not stopped. */
EMMA_API lua_State *emma_sandbox_state(emma_sandbox *sandbox);

/* The interpreter's memory, likewise. */
EMMA_API emma *emma_sandbox_instance(emma_sandbox *sandbox);

#ifdef __cplusplus
}
#endif

#endif
