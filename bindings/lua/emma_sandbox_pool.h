/* emma_sandbox_pool.h - sandboxes that stand ready: each is prepared once, by host functions and a
 * prelude, and checkpointed; a request leases one, and on return it is rolled back, or replaced
 * where it cannot be.
 *
 *     emma_sandbox_pool_options options = EMMA_SANDBOX_POOL_OPTIONS_INIT;
 *     options.prelude = text;
 *     options.prelude_bytes = strlen(text);
 *     emma_sandbox_pool *pool = emma_sandbox_pool_create(&options, message);
 *     ... in any thread:
 *     emma_sandbox *sandbox;
 *     if (emma_sandbox_pool_acquire(pool, &sandbox) == EMMA_SANDBOX_DONE) {
 *         emma_sandbox_call(sandbox, "handle", &argument, 1);
 *         emma_sandbox_pool_release(pool, sandbox);
 *     }
 *
 * Threads: all functions but create and destroy come from any thread. Forks: only while no other
 * thread is inside the pool, but to wait for a sandbox; the child has the pool with all that was
 * idle, and no thread that prepares ahead. */
#ifndef EMMA_SANDBOX_POOL_H
#define EMMA_SANDBOX_POOL_H

#include "emma_sandbox.h"

#ifdef EMMA_PREFIX
#define emma_sandbox_pool_acquire        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_acquire)
#define emma_sandbox_pool_acquire_within EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_acquire_within)
#define emma_sandbox_pool_create         EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_create)
#define emma_sandbox_pool_destroy        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_destroy)
#define emma_sandbox_pool_destroy_then   EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_destroy_then)
#define emma_sandbox_pool_get_stats      EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_get_stats)
#define emma_sandbox_pool_is_inside      EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_is_inside)
#define emma_sandbox_pool_message        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_message)
#define emma_sandbox_pool_prepare        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_prepare)
#define emma_sandbox_pool_release        EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_release)
#define emma_sandbox_pool_visit          EMMA_PASTE(EMMA_PREFIX, emma_sandbox_pool_visit)
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct emma_sandbox_pool emma_sandbox_pool;

/* Prepares a new sandbox before its prelude runs: registers functions, sets globals. Anything
 * but DONE ends the preparation with that status. Called by the thread that needs the sandbox,
 * or by the pool's own; never twice at once. */
typedef enum emma_sandbox_status (*emma_sandbox_prepare_fn)(void *arg, emma_sandbox *sandbox);

typedef struct emma_sandbox_pool_options {
    size_t struct_bytes;          /* sizeof(emma_sandbox_pool_options): lets the struct grow */
    emma_sandbox_options sandbox; /* of each; EMMA_SANDBOX_CHECKPOINTS is needed */
    size_t sandboxes_max;         /* that there are at once; an acquire beyond waits */
    size_t ahead; /* idle ones that a thread of the pool keeps ready; 0: no thread */
    emma_sandbox_prepare_fn prepare; /* NULL: nothing to do */
    void *prepare_arg;
    const char *prelude;      /* Lua; copied; NULL: none; no limit but prelude_us (or LIMIT_ALL) */
    size_t prelude_bytes;     /* 0: up to its end */
    const char *prelude_name; /* copied; NULL: "prelude" */
    uint64_t prelude_us;      /* microseconds that it may take; 0: any time */
} emma_sandbox_pool_options;

#define EMMA_SANDBOX_POOL_DEFAULT_MAX   64
#define EMMA_SANDBOX_PRELUDE_DEFAULT_US ((uint64_t)10 * 1000 * 1000)
#define EMMA_SANDBOX_POOL_OPTIONS_INIT                                   \
    {                                                                    \
        sizeof(emma_sandbox_pool_options), EMMA_SANDBOX_OPTIONS_INIT,    \
            EMMA_SANDBOX_POOL_DEFAULT_MAX, 0, NULL, NULL, NULL, 0, NULL, \
            EMMA_SANDBOX_PRELUDE_DEFAULT_US                              \
    }

/* Makes a pool and prepares its first sandbox. NULL: an option is invalid or the preparation
 * failed; `message`, unless NULL, tells why then. */
EMMA_API emma_sandbox_pool *emma_sandbox_pool_create(const emma_sandbox_pool_options *options,
                                                     char message[EMMA_SANDBOX_MESSAGE_BYTES]);

