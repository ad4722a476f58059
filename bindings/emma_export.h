/* emma_export.h - lets `emma top PID` look at the instances of a running process.
 *
 *     int error = emma_export_start();                     - once, when the process was asked to -
 *     if (error != 0) ... strerror(error) ...
 *     emma *instance = emma_create(&options);
 *     emma_export_add(instance, "levels", "lua", 0);
 *     ...
 *     emma_export_remove(instance);                        - before it is destroyed -
 *     emma_destroy(instance);
 *
 * The process has a page in memory then, a file without a name that others find by its descriptor
 * in /proc/PID/fd and that goes when the process does, and a thread "emma-export", with all signals
 * blocked, that writes the figures of the instances there four times a second (or as often as takes
 * a hundredth of a processor's time, if they are thousands). Who may look is the kernel's to say:
 * the same user, and root. Others cannot write to it (Linux 5.1; before, the same user could).
 *
 * Instances that come before the start are not shown; nor are those beyond what the system gives
 * room for. All functions may be called by any thread, not by signal handlers. Several copies of
 * emma in a process have a page each.
 *
 * Forks: the child has a page and a thread of its own, with what was exported; if it gets none, it
 * goes on without. One that the C library knows nothing of (a clone by hand) exports nothing. */
#ifndef EMMA_EXPORT_H
#define EMMA_EXPORT_H

#include "emma.h"

#ifdef EMMA_PREFIX
#define emma_export_add    EMMA_PASTE(EMMA_PREFIX, emma_export_add)
#define emma_export_remove EMMA_PASTE(EMMA_PREFIX, emma_export_remove)
#define emma_export_start  EMMA_PASTE(EMMA_PREFIX, emma_export_start)
#define emma_export_stop   EMMA_PASTE(EMMA_PREFIX, emma_export_stop)
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum emma_export_flags {
    /* Bytes and blocks that are live are told, too, in about a hundredth of the thread's time at
     * most. For shared instances on which nobody calls emma_reset: only of such a one can
     * another thread sum them up. */
    EMMA_EXPORT_LIVE = 1
};

/* Begins to export: a descriptor, close-on-exec, and a thread. 0, also where it has begun already;
 * else errno's number of what failed, with nothing left. */
EMMA_API int emma_export_start(void);

/* Ends it, and forgets all instances; for libraries that are unloaded. Waits for the thread, two
 * seconds at most. Not while another thread is in here. */
EMMA_API void emma_export_stop(void);

/* Shows an instance under a name and a kind ("lua", "python"), which are copied and cut at 31 and
 * 15 bytes. Nothing happens where nothing is exported, or the instance is shown already. */
EMMA_API void emma_export_add(emma *instance, const char *name, const char *kind, unsigned flags);

/* Shows it no longer. To be called before emma_destroy; when it returns, the thread does not look
 * at the instance any more. An instance that is not shown, or NULL: nothing happens. */
EMMA_API void emma_export_remove(const emma *instance);

#ifdef __cplusplus
}
#endif

#endif
