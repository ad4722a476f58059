/* emma_sandbox_internal.h - what the files of the sandbox kit share.
 *
 *     emma_sandbox.c               the whole kit as one translation unit: its internals are static
 *     emma_sandbox_life.c          made and thrown away, limits, figures
 *     emma_sandbox_checkpoint.c    checkpoints and rollbacks
 *     emma_sandbox_call.c          the protected window that all Lua code runs in; run and call
 *     emma_sandbox_name.c          names of what scripts see, through tables
 *     emma_sandbox_stop.c          how a call is stopped: hook, timer, signal, the way out
 *     emma_sandbox_count.c         the instruction budget
 *     emma_sandbox_library.c       what scripts see in place of Lua's own functions
 *     emma_sandbox_host.c          functions and values of the host's
 *     emma_sandbox_value.c         values into the interpreter and out of it
 *     emma_sandbox_resource.c      what scripts hold outside; files
 *     emma_sandbox_types.c         bytes by type
 *     emma_sandbox_pool_prepare.c  how sandboxes of a pool come to be
 *     emma_sandbox_pool.c          sandboxes that stand ready
 *     ../emma_export.c             shows them to others, where the host asks for it
 *
 * Invariants:
 *     S1  `running` is set from the first to the last instruction that a call can execute, `armed`
 *         while `escape` can be jumped to.
 *     S2  `current` is the thread of Lua's that runs; every way from one to another passes
 *         emmai_switch_to.
 *     S3  `in_host` is above 0 exactly while a frame of a host function is on the stack: errors
 *         that leave one are caught there and raised again.
 *     S4  Once `stop` is set, nothing that scripts can call catches an error (a finalizer ends
 *         with it, but its errors go nowhere). */
#ifndef EMMA_SANDBOX_INTERNAL_H
#define EMMA_SANDBOX_INTERNAL_H

/* Timers and signals for threads; this file comes first where it is included. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "../emma_export.h"
#include "emma_sandbox.h"
#include "emma_sandbox_pool.h"

/* Before 5.4.3 scripts can overflow the C stack by errors in variables that are closed. */
#if LUA_VERSION_NUM != 504 || LUA_VERSION_RELEASE_NUM < 50403
#error "the sandbox kit is for Lua 5.4, from 5.4.3 on"
#endif

/* A piece of host memory that results lie in. */
typedef struct emmai_piece {
    struct emmai_piece *next;
    size_t used_bytes;
    size_t size_bytes;
    char bytes[];
} emmai_piece;

/* A place in the pieces of a sandbox. */
typedef struct emmai_place {
    const emmai_piece *piece;
    size_t used_bytes;
    size_t pieces_bytes;
} emmai_place;

typedef struct emmai_resource {
    void *resource;
    void (*release)(void *);
    unsigned level; /* the last checkpoint when it came; 0: before all */
} emmai_resource;

/* A checkpoint. */
typedef struct emmai_mark {
    unsigned level;
    size_t collected_bytes; /* what Lua had in use after the last full collection before it */
    size_t base_bytes;      /* where both limits are counted from since then */
} emmai_mark;

/* What bounds a stay in the interpreter. */
typedef struct emmai_window {
    uint64_t instructions; /* 0: any number */
    uint64_t deadline_us;  /* 0: any time */
    bool stops;            /* a kill ends it; otherwise, it waits for the next call */
} emmai_window;

/* The kit's own work, which takes no time. */
#define EMMAI_WINDOW_OWN ((emmai_window){ 0, 0, false })

struct emma_sandbox {
    emma *instance;
    lua_State *state;
    emma_sandbox_options options; /* of them name is NULL */
    size_t base_bytes;            /* the limits of the options are counted from here */

