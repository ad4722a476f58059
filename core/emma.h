/* emma.h - the public interface of emma, an EMbeddable Memory Allocator for language runtimes.
 *
 * A host creates an instance per interpreter and takes all of that interpreter's memory from it. An
 * instance maps its own memory, shares nothing with other instances, other copies of emma or the C
 * library, can be capped and measured, and is thrown away in one system call whatever it holds.
 *
 * Threads: different instances are independent. An instance is local, unless it was made with EMMA_SHARED: one thread
 * at a time may be inside it (as with a lua_State), and a call that arrives from a signal handler while the
 * interrupted code is inside the same instance is refused: allocations return NULL, frees are put off until a later
 * call that leaves the fast path. In a shared instance any thread may be inside at any time, and signal handlers are
 * served; emma_walk, emma_check, emma_reset and emma_destroy need the instance for themselves all the same, and what
 * emma_get_stats and emma_walk_chunks tell of blocks is exact only then. From a callback of emma's (a handler, a
 * visit) only what its type allows may be called.
 *
 * Forks: the child may use every instance. What other threads of the parent were just changing is
 * lost to it, but not damaged.
 *
 * System calls: each function's own are named. Whatever allocates, resizes or frees may call mprotect (more of the
 * region), madvise (pages given back or taken at once) and clock_gettime (decay), and mmap and munmap once, as a
 * probe; in a shared instance also gettid, getpid and tgkill with signal 0 (which threads are gone). Memory locked by
 * mlockall cannot be given back, and with MCL_FUTURE all that is accessible is resident, whatever the footprint says.
 *
 * Errors: NULL or an emma_status; errno is never touched. A call that fails leaves the instance and
 * every block as they were. Misuse (see emma_misuse) stops the program unless the host handles it.
 *
 * Prefix: compile both emma and its users with -DEMMA_PREFIX=acme_ and every symbol below becomes
 * acme_emma_* for the linker, while sources keep the names written here. */
#ifndef EMMA_H
#define EMMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMMA_VERSION_MAJOR 0
#define EMMA_VERSION_MINOR 1
#define EMMA_VERSION_PATCH 0
#define EMMA_VERSION       "0.1.0"

#ifdef EMMA_PREFIX
#define EMMA_PASTE_EXPANDED(prefix, name) prefix##name
#define EMMA_PASTE(prefix, name)          EMMA_PASTE_EXPANDED(prefix, name)
#define emma_aligned_alloc                EMMA_PASTE(EMMA_PREFIX, emma_aligned_alloc)
#define emma_calloc                       EMMA_PASTE(EMMA_PREFIX, emma_calloc)
#define emma_check                        EMMA_PASTE(EMMA_PREFIX, emma_check)
#define emma_checkpoint                   EMMA_PASTE(EMMA_PREFIX, emma_checkpoint)
#define emma_checkpoint_drop              EMMA_PASTE(EMMA_PREFIX, emma_checkpoint_drop)
#define emma_create                       EMMA_PASTE(EMMA_PREFIX, emma_create)
#define emma_destroy                      EMMA_PASTE(EMMA_PREFIX, emma_destroy)
#define emma_free                         EMMA_PASTE(EMMA_PREFIX, emma_free)
#define emma_free_sized                   EMMA_PASTE(EMMA_PREFIX, emma_free_sized)
#define emma_get_class_stats              EMMA_PASTE(EMMA_PREFIX, emma_get_class_stats)
#define emma_get_stats                    EMMA_PASTE(EMMA_PREFIX, emma_get_stats)
#define emma_is_busy                      EMMA_PASTE(EMMA_PREFIX, emma_is_busy)
#define emma_malloc                       EMMA_PASTE(EMMA_PREFIX, emma_malloc)
#define emma_options_check                EMMA_PASTE(EMMA_PREFIX, emma_options_check)
#define emma_owns                         EMMA_PASTE(EMMA_PREFIX, emma_owns)
#define emma_realloc                      EMMA_PASTE(EMMA_PREFIX, emma_realloc)
#define emma_realloc_sized                EMMA_PASTE(EMMA_PREFIX, emma_realloc_sized)
#define emma_resize                       EMMA_PASTE(EMMA_PREFIX, emma_resize)
#define emma_reset                        EMMA_PASTE(EMMA_PREFIX, emma_reset)
#define emma_rollback                     EMMA_PASTE(EMMA_PREFIX, emma_rollback)
#define emma_set_limit                    EMMA_PASTE(EMMA_PREFIX, emma_set_limit)
#define emma_set_soft_limit               EMMA_PASTE(EMMA_PREFIX, emma_set_soft_limit)
#define emma_thread_detach                EMMA_PASTE(EMMA_PREFIX, emma_thread_detach)
#define emma_trim                         EMMA_PASTE(EMMA_PREFIX, emma_trim)
#define emma_usable_size                  EMMA_PASTE(EMMA_PREFIX, emma_usable_size)
#define emma_use_spare                    EMMA_PASTE(EMMA_PREFIX, emma_use_spare)
#define emma_version                      EMMA_PASTE(EMMA_PREFIX, emma_version)
#define emma_walk                         EMMA_PASTE(EMMA_PREFIX, emma_walk)
#define emma_walk_chunks                  EMMA_PASTE(EMMA_PREFIX, emma_walk_chunks)
#endif

