/* soak_world.h - what the parts of the soak have in common: instances, threads, what a round is like, what is
 * counted, and the kernel, which refuses calls of the core in some rounds.
 *
 * The soak goes in rounds. In a round the threads do as they like; at its end all are kept out, and everything is
 * verified (soak_quiet.h). After some rounds the threads end, all blocks are freed, and what is left is
 * compared with what was left before: an epoch. */
#ifndef EMMA_SOAK_WORLD_H
#define EMMA_SOAK_WORLD_H

#define TEST_END_FAILED() world_end_failed()
static _Noreturn void world_end_failed(void);

/* Huge blocks lie far apart, and the entries of each MiB that was ever used stay: in the end that may be all of the
 * reservation's 4 GiB. */
#define STORM_METADATA_BYTES (20 * TEST_MIB)

#include "../core/emma_fault.h"
#include "../core/emma_model.h"
#include "../storm/emma_storm.h"

#include <setjmp.h>

enum { WORKERS = 6, SIGNALS = 2, SETS = SIGNALS + 1, LEVELS = 4, ROUNDS_PER_EPOCH = 3 };

/* ---- what happens, and how often ---- */

enum event {
    CALLS,
    REFUSALS,
    KERNEL_REFUSALS,
    RAISED,
    RAISED_INSIDE,
    JUMPS,
    JUMPS_INSIDE,
    DEATHS,
    DEATHS_INSIDE,
    THREADS,
    FORKS,
    FORKS_INSIDE,
    LIMITS,
    CROSSINGS,
    RESETS,
    CHECKPOINTS,
    ROLLBACKS,
    HUGE_BLOCKS,
    INSTANCES,
    VERIFIED,
    EVENTS
};

static const char *const event_names[EVENTS] = {
    "calls",
    "refused",
    "system calls refused",
    "signals",
    "of them in a call",
    "jumps out of handlers",
    "of them out of a call",
    "deaths of threads",
    "of them in a call",
    "threads",
    "forks",
    "of them in a handler",
    "limits changed",
    "soft limits crossed",
    "resets",
    "checkpoints",
    "rollbacks",
    "huge blocks",
    "instances",
    "blocks verified at rest",
};

static uint64_t events[EVENTS]; /* atomic */

static inline void count(enum event event, uint64_t times)
{
    __atomic_fetch_add(&events[event], times, __ATOMIC_RELAXED);
}

/* ---- what a round is like ---- */

/* Drawn from the seed for each round. */
typedef struct weather {
    bool deaths, jumps, forks;
    bool limits;           /* of all shared instances, on the fly */
    uint64_t refuse_every; /* the kernel refuses each so many-th call; 0: none */
    size_t period_us;      /* of the signals to each thread */
} weather;

static weather now;
static size_t round_number;
static bool ending;       /* the round is; atomic */
static bool in_child;     /* of a fork */
static const char *doing; /* by the main thread, between rounds */

/* Says what was going on when a check failed. */
static _Noreturn void world_end_failed(void)
{
    dprintf(
        STDERR_FILENO,
        "soak: round %zu%s%s: deaths %d, jumps %d, forks %d, limits %d, refuse every %zu, signals "
        "every %zu us%s (seed %llu)\n",
        round_number, doing ? ", " : "", doing ? doing : "", now.deaths, now.jumps, now.forks,
        now.limits, (size_t)now.refuse_every, now.period_us,
        in_child ? ", in the child of a fork" : "", (unsigned long long)test_seed);
    _exit(1);
}

/* ---- the shared instances ---- */

enum shared_kind {
    STEADY, /* lives as long as the soak: threads die in it between calls only, and nothing may be lost */
    STRUCK, /* threads die in it, and jump out of it, anywhere; reset after each epoch */
    CAPPED, /* has a limit, and is made anew every now and then */
    SHARED_KINDS
};

typedef struct shared {
    emma *instance;
    storm_parcel *table[STORM_TABLE];
    size_t left;            /* calls left in the middle since the last reset; atomic */
    size_t left_most;       /* what it was at the end of an epoch */
    size_t lost;            /* blocks that were lost by that, at most; atomic */
    uint64_t overs, unders; /* calls of the limit handler; atomic */
    bool may_refuse;        /* it has a limit, or had one in this round */
    storm_set of_main;      /* what the main thread has, for an epoch */
} shared;

