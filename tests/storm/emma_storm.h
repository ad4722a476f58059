/* emma_storm.h - what the storms have in common: sets of blocks that are replaced at random, and that can be left
 * at any instruction, by a jump or for good: what was just being changed is forgotten then, and counted.
 *
 * Every block tells its size and its pattern, and is verified as a whole before it is changed, so that it can go
 * from thread to thread. */
#ifndef EMMA_STORM_H
#define EMMA_STORM_H

#include "emma_threads.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__)
#define STORM_RACES 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STORM_RACES 1
#endif
#endif
#ifndef STORM_RACES
#define STORM_RACES 0
#endif

enum { STORM_SLOTS = 48, STORM_TABLE = 64 };

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

typedef struct storm_parcel {
    uint32_t bytes; /* all of it, as asked for */
    uint32_t tag;   /* of the pattern in the rest */
    unsigned char rest[];
} storm_parcel;

static storm_parcel *storm_table[STORM_TABLE]; /* of all threads, atomic */

/* Blocks of one thread, or of one of its signal handlers, which finds the flags as they were when it came. */
typedef struct storm_set {
    storm_parcel *slots[STORM_SLOTS];
    test_rng rng;
    emma *instance;
    storm_parcel **table; /* where blocks go from thread to thread, STORM_TABLE of them; atomic */
    bool may_refuse;      /* NULL is an answer */
    uint64_t (*faults)(
        void); /* if set: NULL is an answer also when this count rose during the call */
    bool is_handler;
    volatile size_t changing; /* number of the slot that is being changed, from 1; 0: none */
    volatile bool inside;     /* a call is */
    volatile size_t calls, refusals;
} storm_set;

/* What a call may lose that is left in the middle: the old block and the new one. */
enum { STORM_LOST_PER_CALL = 2 };

static inline void storm_begin(storm_set *set, emma *instance, uint64_t seed)
{
    memset(set, 0, sizeof *set);
    set->instance = instance;
    set->table = storm_table;
    set->rng.state = seed * 2 + 1;
    for (int i = 0; i < 8; i++)
        test_random(&set->rng);
}

static inline size_t storm_size(test_rng *rng)
{
    const size_t kind = test_below(rng, 100);
    const size_t most = kind < 70 ? 128 : kind < 94 ? 1024 : kind < 99 ? 9000 : 70000;
    return sizeof(storm_parcel) + test_below(rng, most);
}

static inline void storm_verify(const storm_parcel *parcel)
{
    CHECK(test_filled(parcel->rest, parcel->bytes - sizeof *parcel, parcel->tag));
}

static inline storm_parcel *storm_fill(storm_parcel *parcel, size_t bytes, uint64_t tag)
{
    parcel->bytes = (uint32_t)bytes;
    parcel->tag = (uint32_t)tag;
    test_fill(parcel->rest, bytes - sizeof *parcel, parcel->tag);
    return parcel;
}

/* Around each call: for the handlers that interrupt it. */
static inline void storm_enter(storm_set *set)
{
    set->calls = set->calls + 1;
    set->inside = true;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void storm_leave(storm_set *set)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    set->inside = false;
}

static inline uint64_t storm_faults(const storm_set *set)
{
    return set->faults ? set->faults() : 0;
}

/* `faults` is what storm_faults told before the call. */
static inline void storm_count_refusal(storm_set *set, uint64_t faults)
{
    set->refusals = set->refusals + 1;
    CHECK(set->may_refuse || storm_faults(set) != faults);
}

/* What an allocation gave: `faults` is what storm_faults told before. */
static inline storm_parcel *storm_allocated(storm_set *set, storm_parcel *parcel, size_t bytes,
                                            uint64_t faults, bool zeroed)
{
    if (!parcel) {
        storm_count_refusal(set, faults);
        return NULL;
    }
    if (zeroed)
        CHECK(test_zeroed(parcel, bytes));
    return storm_fill(parcel, bytes, test_random(&set->rng));
}