#ifndef EMMA_API
#define EMMA_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* An instance: opaque, made by emma_create, gone after emma_destroy. */
typedef struct emma emma;

enum emma_status {
    EMMA_OK = 0,
    EMMA_NO_MEMORY, /* the limit or the kernel refused; nothing changed */
    EMMA_INVALID,   /* an argument is out of its range; nothing changed */
    EMMA_BUSY, /* the instance is in use by the code that this call interrupted; nothing changed */
    EMMA_UNSUPPORTED, /* this build or this kernel cannot do it; nothing changed */
    EMMA_CORRUPT      /* emma_check found a broken invariant */
};

enum emma_flags {
    /* Any thread may use the instance at any time; there are no locks. Each thread that allocates has
     * a heap, which takes some pages. See emma_thread_detach. */
    EMMA_SHARED = 1,
    /* emma_checkpoint can be called. Not with EMMA_SHARED, as other threads could not be kept out of a rollback
     * (emma_options_check: EMMA_UNSUPPORTED). Two pages more; no huge pages; large blocks lie close to each
     * other, so that they have less room to grow in place. */
    EMMA_CHECKPOINTS = 2,
    /* Blocks are 8-aligned (without EMMA_CANARIES 16-aligned where bytes is a multiple of 16 and not 0, unless a
     * shrink had to leave them in place), in steps of 8 bytes: less waste for clients that need no
     * more, as Lua up to 5.4. Without it: 16, as malloc. */
    EMMA_ALIGN8 = 4
};

#define EMMA_UNLIMITED SIZE_MAX

/* The least limit_bytes and reserve_bytes that emma_create accepts, in bytes. A shared instance needs
 * three pages more, and two for every further thread, to serve anything. */
#define EMMA_LIMIT_MIN_BYTES   ((size_t)16 * 1024)
#define EMMA_RESERVE_MIN_BYTES ((size_t)512 * 1024)

/* What a caller did wrong. A foreign pointer is found in every build, the rest with EMMA_CHECKS=1 (some of it also without). */
enum emma_misuse {
    EMMA_MISUSE_FOREIGN,     /* "foreign pointer": not from this instance */
    EMMA_MISUSE_DOUBLE_FREE, /* "double free of": the block is free already */
    EMMA_MISUSE_INTERIOR,    /* "interior pointer": inside a live block, not its start */
    EMMA_MISUSE_MISALIGNED,  /* "misaligned pointer": no block, or none so aligned, starts here */
    EMMA_MISUSE_WRONG_SIZE,  /* "wrong size of": a sized free or realloc of another size */
    EMMA_MISUSE_OVERRUN,     /* "overrun block": by a write next to it (EMMA_CANARIES only) */
    EMMA_MISUSE_AFTER_FREE,  /* "write after free of": found when the block was to be used again */
    EMMA_MISUSE_MISMATCH     /* "mismatched free of": of new[], by delete (emma-malloc only) */
};

/* Called on misuse, in place of the default: one line on stderr, then a trap. The line is
 * "emma: NAME: CRIME 0xADDRESS (PLACE)", as in "double free of 0x7f0c5a20 (48-byte class)". PLACE is "N-byte class"
 * (a slab of such blocks), "N-byte run", "free chunk", "no block" (emma's own state, or never used) or "outside the
 * region"; of a wrong size, "N bytes, passed as M"; of a mismatched free, "new[], passed to delete", each "aligned to N"
 * if it was asked for with an alignment. `message` is that line without its end, valid during the call. The handler
 * returns, and then the offending call does nothing (and returns NULL or 0, an allocation perhaps another block), or
 * ends the program; it may not longjmp out, nor call into the instance, except emma_get_stats. */