/* Ends the pool and its idle sandboxes. Leased ones must have been released. From the pool's own
 * thread, inside of a preparation, it returns at once, and that thread ends the pool when it is out
 * of the preparation; the pool may not be used any more. NULL: nothing happens. */
EMMA_API void emma_sandbox_pool_destroy(emma_sandbox_pool *pool);

/* Told that a pool is gone. */
typedef void (*emma_sandbox_gone_fn)(void *arg);

/* The same; `gone`, unless NULL, is called when nothing of the pool's uses prepare_arg or functions
 * of the host's any more: before this returns, or, where it came from the pool's own thread, by
 * that, later. With NULL for the pool: at once. */
EMMA_API void emma_sandbox_pool_destroy_then(emma_sandbox_pool *pool, emma_sandbox_gone_fn gone,
                                             void *arg);

/* Whether the calling thread is the pool's own, so inside of a preparation. NULL: false. */
EMMA_API bool emma_sandbox_pool_is_inside(const emma_sandbox_pool *pool);

/* Leases a sandbox: an idle one, else a new one, which is prepared now; else it waits for one to
 * be released. What the preparation ends with otherwise, or MEMORY; *sandbox is NULL then. */
EMMA_API enum emma_sandbox_status emma_sandbox_pool_acquire(emma_sandbox_pool *pool,
                                                            emma_sandbox **sandbox);

/* The same, but it waits for so many microseconds at most: BUSY when none was
 * released; 0: it does not wait. */
EMMA_API enum emma_sandbox_status
emma_sandbox_pool_acquire_within(emma_sandbox_pool *pool, uint64_t most_us, emma_sandbox **sandbox);

/* Copies what the last preparation that failed has to say; "" if none did. */
EMMA_API void emma_sandbox_pool_message(emma_sandbox_pool *pool,
                                        char message[EMMA_SANDBOX_MESSAGE_BYTES]);

/* Takes it back: rolls it back to how it was prepared, its limit and budget too. One that cannot
 * be is destroyed. Its results and messages are gone. INVALID, and nothing is done, for one that
 * is not leased from this pool; BUSY from inside a call of it. */
EMMA_API enum emma_sandbox_status emma_sandbox_pool_release(emma_sandbox_pool *pool,
                                                            emma_sandbox *sandbox);

/* Prepares until `count` are idle, or there are as many as there may be, those that other threads
 * are preparing included. What a preparation ends with. */
EMMA_API enum emma_sandbox_status emma_sandbox_pool_prepare(emma_sandbox_pool *pool, size_t count);

typedef struct emma_sandbox_pool_stats {
    size_t struct_bytes; /* in and out, as in emma_sandbox_stats */
    size_t sandboxes;    /* now, leased ones included */
    size_t idle;         /* of them */
    size_t sandboxes_max;
    size_t footprint_bytes;  /* of all idle ones */
    uint64_t prepared_count; /* ever */
    uint64_t failed_count;   /* preparations that failed */
    uint64_t acquired_count; /* leases */
    uint64_t waited_count;   /* of them, had to wait */
    uint64_t demanded_count; /* of them, had to be prepared first */
    uint64_t replaced_count; /* sandboxes that could not be rolled back */
    uint64_t broken_count;   /* rolled back after a call had been left in the middle */
    uint64_t microseconds;   /* spent with rollbacks */
} emma_sandbox_pool_stats;

/* Fills in the figures. Does nothing if out->struct_bytes is 0. */
EMMA_API void emma_sandbox_pool_get_stats(emma_sandbox_pool *pool, emma_sandbox_pool_stats *out);

/* Looks at an idle sandbox, which nobody can lease meanwhile. It may ask for its figures, and walk
 * the chunks of its instance, but neither run nor change anything, nor call the pool. */
typedef void (*emma_sandbox_visit_fn)(void *arg, emma_sandbox *sandbox);

/* Visits those that are idle when their turn comes. Leases of others wait for one visit at most. */
EMMA_API void emma_sandbox_pool_visit(emma_sandbox_pool *pool, emma_sandbox_visit_fn visit,
                                      void *arg);

#ifdef __cplusplus
}
#endif

#endif