static inline storm_parcel *storm_allocate(storm_set *set)
{
    enum { ALIGNMENT = 64 };
    const size_t bytes = storm_size(&set->rng);
    const size_t entry = test_below(&set->rng, 8);
    const uint64_t faults = storm_faults(set);
    storm_parcel *parcel;
    storm_enter(set);
    if (entry == 0)
        parcel = emma_calloc(set->instance, 1, bytes);
    else if (entry == 1)
        parcel = emma_aligned_alloc(set->instance, ALIGNMENT, bytes);
    else if (entry == 2)
        parcel = emma_resize(set->instance, NULL, 0, bytes);
    else
        parcel = emma_malloc(set->instance, bytes);
    storm_leave(set);
    if (entry == 1)
        CHECK_EQ((uintptr_t)parcel % ALIGNMENT, 0);
    return storm_allocated(set, parcel, bytes, faults, entry == 0);
}

static inline storm_parcel *storm_resize(storm_set *set, storm_parcel *parcel)
{
    const size_t old_bytes = parcel->bytes, bytes = storm_size(&set->rng);
    const size_t kept = (old_bytes < bytes ? old_bytes : bytes) - sizeof *parcel;
    const uint32_t tag = parcel->tag;
    const size_t entry = test_below(&set->rng, 3);
    const uint64_t faults = storm_faults(set);
    storm_parcel *moved;
    storm_enter(set);
    if (entry == 0)
        moved = emma_realloc(set->instance, parcel, bytes);
    else if (entry == 1)
        moved = emma_realloc_sized(set->instance, parcel, old_bytes, bytes);
    else
        moved = emma_resize(set->instance, parcel, old_bytes, bytes);
    storm_leave(set);
    if (!moved) {
        storm_count_refusal(set, faults);
        storm_verify(parcel);
        return parcel;
    }
    CHECK(test_filled(moved->rest, kept, tag));
    return storm_fill(moved, bytes, test_random(&set->rng));
}

static inline void storm_free(storm_set *set, storm_parcel *parcel)
{
    const size_t bytes = parcel->bytes;
    const size_t entry = test_below(&set->rng, 3);
    storm_verify(parcel);
    storm_enter(set);
    if (entry == 0)
        emma_free_sized(set->instance, parcel, bytes);
    else if (entry == 1)
        emma_resize(set->instance, parcel, bytes, 0);
    else
        emma_free(set->instance, parcel);
    storm_leave(set);
}

/* What is not about a block. */
static inline void storm_tidy(storm_set *set)
{
    storm_enter(set);
    if (set->is_handler || test_chance(&set->rng, 50))
        emma_trim(set->instance);
    else
        emma_thread_detach(set->instance);
    storm_leave(set);
}

static inline storm_parcel *storm_change(storm_set *set, storm_parcel *parcel)
{
    enum { TIDY_EVERY = 500 };
    if (test_below(&set->rng, TIDY_EVERY) == 0)
        storm_tidy(set);
    if (!parcel)
        return storm_allocate(set);
    storm_verify(parcel);
    const size_t kind = test_below(&set->rng, 100);
    if (kind < 30)
        return storm_resize(set, parcel);
    if (kind < 45)
        return __atomic_exchange_n(&set->table[test_below(&set->rng, STORM_TABLE)], parcel,
                                   __ATOMIC_ACQ_REL);
    storm_free(set, parcel);
    return NULL;
}

/* One operation on a slot. */
static inline void storm_step(storm_set *set)
{
    const size_t slot = test_below(&set->rng, STORM_SLOTS);
    set->changing = slot + 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    set->slots[slot] = storm_change(set, set->slots[slot]);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    set->changing = 0;
}

/* After an operation was left in the middle: nobody knows whose its blocks are. Returns how many may be lost. */
static inline size_t storm_forget(storm_set *set)
{
    set->inside = false;
    if (!set->changing)
        return 0;
    set->slots[set->changing - 1] = NULL;
    set->changing = 0;
    return STORM_LOST_PER_CALL;
}

static inline void storm_end(storm_set *set)
{
    for (size_t i = 0; i < STORM_SLOTS; i++) {
        if (set->slots[i])
            storm_free(set, set->slots[i]);
        set->slots[i] = NULL;
    }
}

