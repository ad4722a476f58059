/* emma_control.h - what the modules for Lua and Python are made of: handles that outlive what they
 * stand for, errors as a record, values in one piece of memory. emma.i describes it to SWIG; what
 * differs by language is in that language's folder.
 *
 * A handle refuses to be used after it was closed, and from two threads at once. A function that
 * fails leaves a record (control_begin); what it returns then means nothing.
 *
 * Threads: any, but a handle is freed when nobody has it any more. */
#ifndef EMMA_CONTROL_H
#define EMMA_CONTROL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "emma_sandbox.h"
#include "emma_sandbox_pool.h"

/* ---- Errors ---- */

/* What went wrong. The first are statuses of sandboxes, with their numbers. */
enum control_kind {
    CONTROL_NONE = EMMA_SANDBOX_DONE,
    CONTROL_CLOSED = EMMA_SANDBOX_UNSUPPORTED + 1, /* the handle was closed */
    CONTROL_CORRUPT,                               /* emma_check found a broken invariant */
    CONTROL_REFUSED                                /* the host's own memory, or an instance's */
};

typedef struct control_error {
    unsigned kind;                            /* enum emma_sandbox_status or enum control_kind */
    char message[EMMA_SANDBOX_MESSAGE_BYTES]; /* may have null characters in it */
    size_t message_bytes;
    char traceback[EMMA_SANDBOX_TRACEBACK_BYTES];
} control_error;

/* Begins to use functions of this header: `error`, of the caller's, is the calling thread's record
 * until control_end, which makes it what control_begin returned. NULL: until then there is none, and
 * none of them is called. */
control_error *control_begin(control_error *error);
void control_end(control_error *before);
/* Whether an error of a script's is this text, which a function of the host's raised: at
 * most with a place before it. */
bool control_is_text(const control_error *error, const char *text);
/* Whether the text is anywhere in it. */
bool control_has_text(const control_error *error, const char *text);

/* Copies a text, as much of it as there is room for, without half a character of UTF-8 at its end;
 * a null character as "\0". */
void control_copy_text(char *copy, size_t room, const char *text, size_t bytes);

/* What the kind of an error is called: "error", "memory", ..., "closed", "corrupt", "refused". */
const char *control_kind_text(unsigned kind);