static shared shareds[SHARED_KINDS];
static const char *const shared_names[SHARED_KINDS] = { "steady", "struck", "capped" };

/* ---- the threads ---- */

/* A checkpoint of a local instance, and what was in it. */
typedef struct local_level {
    unsigned name;
    model m;
    emma_stats stats;
} local_level;

/* A local instance: a worker's in a round, the main thread's between two. */
typedef struct local {
    model m;
    unsigned flags;
    local_level levels[LEVELS];
    size_t depth;
    volatile bool closed; /* to signal handlers */
    storm_parcel *gift;   /* for a handler to free; atomic */
} local;

/* A thread that is killed. */
typedef struct victim {
    pthread_t id;
    storm_set set;
    pid_t kernel_id; /* atomic; 0: not started yet */
    size_t steps;    /* after so many it ends; 0: it is killed */
    volatile bool died_inside;
} victim;

typedef struct worker {
    pthread_t id;
    test_rng rng, rng_of_handler[SIGNALS];
    storm_set sets[SHARED_KINDS][SETS]; /* its own, and those of its handlers */
    local local;
    victim victim;
    timer_t timers[SIGNALS];
    sigjmp_buf way_out;
    size_t jumps_left, deaths_left; /* in this round */
    volatile bool in_steps;         /* a handler may jump, or fork */
    volatile unsigned kept;         /* what must not be left by a jump, nor forked in: so many */
    bool detaches;                  /* before it ends */
    storm_set of_others[2];         /* for an instance that it makes and destroys */
    storm_parcel *of_others_table[STORM_TABLE];
} worker;

static worker workers[WORKERS];
static _Thread_local worker *self; /* NULL: the main thread, or a victim */

/* ---- signals ---- */

static const int signal_of[SIGNALS] = { SIGUSR1, SIGUSR2 };

static void block_signals(bool block)
{
    sigset_t all;
    sigemptyset(&all);
    for (unsigned level = 0; level < SIGNALS; level++)
        sigaddset(&all, signal_of[level]);
    CHECK_EQ(pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &all, NULL), 0);
}

/* ---- sets ---- */

static void set_begin(storm_set *set, enum shared_kind kind, uint64_t seed)
{
    storm_begin(set, shareds[kind].instance, seed);
    set->table = shareds[kind].table;
    set->faults = fault_failures;
}

/* For the round that begins: whether refusals are expected. */
static void set_permit(storm_set *set, enum shared_kind kind)
{
    set->may_refuse = shareds[kind].may_refuse;
}

static void set_count(storm_set *set)
{
    count(CALLS, set->calls);
    count(REFUSALS, set->refusals);
    set->calls = set->refusals = 0;
}

/* ---- the kernel ---- */

/* Its own clock, so that memory decays. */
static bool world_replace(long number, const long arguments[6], long *result)
{
    if (number != SYS_clock_gettime)
        return false;
    *result = fault_make(number, arguments);
    return true;
}

/* Ends the process with what was going on, if it is a fault that does. */
static void on_crash(int number)
{
    dprintf(STDERR_FILENO, "soak: signal %d%s\n", number,
            number == SIGALRM ? ": a round did not end" : "");
    world_end_failed();
}

static void on_misuse(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                      const char *message)
{
    (void)arg, (void)instance, (void)crime, (void)address;
    test_fail(__FILE__, __LINE__, message);
}

/* What all instances of the soak are made with. */
static emma_options world_options(const char *name, unsigned flags)
{
    emma_options options = test_options();
    options.name = name;
    options.flags = flags;
    options.misuse_handler = on_misuse;
    return options;
}

/* Makes an instance; NULL only where the kernel refused. */
static emma *world_create(const emma_options *options)
{
    const uint64_t failures = fault_failures();
    emma *made = emma_create(options);
    CHECK(made || fault_failures() != failures);
    count(INSTANCES, made != NULL);
    return made;
}

#endif