typedef void (*emma_misuse_fn)(void *arg, emma *instance, enum emma_misuse crime,
                               const void *address, const char *message);

/* Called when the footprint crosses soft_limit_bytes: over = true on the way up, false when it has
 * come down again; once each way. It runs inside whatever call on the instance takes or gives back
 * memory: it may call emma_get_stats, emma_set_limit and emma_use_spare on the instance and nothing
 * else of it. */
typedef void (*emma_limit_fn)(void *arg, emma *instance, bool over);

typedef struct emma_options {
    size_t struct_bytes;     /* sizeof(emma_options): lets the struct grow */
    size_t limit_bytes;      /* hard cap on the footprint, in whole pages; EMMA_UNLIMITED: none */
    size_t soft_limit_bytes; /* crossing it calls limit_handler; EMMA_UNLIMITED: never */
    size_t spare_bytes;      /* held back until emma_use_spare; leaves EMMA_LIMIT_MIN_BYTES */
    size_t reserve_bytes;    /* address space; 0: chosen from the limit */
    unsigned flags;          /* emma_flags, or-ed */
    const char *name; /* copied, cut at EMMA_NAME_MAX_BYTES, controls as '?'; NULL: "unnamed" */
    emma_misuse_fn misuse_handler; /* NULL: the message and the trap */
    void *misuse_arg;
    emma_limit_fn limit_handler; /* NULL: none */
    void *limit_arg;
    size_t decay_ms; /* memory that was free so long goes back to the kernel as the instance is used
                        on; EMMA_DECAY_NEVER: only by emma_trim, and for growth, limits and guards */
} emma_options;

#define EMMA_DECAY_DEFAULT_MS ((size_t)500)
#define EMMA_DECAY_NEVER      SIZE_MAX

#define EMMA_NAME_MAX_BYTES 31

#define EMMA_OPTIONS_INIT EMMA_OPTIONS_WITH(0, NULL)
/* The same with these flags and this name. */
#define EMMA_OPTIONS_WITH(flags, name)                                                           \
    {                                                                                            \
        sizeof(emma_options), EMMA_UNLIMITED, EMMA_UNLIMITED, 0, 0, (flags), (name), NULL, NULL, \
            NULL, NULL, EMMA_DECAY_DEFAULT_MS                                                    \
    }

/* Figures of an instance; bytes throughout. The footprint is the pages taken into use:
 * what live blocks, free blocks and metadata occupy, and what is kept for reuse. */
typedef struct emma_stats {
    size_t
        struct_bytes; /* in: sizeof(emma_stats) of the caller, or EMMA_STATS_COUNTERS_BYTES; out: what
                            was filled in */
    size_t limit_bytes;          /* hard cap in force, EMMA_UNLIMITED if none */
    size_t soft_limit_bytes;     /* EMMA_UNLIMITED if none */
    size_t spare_bytes;          /* part of the limit held back; 0 while in use */
    size_t reserve_bytes;        /* address space of the region */
    size_t footprint_bytes;      /* pages taken into use, metadata included */
    size_t peak_footprint_bytes; /* the most that ever was, since creation or emma_reset */
    size_t metadata_bytes;       /* pages of the allocator's own state */
    size_t retained_bytes;       /* pages of free slabs and runs, kept for reuse by any thread */
    size_t checkpoint_bytes;     /* part of the footprint: images and copies of checkpoints */
    uint64_t moved_bytes;        /* copied by reallocs that had to move, ever */
    uint64_t returned_bytes;     /* given back to the kernel, ever */
    uint64_t refused_count;      /* requests refused for want of memory or room, ever */
    uint64_t reentered_count;    /* calls refused or put off because the instance was busy, ever */
    /* What is summed up; all before is counters. */
    size_t live_bytes; /* in blocks handed out, as sizes of their classes and runs */
    size_t live_blocks;
    size_t large_bytes; /* part of live_bytes in blocks with a run of their own */
    size_t large_blocks;
    size_t mapping_count; /* mappings that the instance has in the process, at most */
    /* Pages that threads of a shared instance left in the middle of a call, by their end or a longjmp: lost
     * until emma_reset, live blocks in them included. Known of threads that ended, and of the one that asks. */
    size_t abandoned_bytes;
} emma_stats;