    /* The call that runs; its thread's and its signal handler's. */
    sigjmp_buf escape;
    const char *stack;                   /* where on the C stack it began */
    struct emma_sandbox *outer;          /* of whose host functions this call comes */
    struct emma_sandbox *entered_before; /* of the thread's calls that go on, the one before */
    lua_State *volatile current;         /* S2 */
    volatile int armed;
    volatile int in_host;
    volatile int hooked;   /* the hook that stops it has been set */
    int64_t hooked_cpu_ns; /* when: on the thread's clock */
    int hooked_ticks;      /* of the timer since then */
    int64_t deadline_ns;   /* on the monotonic clock; 0: none */
    bool running;
    bool broken;
    _Atomic int stop; /* enum emma_sandbox_status; 0: go on */
    _Atomic pid_t thread;

    /* The budget; see emma_sandbox_count.c. */
    bool counting;
    uint64_t executed; /* in the last window that had one */
    uint64_t left;     /* beside what is in the running thread's counter */

    /* What the last call left to the host. */
    char *message;        /* NULL: none */
    size_t message_bytes; /* without the 0 at its end */
    char *traceback;      /* NULL: none */
    emmai_piece *pieces;  /* what results lie in, and arguments of host functions meanwhile */
    size_t pieces_bytes;
    const char *taken; /* what is being copied out: "result", "argument" */
    emma_sandbox_value *results;
    size_t result_count;
    emma_sandbox_answer answer; /* of the host function in values that has just returned */

    emmai_mark *marks; /* the checkpoints there are, levels ascending */
    size_t mark_count;
    emmai_resource *resources; /* as they came */
    size_t resource_count;
    size_t resource_room;

    size_t place; /* in its pool, if it is of one */

    uint64_t last_instructions, total_instructions;
    uint64_t last_ns, total_ns;
    uint64_t calls[EMMA_SANDBOX_BROKEN];
    uint64_t broken_count;
    uint64_t rollback_count;
};

/* A sandbox of a pool's and the checkpoint that it goes back to. */
typedef struct emmai_pool_slot {
    emma_sandbox *sandbox; /* NULL: this place is free */
    unsigned level;
    bool leased;
} emmai_pool_slot;

/* All Lua runs outside of the lock. `count` holds those that are idle, leased or being prepared; it
 * is raised before a preparation begins, and lowered when one failed or a sandbox was destroyed, so
 * there never are more than sandboxes_max. */
struct emma_sandbox_pool {
    emma_sandbox_pool_options options; /* names and texts are copies */
    pthread_mutex_t lock;
    /* One came back, or was destroyed, or there is to be prepared, or the end. */
    pthread_cond_t changed;
    pthread_mutex_t preparing; /* held during options.prepare */
    emmai_pool_slot *slots;    /* sandboxes_max */
    size_t *idle;              /* a stack of places in slots */
    size_t idle_count;
    size_t count;
    size_t waiting; /* threads in acquire that wait */
    pthread_t thread;
    bool has_thread;
    atomic_uint renewed; /* in which process the locks were made, and has_thread holds */
    bool ends;
    bool is_orphan;            /* destroyed by its own thread, which frees it as it returns */
    emma_sandbox_gone_fn gone; /* called after that; NULL: none */
    void *gone_arg;
    int64_t rollback_ns;
    char message[EMMA_SANDBOX_MESSAGE_BYTES]; /* of the last preparation that failed */
    emma_sandbox_pool_stats stats;            /* the counters of it */
};

#define EMMAI_NS_PER_US ((int64_t)1000)
#define EMMAI_NS_PER_S  ((int64_t)1000000000)

/* emma_sandbox_call.c */

/* Runs `act` with `job` as its light userdata, as one call: nothing that it raises gets out. The
 * budgets are as in the options, 0: none. The message and the traceback are there after a
 * failure. */
static enum emma_sandbox_status emmai_sandbox_protect(emma_sandbox *sandbox, lua_CFunction act,
                                                      void *job, const emmai_window *window);