void control_fail(unsigned kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Values of a language's, on their way into a sandbox ---- */

struct control_piece;

/* Memory that is freed as a whole. */
typedef struct control_arena {
    struct control_piece *pieces;
    size_t taken_bytes;
    size_t most_bytes; /* that may be taken; 0: any */
} control_arena;

/* NULL: the host has no memory, or it is more than may be taken. */
void *control_arena_take(control_arena *arena, size_t bytes);
void control_arena_free(control_arena *arena);

/* Whether more was asked for than may be taken. */
bool control_arena_is_full(const control_arena *arena);

/* Values and what they lie in. */
typedef struct control_values {
    emma_sandbox_value *items;
    size_t count;
    control_arena arena;
} control_values;

/* A table under construction: `room` pairs; NULL: no memory. */
emma_sandbox_pair *control_begin_pairs(control_arena *arena, emma_sandbox_value *value,
                                       size_t room);

/* Copies a text; false: no memory. */
bool control_set_text(control_arena *arena, emma_sandbox_value *value, const char *data,
                      size_t bytes);

/* Whether a table is a list: its keys are 1, 2, 3 and so on, in any order. */
bool control_is_list(const emma_sandbox_value *value);

/* Values of a sandbox's; they belong to it, until control_sandbox_done. */
typedef struct control_results {
    struct control_sandbox *sandbox; /* NULL: it failed */
    const emma_sandbox_value *items;
    size_t count;
} control_results;

/* ---- Functions of a language's ---- */

/* A function that sandboxes call. The language has `callable`; it is given back by `drop` when the
 * handle that it was given to is gone. */
typedef struct control_function {
    void *callable;
    emma_sandbox_function_fn call; /* with `callable` as its arg */
    void (*drop)(void *callable);
} control_function;

/* Those that a handle holds, each at an address of its own that stays. */
typedef struct control_functions {
    control_function **items;
    size_t count;
} control_functions;

/* ---- The process ---- */

/* Shows the instances and sandboxes that are made from now on to `emma top`. */
void control_export(void);

/* ---- Instances ---- */

typedef struct control_instance {
    emma *instance; /* NULL: closed */
    atomic_flag busy;
} control_instance;

/* `name` NULL: "unnamed". */
control_instance *control_instance_new(const emma_options *options, const char *name);
void control_instance_close(control_instance *handle); /* nothing happens to a closed one */
void control_instance_free(control_instance *handle);
size_t control_instance_malloc(control_instance *handle, size_t bytes);
/* INVALID for an address that no live block begins at. O(blocks): all are looked at. */
void control_instance_release(control_instance *handle, size_t address);
size_t control_instance_usable_size(control_instance *handle, size_t address);
bool control_instance_owns(control_instance *handle, size_t address);
size_t control_instance_trim(control_instance *handle);
void control_instance_reset(control_instance *handle);
void control_instance_check(control_instance *handle);
void control_instance_set_limit(control_instance *handle, size_t limit_bytes);
void control_instance_set_soft_limit(control_instance *handle, size_t soft_limit_bytes);
void control_instance_use_spare(control_instance *handle, bool use);
emma_stats control_instance_stats(control_instance *handle);
/* After the last class: all 0. */
emma_class_stats control_instance_class_stats(control_instance *handle, unsigned index);
bool control_instance_walk(control_instance *handle, emma_walk_fn visit, void *arg);
unsigned control_instance_checkpoint(control_instance *handle);
void control_instance_rollback(control_instance *handle, unsigned level);
void control_instance_drop(control_instance *handle, unsigned level);

/* ---- Sandboxes ---- */

typedef struct control_sandbox {
    emma_sandbox *sandbox;     /* NULL: closed */
    struct control_pool *pool; /* that it is leased from; NULL: none */
    control_functions functions;
    atomic_flag busy;
    pthread_mutex_t life;  /* held to kill it, and as it ends */
    _Atomic pid_t process; /* that `life` was made in */
    unsigned value_depth;  /* as its options say */
    atomic_size_t limit_bytes;
} control_sandbox;

/* How deep tables may lie in tables that go into a sandbox; NULL: none. */
unsigned control_sandbox_depth(const control_sandbox *handle);

/* Bounds what is taken for values that go into a sandbox by what can be in
 * it. NULL: nothing happens. */
void control_sandbox_bound(control_sandbox *handle, control_arena *arena);

/* `name` NULL: "sandbox". `print`, unless its callable is NULL, is called for each line that the
 * script prints, and dropped with the handle; it is when this fails, too. */
control_sandbox *control_sandbox_new(const emma_sandbox_options *options, const char *name,
                                     const control_function *print);
void control_sandbox_close(control_sandbox *handle);
void control_sandbox_free(control_sandbox *handle);
bool control_sandbox_is_closed(control_sandbox *handle);

control_results control_sandbox_run(control_sandbox *handle, const char *text, size_t bytes,
                                    const char *name);
control_results control_sandbox_call(control_sandbox *handle, const char *function,
                                     const control_values *arguments);
/* The results of one of those were looked at. */
void control_sandbox_done(control_sandbox *handle);

/* The first of `value`, which is the only one. */
void control_sandbox_set(control_sandbox *handle, const char *name, const control_values *value);
void control_sandbox_provide(control_sandbox *handle, const char *name,
                             const control_function *function);
void control_sandbox_kill(control_sandbox *handle);
unsigned control_sandbox_checkpoint(control_sandbox *handle);
void control_sandbox_rollback(control_sandbox *handle, unsigned level);
void control_sandbox_drop(control_sandbox *handle, unsigned level);
void control_sandbox_set_limit(control_sandbox *handle, size_t limit_bytes);
void control_sandbox_set_budget(control_sandbox *handle, uint64_t instructions,
                                uint64_t deadline_us);
emma_sandbox_stats control_sandbox_stats(control_sandbox *handle);
emma_sandbox_type_bytes control_sandbox_types(control_sandbox *handle);
emma_stats control_sandbox_memory(control_sandbox *handle);
emma_class_stats control_sandbox_class_stats(control_sandbox *handle, unsigned index);
bool control_sandbox_walk(control_sandbox *handle, emma_walk_fn visit, void *arg);
void control_sandbox_check(control_sandbox *handle);
size_t control_sandbox_trim(control_sandbox *handle);

/* ---- Pools ---- */

typedef struct control_pool {
    emma_sandbox_pool *pool; /* NULL: closed, or not opened yet */
    control_functions functions;
    char **names;                    /* of the functions; NULL: of none */
    const control_function *printer; /* of the functions; NULL: none */
    unsigned value_depth;            /* of its sandboxes */
    size_t limit_bytes;
    atomic_size_t users; /* the handle itself, and leases; the last one frees it */
} control_pool;

/* A pool is made in steps: functions that its sandboxes have, then it is opened. */
control_pool *control_pool_new(const control_function *print);
void control_pool_provide(control_pool *handle, const char *name, const control_function *function);
/* `name`: of the sandboxes; `prelude` NULL: none; `prelude_name` NULL: "prelude". */
void control_pool_open(control_pool *handle, const emma_sandbox_pool_options *options,
                       const char *name, const char *prelude, size_t bytes,
                       const char *prelude_name);
bool control_pool_is_closed(const control_pool *handle);
void control_pool_close(control_pool *handle);
void control_pool_free(control_pool *handle);
/* A new handle; it goes back when that is closed. NULL without an error: none came within so many
 * microseconds. */
control_sandbox *control_pool_acquire(control_pool *handle, uint64_t most_us);
void control_pool_prepare(control_pool *handle, size_t count);
emma_sandbox_pool_stats control_pool_stats(control_pool *handle);

#endif