/* As struct_bytes of emma_stats: counters only. */
#define EMMA_STATS_COUNTERS_BYTES offsetof(emma_stats, live_bytes)

typedef struct emma_class_stats {
    size_t struct_bytes;    /* in and out, as in emma_stats */
    size_t block_bytes;     /* size of this class's blocks */
    size_t live_blocks;     /* handed out */
    size_t free_blocks;     /* in this class's slabs, ready */
    size_t slabs;           /* slabs of this class */
    size_t footprint_bytes; /* bytes of its slabs in use so far */
} emma_class_stats;

/* What a chunk is used for. */
enum emma_chunk_kind {
    EMMA_CHUNK_FREE,  /* nothing: its memory is kept for reuse */
    EMMA_CHUNK_SLAB,  /* blocks of one size */
    EMMA_CHUNK_RUN,   /* one large block, over all the chunks that it takes */
    EMMA_CHUNK_YOUNG, /* the region's start: blocks of many sizes, packed */
    EMMA_CHUNK_HEAP /* of a shared instance: the state of a thread's heap, or empty and held by one */
};

/* A part of the region that has memory: a chunk, or more of them that belong together. */
typedef struct emma_chunk_stats {
    size_t struct_bytes; /* what emma filled in */
    size_t offset_bytes; /* from the region's start */
    size_t bytes;        /* its address space: as much as a chunk, or a multiple of that */
    enum emma_chunk_kind kind;
    size_t block_bytes;    /* size of its blocks; 0: none, or several */
    size_t live_blocks;    /* handed out */
    size_t free_blocks;    /* ready */
    size_t live_bytes;     /* in blocks handed out */
    size_t resident_bytes; /* part of the footprint; the first page counts as metadata instead */
} emma_chunk_stats;

/* Visits a part of the region; returns false to stop the walk. It may not call into the instance, except
 * emma_get_stats and emma_get_class_stats. */
typedef bool (*emma_walk_chunks_fn)(void *arg, const emma_chunk_stats *chunk);

/* Visits a live block of `bytes` usable bytes; returns false to stop the walk. It may not call into
 * the instance, except emma_usable_size, emma_owns and emma_get_stats. */
typedef bool (*emma_walk_fn)(void *arg, void *block, size_t bytes);

/* Creates an instance. NULL: the defaults of EMMA_OPTIONS_INIT. Returns NULL when the options are
 * invalid (ask emma_options_check), or when the kernel refuses the address space even after smaller
 * ranges were tried (reserve_bytes 0) or the first pages; no trace is left then. System calls:
 * mmap, mprotect, madvise; munmap on failure, prctl to name it; getrandom if it is shared, or hardened. */
EMMA_API emma *emma_create(const emma_options *options);

/* Tells whether emma_create would take these options: EMMA_OK, EMMA_INVALID (a value out of its
 * range, an unknown flag, a struct_bytes that is none), EMMA_UNSUPPORTED. NULL is EMMA_OK. */
EMMA_API enum emma_status emma_options_check(const emma_options *options);

/* Gives everything back to the kernel, blocks included, in one munmap, and one more for the image and each further
 * level of checkpoints. NULL: nothing happens. A signal handler that jumps out of it leaves the instance gone, or
 * there, with all blocks, and only to be destroyed again; one mapping of checkpoints may be lost to the process. */
EMMA_API void emma_destroy(emma *instance);

/* Allocates at least `bytes`, aligned to 16 (EMMA_ALIGN8: to 8, or without EMMA_CANARIES 16 where bytes is a
 * multiple of 16). 0 bytes: a distinct block that may be freed and must not be written. Returns NULL at the
 * limit, above PTRDIFF_MAX, when the kernel refuses, or when the instance is busy. The contents are
 * indeterminate. */
EMMA_API void *emma_malloc(emma *instance, size_t bytes);

/* Allocates count * bytes zeroed. NULL also when the product overflows. Otherwise as emma_malloc. */
EMMA_API void *emma_calloc(emma *instance, size_t count, size_t bytes);

/* Allocates `bytes` aligned to `alignment`, a power of two up to the region's size (at least 1 GiB
 * in an instance with the default reservation); `bytes` need not be a multiple. NULL also for any
 * other alignment. */
EMMA_API void *emma_aligned_alloc(emma *instance, size_t alignment, size_t bytes);