/* Says why nothing is run, and returns the status. */
static enum emma_sandbox_status emmai_sandbox_refuse(emma_sandbox *sandbox,
                                                     enum emma_sandbox_status status,
                                                     const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether a call may begin: DONE, BUSY or BROKEN. Forgets what the last one left. */
static enum emma_sandbox_status emmai_sandbox_begin(emma_sandbox *sandbox);

/* Frees messages: what follows has not failed. */
static void emmai_sandbox_clear(emma_sandbox *sandbox);

/* Frees results and messages. */
static void emmai_sandbox_forget(emma_sandbox *sandbox);

/* Whether the error on top of the stack says that memory was refused; load tells it by its text
 * only. An error that a script raises with this text is one, to Lua too. */
static bool emmai_sandbox_is_memory(lua_State *state, int lua_status);

/* emma_sandbox_name.c */

/* NULL: the name is one ("a.b.c"); else what is wrong with it. */
static const char *emmai_sandbox_name_wrong(const char *name);

/* Puts the object that `name` ("a.b.c") leads to on the stack: all but the last part are tables. */
static void emmai_sandbox_push_path(lua_State *state, const char *name);

/* Sets what `name` leads to, to the value on top of the stack, which is popped; makes the tables
 * on the way. */
static void emmai_sandbox_set_path(lua_State *state, const char *name);

/* emma_sandbox_life.c */

/* What the kit calls it. */
static enum emma_sandbox_status emmai_sandbox_status(enum emma_status status);

/* Sets both limits, counted from base_bytes; or begins to count them from what is in use now,
 * unless all counts. */
static enum emma_status emmai_sandbox_set_limits(emma_sandbox *sandbox);
static enum emma_status emmai_sandbox_count_limits(emma_sandbox *sandbox);

/* emma_sandbox_stop.c */

/* Prepares the process and the calling thread. False: no timer could be had. */
static bool emmai_stop_prepare(void);

/* Whether a call can be taken out of Lua's code in this program. */
static bool emmai_stop_can_escape(void);

/* A number that the child of a fork has another of. */
static unsigned emmai_stop_generation(void);

/* A call begins and ends on this thread. */
static void emmai_stop_enter(emma_sandbox *sandbox, uint64_t deadline_us);
static void emmai_stop_leave(emma_sandbox *sandbox);

/* A function of the host's is over: where other calls of the thread's went on meanwhile, as the
 * host changes between stacks, this is the one that runs again. */
static void emmai_stop_resume(emma_sandbox *sandbox);

/* Whether a thread of Lua's was ended by an error of the hook: in such a one no hook runs any
 * more, not even in what is called as its variables are closed. */
static bool emmai_stop_has_spent(lua_State *thread);

/* In words, why a call is stopped. */
static const char *emmai_stop_reason(enum emma_sandbox_status reason);

/* Raises the error that `stop` stands for. */
static int emmai_stop_raise(lua_State *state, emma_sandbox *sandbox);

/* Notes a reason, unless there is one. */
static void emmai_stop_note(emma_sandbox *sandbox, enum emma_sandbox_status reason);

/* Lua's hook in all sandboxes. */
static void emmai_stop_hook(lua_State *state, lua_Debug *info);

/* Sets it in a thread of Lua's, the one that runs, so that it comes at whatever is next;
 * counting ends. */
static void emmai_stop_hook_anything(emma_sandbox *sandbox, lua_State *state);

static int64_t emmai_stop_now_ns(void);

/* emma_sandbox_count.c */

/* Whether instructions can be counted exactly with this Lua. */
static bool emmai_count_is_possible(void);

/* A call with a budget begins and ends: the number of instructions executed. */
static void emmai_count_enter(emma_sandbox *sandbox, uint64_t instructions);
static uint64_t emmai_count_leave(emma_sandbox *sandbox, uint64_t instructions);

/* The call is being stopped, in this thread of Lua's: what was executed is counted up to here. */
static void emmai_count_close(emma_sandbox *sandbox, const lua_State *state);

/* The counter of the running thread has come to its end. True: there was more, it goes on. */
static bool emmai_count_go_on(emma_sandbox *sandbox, lua_State *state);

/* Control passes from one of Lua's threads to another, and with it what is left. */
static void emmai_count_pass(emma_sandbox *sandbox, lua_State *from, lua_State *to);

/* emma_sandbox_library.c */

/* Opens the libraries and puts functions of the kit in the place of some; job: the sandbox. */
static int emmai_library_open(lua_State *state);

/* After a protected call, with the error on top of the stack if it failed: raises that again, or
 * one of its own, if the script is to stop. */
static void emmai_library_pass_stop(lua_State *state, emma_sandbox *sandbox, int lua_status);

/* The running thread becomes `to`. */
static void emmai_switch_to(emma_sandbox *sandbox, lua_State *to);

/* emma_sandbox_host.c */

/* Wraps the function on top of the stack as one of the host's, called `name` in messages. */
static void emmai_host_wrap(lua_State *state, const char *name);

/* emma_sandbox_value.c */

/* NULL: the value can be handed in; else what is wrong with it. */
static const char *emmai_value_wrong(const emma_sandbox_value *value, unsigned depth);

/* Copies what is on the stack from index `first` on to pieces; `what` it is, in messages. */
static emma_sandbox_value *emmai_value_take_all(lua_State *state, emma_sandbox *sandbox, int first,
                                                const char *what);

/* Where copies end now; and back to there: later ones are gone. */
static emmai_place emmai_value_place(const emma_sandbox *sandbox);
static void emmai_value_go_back(emma_sandbox *sandbox, const emmai_place *place);

/* emma_sandbox_resource.c */

/* Releases what came after checkpoint `level`, or with 0 all. */
static void emmai_resource_release(emma_sandbox *sandbox, unsigned level);

/* Makes files that are opened by the io library, whose table is on top of the stack, resources. */
static void emmai_resource_watch_files(lua_State *state);

/* emma_sandbox_pool_prepare.c */

/* Prepares one more, with the lock held on both ends; *place is leased then. There must be room
 * for it. */
static enum emma_sandbox_status emmai_pool_prepare_one(emma_sandbox_pool *pool, size_t *place);

/* A place that was leased is idle from now on; with the lock held. */
static void emmai_pool_put_idle(emma_sandbox_pool *pool, size_t place);

/* The thread of a pool, which is `pool`: keeps `ahead` idle. */
static void *emmai_pool_keep_ahead(void *pool);

/* The one that the calling thread is the thread of; NULL: none. */
static _Thread_local const emma_sandbox_pool *emmai_pool_of_thread;

/* emma_sandbox_pool.c */

/* Takes its lock, which is made anew in the child of a fork. */
static void emmai_pool_lock(emma_sandbox_pool *pool);

/* Frees it and the idle ones, and says so; its thread is not there any more, or the caller. */
static void emmai_pool_free(emma_sandbox_pool *pool);

static inline emma_sandbox *emmai_sandbox_of(lua_State *state)
{
    return *(emma_sandbox **)lua_getextraspace(state);
}

/* Around what the kit does with the host's memory in a call, as around functions of the host's:
 * S3. */
static inline void emmai_host_enter(emma_sandbox *sandbox)
{
    sandbox->in_host++;
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void emmai_host_leave(emma_sandbox *sandbox)
{
    atomic_signal_fence(memory_order_seq_cst);
    sandbox->in_host--;
}

static inline enum emma_sandbox_status emmai_sandbox_stopped(const emma_sandbox *sandbox)
{
    return (enum emma_sandbox_status)atomic_load_explicit(&sandbox->stop, memory_order_relaxed);
}

/* The last checkpoint there is; 0: none. */
static inline unsigned emmai_sandbox_level(const emma_sandbox *sandbox)
{
    return sandbox->mark_count ? sandbox->marks[sandbox->mark_count - 1].level : 0;
}

#endif