/* Frees what is left for others, when these are gone. */
static inline void storm_end_table(storm_set *set)
{
    for (size_t i = 0; i < STORM_TABLE; i++) {
        storm_parcel *parcel = __atomic_exchange_n(&set->table[i], NULL, __ATOMIC_ACQ_REL);
        if (parcel)
            storm_free(set, parcel);
    }
}

/* ---- the end ---- */

/* What a thread's heap takes at most, and the metadata where nothing is left behind: of a storm, of small blocks. */
#define STORM_HEAP_BYTES (16 * TEST_KIB)
#ifndef STORM_METADATA_BYTES
#define STORM_METADATA_BYTES (TEST_MIB)
#endif
#define STORM_YOUNG_BYTES (64 * TEST_KIB)
/* What a lost block keeps in use: a slab, or a run. */
#define STORM_LOST_BYTES (128 * TEST_KIB)
/* What a thread may leave behind that dies in a call, or jumps out of one: the heaps that it is in, with their slabs. */
#define STORM_LEFT_BYTES (TEST_MIB)

/* And of blocks, what such a heap was just taking back, or has held back from reuse. */
#if defined(EMMA_HARDENED) && EMMA_HARDENED
#define STORM_LEFT_BLOCKS ((size_t)48)
#else
#define STORM_LEFT_BLOCKS ((size_t)16)
#endif

/* Verifies an instance of which all that is known is free, that nobody else uses, and that was trimmed; threads
 * left calls in the middle so many times, which lost at most so many blocks. What it has beside the metadata is
 * what it tells of itself to be abandoned, the young area, what lost blocks keep in use, and heaps. */
static inline emma_stats storm_verify_end(emma *instance, size_t heaps, size_t left, size_t lost)
{
    const emma_stats stats = test_stats(instance);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_LE(stats.live_blocks, lost);
    CHECK_LE(stats.abandoned_bytes, left * STORM_LEFT_BYTES);
    CHECK_LE(stats.footprint_bytes - stats.metadata_bytes - stats.abandoned_bytes,
             STORM_YOUNG_BYTES + heaps * STORM_HEAP_BYTES + lost * STORM_LOST_BYTES);
    CHECK_LE(stats.metadata_bytes, STORM_METADATA_BYTES + left * STORM_LEFT_BYTES / 8);
    return stats;
}

/* ---- time ---- */

static inline uint64_t storm_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Waits until the kernel has forgotten all threads but so many. ThreadSanitizer starts one of its own. */
static inline void storm_wait_for_threads(size_t count)
{
    enum { WAIT_US = 200, WAITS_MAX = 50000 };
    for (int i = 0; i < WAITS_MAX && test_thread_count() > count + STORM_RACES; i++)
        usleep(WAIT_US);
    CHECK_LE(test_thread_count(), count + STORM_RACES);
}

/* Whether a storm of `count` goes on that has `done` so many; without a count it is a short one. */
static inline bool storm_goes_on(size_t done, size_t count, uint64_t start_ns)
{
    enum { SHORT_NS = 1200000000 };
    return count ? done < count : storm_now_ns() - start_ns < SHORT_NS;
}

/* Forks, by the library or the raw system call. True in the child, which ends after so many seconds at the latest;
 * false in the parent, once the child has ended with 0. */
static inline bool storm_fork(bool library, unsigned child_seconds)
{
    const long child = library ? fork() : syscall(SYS_fork);
    CHECK_GE(child + 1, 1);
    if (child == 0) {
        alarm(child_seconds);
        return true;
    }
    int status;
    while (waitpid((pid_t)child, &status, 0) != child)
        CHECK_EQ(errno, EINTR);
    CHECK_EQ(status, 0);
    return false;
}

/* A timer that is not set yet, whose signals come to the calling thread. */
static inline timer_t storm_timer(int number)
{
    timer_t timer;
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = number;
    event.sigev_notify_thread_id = gettid();
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    return timer;
}

#endif