/* Resizes a block, moving it if need be; the contents up to the smaller size are kept, an alignment
 * beyond emma_malloc's is not. NULL block: as emma_malloc. 0 bytes: resizes to a block of 0 bytes
 * and does not free. Returns NULL on failure, with the old block intact. Never fails when `bytes`
 * is at most the block's usable size, unless the instance is busy. */
EMMA_API void *emma_realloc(emma *instance, void *block, size_t bytes);

/* emma_realloc by a caller who knows the size that it asked for last: as many bytes are kept, up to
 * the new size. A build with EMMA_CHECKS verifies old_bytes; a wrong one harms no other block. */
EMMA_API void *emma_realloc_sized(emma *instance, void *block, size_t old_bytes, size_t bytes);

/* Frees a block. NULL: nothing happens. Never fails and makes no promise to call the kernel. */
EMMA_API void emma_free(emma *instance, void *block);

/* emma_free by a caller who knows the size that it asked for last; see emma_realloc_sized. */
EMMA_API void emma_free_sized(emma *instance, void *block, size_t bytes);

/* Allocates, resizes or frees, in the one-function form that interpreters ask for: 0 bytes frees
 * the block and returns NULL; a NULL block is allocated, and old_bytes is ignored then; otherwise
 * as emma_realloc_sized. */
EMMA_API void *emma_resize(emma *instance, void *block, size_t old_bytes, size_t bytes);

/* The bytes that may be used in a live block: at least what was asked for (with EMMA_CHECKS just
 * that). 0 for NULL. A foreign pointer is misuse. */
EMMA_API size_t emma_usable_size(const emma *instance, const void *block);

/* Tells whether an address, of whatever kind, lies in the instance's region, which blocks come from. Touches no
 * memory but the instance's first page. Any thread, any time between create and destroy. */
EMMA_API bool emma_owns(const emma *instance, const void *address);

/* Tells a signal handler whether the code that it interrupted is inside a local instance, which would refuse it, and
 * which must not be left by a longjmp then. A shared instance is never busy: it serves handlers (but is not to
 * be left either). */
EMMA_API bool emma_is_busy(const emma *instance);

/* Gives the memory of free slabs and runs, and what others keep idle, back to the kernel; returns
 * how many bytes that were. 0 when busy. System calls: madvise; with checkpoints also openat, ioctl, close, getpid. */
EMMA_API size_t emma_trim(emma *instance);

/* Frees all blocks at once, and drops all checkpoints; nothing of what was in them can be read in later blocks. The
 * limit stays, and some memory (128 KiB, the young area, and what each thread's heap takes) is kept for what comes
 * next, zeroed. EMMA_BUSY from a signal handler inside the instance; in a shared one, for a thread that jumped out of
 * emma_check, emma_walk or this, until one of these two was called to its end. A reset of a shared instance that was
 * left, by a jump or a death, is to be done again before anything else but emma_check and emma_walk, which are
 * refused (EMMA_BUSY, false) till then. System calls: those of emma_checkpoint_drop; gettid in a shared instance, as
 * in those two. */
EMMA_API enum emma_status emma_reset(emma *instance);

/* Changes the hard cap. EMMA_INVALID when it leaves less than EMMA_LIMIT_MIN_BYTES beside the spare
 * part; EMMA_NO_MEMORY when the footprint is above what it allows even after a trim, or would be
 * after a rollback; EMMA_BUSY. EMMA_UNLIMITED lifts it; the region's size bounds all the same. */
EMMA_API enum emma_status emma_set_limit(emma *instance, size_t limit_bytes);

/* Changes the soft limit; its handler is called at once if that leaves the footprint on the other side of it.
 * EMMA_UNLIMITED: none. EMMA_INVALID for 0; EMMA_BUSY from a signal handler or a callback. */
EMMA_API enum emma_status emma_set_soft_limit(emma *instance, size_t soft_limit_bytes);

/* Opens (true) the spare part of the limit for an error path, or closes it again. While it is open, or if it is
 * already in the state asked for, nothing else changes. Closing succeeds also while part of it is in use: then only
 * frees help. EMMA_BUSY from a signal handler. */
EMMA_API enum emma_status emma_use_spare(emma *instance, bool use);

/* Fills in the figures of an instance: O(chunks in use). Does nothing if out->struct_bytes is 0.
 * From a signal handler inside the instance those of blocks are 0. With a struct_bytes of
 * EMMA_STATS_COUNTERS_BYTES or less nothing is summed up: O(1), and then it may be called from any
 * thread, handler or callback at any time between create and destroy, whoever uses the instance
 * meanwhile. Each figure is right then, but they need not be of one moment. System calls, for sums of a
 * shared instance: gettid, tgkill with signal 0. */
EMMA_API void emma_get_stats(const emma *instance, emma_stats *out);

/* Fills in the figures of size class `index` (0, 1, ...); false when there is no such class.
 * O(chunks in use). */
EMMA_API bool emma_get_class_stats(const emma *instance, unsigned index, emma_class_stats *out);

/* Visits every live block, in address order; true when all were visited, false when `visit` stopped
 * it or the instance is busy. */
EMMA_API bool emma_walk(emma *instance, emma_walk_fn visit, void *arg);

/* Visits each part of the region that has memory, in address order; true when all were visited, false when `visit`
 * stopped it or, from a signal handler, the instance is busy. O(chunks with memory). In a local instance what is
 * told of them adds up to emma_get_stats: live blocks and bytes, and resident_bytes with metadata_bytes and
 * checkpoint_bytes to the footprint. In a shared one others may be inside; there, blocks that another thread than their
 * heap's freed count as handed out until they are back. */
EMMA_API bool emma_walk_chunks(const emma *instance, emma_walk_chunks_fn visit, void *arg);

/* Verifies every invariant that the allocator's state has: EMMA_OK, EMMA_CORRUPT or EMMA_BUSY.
 * O(memory in use). */
EMMA_API enum emma_status emma_check(emma *instance);

/* Pushes a checkpoint of the whole instance: every block, its contents, and the allocator's own view of them. *level
 * names it, a number that no other checkpoint of the instance ever had. Free memory is given back first. What
 * is there may be written to afterwards, so the footprint grows by a copy of all memory in use (the first
 * checkpoint: an image, gaps between blocks included), or of the pages written since (further ones).
 * EMMA_NO_MEMORY when the limit does not allow that, or the kernel refuses; EMMA_BUSY from a signal handler or a
 * callback inside the instance; EMMA_UNSUPPORTED without EMMA_CHECKPOINTS. Not from inside a client that keeps
 * part of its state elsewhere, as in registers or on the stack: a running Lua script, say. Nobody may write to blocks
 * meanwhile, no signal handler, other thread or pending input either: what they write may be lost. The first is O(memory in
 * use), others O(pages written since, and a look at all). What a signal handler frees meanwhile stays
 * allocated. A child of a fork has checkpoints of its own. System calls: getrlimit, memfd_create, ftruncate, pwrite64,
 * fcntl, mmap, close; openat, ioctl, getpid; madvise, mprotect. No descriptor stays open. */
EMMA_API enum emma_status emma_checkpoint(emma *instance, unsigned *level);

/* Brings the instance back to a checkpoint, to the byte; it stays, later ones are dropped. Blocks allocated since are
 * gone, freed ones are there again, and nothing of what was written since can be read any more. The limit, the
 * soft limit, the spare part and its being open, and counters of events stay as they are. EMMA_INVALID for a level
 * that is none; EMMA_BUSY, EMMA_UNSUPPORTED as above. O(pages written since, and a look at all); before Linux 6.7, or
 * without /proc, the pages are found by faults afterwards. System calls: openat, ioctl, close, getpid, madvise, munmap. */
EMMA_API enum emma_status emma_rollback(emma *instance, unsigned level);

/* Drops a checkpoint and all later ones; the instance goes on as it is. With the first one the image goes, which
 * takes copies of some of it for a moment: where the limit has no room at all, it stays, and counts, until
 * the next checkpoint, emma_reset or emma_destroy. O(memory in use) then. EMMA_INVALID, EMMA_BUSY, EMMA_UNSUPPORTED as above. System calls:
 * munmap, mmap, mremap, madvise, openat, ioctl, close, getpid. */
EMMA_API enum emma_status emma_checkpoint_drop(emma *instance, unsigned level);

/* Tells a shared instance that the calling thread is done with it: what it keeps for the thread goes to the next one
 * that comes. Without it that happens when a thread that needs a heap finds the owner of one gone. The thread may
 * come back. Not from a signal handler that may have interrupted a call into the instance. Local instances: nothing
 * happens. */
EMMA_API void emma_thread_detach(emma *instance);

/* The version of this copy of emma, as EMMA_VERSION. */
EMMA_API const char *emma_version(void);

#ifdef __cplusplus
}
#endif

#endif
