/* soak_threads.h - what the threads do in a round, and their signal handlers: blocks of the shared instances are
 * replaced and handed on, threads are made that die, the process forks, and handlers do the same, or jump out. */
#ifndef EMMA_SOAK_THREADS_H
#define EMMA_SOAK_THREADS_H

#include "soak_local.h"

/* ---- steps in a shared instance ---- */

static void child_end(worker *w, bool library);

/* Where a handler may jump out, or fork. */
static void take_steps(worker *w, enum shared_kind kind, size_t steps)
{
    storm_set *set = &w->sets[kind][0];
    for (size_t i = 0; i < steps && !__atomic_load_n(&ending, __ATOMIC_RELAXED); i++) {
        w->in_steps = true;
        storm_step(set);
        w->in_steps = false;
        if (in_child)
            child_end(w, false); /* a handler forked, and came back */
    }
}

/* A call was left in the middle, which was about so many blocks. It may have been taking back what others freed. */
static void leave_in_the_middle(shared *s, size_t blocks, bool inside)
{
    enum { TAKING_BACK_MAX = 2048 };
    __atomic_fetch_add(&s->left, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&s->lost, blocks + (inside ? TAKING_BACK_MAX : 0), __ATOMIC_RELAXED);
}

/* ---- huge blocks ---- */

static bool giant_taken; /* atomic: there is one at a time */

static size_t huge_size(test_rng *rng, bool giant)
{
    return (giant ? 32 * TEST_MIB : 0) + TEST_MIB / 2 + test_below(rng, 4 * TEST_MIB);
}

static storm_parcel *huge_allocate(storm_set *set, size_t bytes)
{
    const size_t entry = test_below(&set->rng, 3);
    const uint64_t faults = storm_faults(set);
    storm_enter(set);
    storm_parcel *parcel = entry == 0   ? emma_calloc(set->instance, bytes, 1)
                           : entry == 1 ? emma_aligned_alloc(set->instance, TEST_MIB, bytes)
                                        : emma_malloc(set->instance, bytes);
    storm_leave(set);
    return storm_allocated(set, parcel, bytes, faults, entry == 0);
}

static storm_parcel *huge_resize(storm_set *set, storm_parcel *parcel, size_t bytes)
{
    const size_t kept = (parcel->bytes < bytes ? parcel->bytes : bytes) - sizeof *parcel;
    const uint32_t tag = parcel->tag;
    const uint64_t faults = storm_faults(set);
    storm_enter(set);
    storm_parcel *moved = emma_realloc(set->instance, parcel, bytes);
    storm_leave(set);
    if (!moved) {
        storm_count_refusal(set, faults);
        return parcel;
    }
    CHECK(test_filled(moved->rest, kept, tag));
    return storm_fill(moved, bytes, test_random(&set->rng));
}

/* One that comes, grows or shrinks, and goes; small ones may stay, as anybody's. */
static void use_huge(worker *w, enum shared_kind kind)
{
    storm_set *set = &w->sets[kind][0];
    const bool giant = kind != STRUCK && test_chance(&w->rng, 4) &&
                       !__atomic_exchange_n(&giant_taken, true, __ATOMIC_RELAXED);
    storm_parcel *parcel = huge_allocate(set, huge_size(&w->rng, giant));
    if (parcel) {
        parcel = huge_resize(set, parcel, huge_size(&w->rng, giant));
        count(HUGE_BLOCKS, 1);
    }
    if (parcel && !giant && test_chance(&w->rng, 20))
        parcel = __atomic_exchange_n(&set->table[test_below(&w->rng, STORM_TABLE)], parcel,
                                     __ATOMIC_ACQ_REL);
    if (parcel)
        storm_free(set, parcel);
    if (giant)
        __atomic_store_n(&giant_taken, false, __ATOMIC_RELAXED);
}

/* ---- deaths ---- */

static _Thread_local victim *dying;

static void die(int number)
{
    (void)number;
    dying->died_inside = dying->set.inside;
    syscall(SYS_exit, 0);
}

static void *be_victim(void *arg)
{
    victim *v = arg;
    dying = v;
    __atomic_store_n(&v->kernel_id, gettid(), __ATOMIC_RELEASE);
    for (size_t i = 0; !v->steps || i < v->steps; i++)
        storm_step(&v->set);
    syscall(SYS_exit, 0); /* in the middle of its life, but not of a call */
    return NULL;
}

static void kill_later(worker *w, enum shared_kind kind)
{
    enum { LIFE_STEPS_MAX = 100 };
    pid_t kernel_id;
    while ((kernel_id = __atomic_load_n(&w->victim.kernel_id, __ATOMIC_ACQUIRE)) == 0)
        sched_yield();
    take_steps(w, kind, test_below(&w->rng, LIFE_STEPS_MAX));
    CHECK_EQ(syscall(SYS_tgkill, getpid(), kernel_id, SIGPROF), 0);
}

/* Has a thread die, between two calls or, of the struck instance, anywhere, and frees what it had. */
static void use_victim(worker *w, enum shared_kind kind)
{
    enum { STEPS_MAX = 200 };
    victim *v = &w->victim;
    if (kind == STRUCK && (!now.deaths || !w->deaths_left))
        return;
    memset(v, 0, sizeof *v);
    set_begin(&v->set, kind, test_random(&w->rng));
    set_permit(&v->set, kind);
    v->steps = kind == STRUCK ? 0 : 1 + test_below(&w->rng, STEPS_MAX);
    block_signals(true); /* the C library has locks of its own */
    w->kept = w->kept + 1;
    CHECK_EQ(pthread_create(&v->id, NULL, be_victim, v), 0);
    block_signals(false);
    if (kind == STRUCK)
        kill_later(w, (enum shared_kind)test_below(&w->rng, SHARED_KINDS));
    else
        take_steps(w, kind, test_below(&w->rng, STEPS_MAX));
    CHECK_EQ(pthread_join(v->id, NULL), 0);
    w->kept = w->kept - 1;
    count(DEATHS, 1);
    set_count(&v->set);
    if (kind == STRUCK) {
        const bool inside = v->died_inside;
        w->deaths_left--;
        count(DEATHS_INSIDE, inside);
        leave_in_the_middle(&shareds[STRUCK], storm_forget(&v->set), inside);
    }
    storm_end(&v->set);
}

/* ---- instances of a moment ---- */

static emma_options of_a_moment(test_rng *rng)
{
    static const unsigned flags[] = { 0,
                                      EMMA_ALIGN8,
                                      EMMA_SHARED,
                                      EMMA_SHARED | EMMA_ALIGN8,
                                      EMMA_CHECKPOINTS,
                                      EMMA_CHECKPOINTS | EMMA_ALIGN8 };
    static const size_t decays_ms[] = { 0, 1, EMMA_DECAY_DEFAULT_MS, EMMA_DECAY_NEVER };
    emma_options options = world_options("moment", flags[test_below(rng, TEST_COUNT(flags))]);
    options.decay_ms = decays_ms[test_below(rng, TEST_COUNT(decays_ms))];
    if (test_chance(rng, 50)) {
        options.limit_bytes = TEST_MIB / 4 + test_below(rng, 4 * TEST_MIB);
        options.spare_bytes = test_below(rng, TEST_MIB / 8);
        options.soft_limit_bytes = 1 + options.limit_bytes / 2;
    }
    if (test_chance(rng, 30))
        options.reserve_bytes = EMMA_RESERVE_MIN_BYTES + test_below(rng, 8 * TEST_MIB);
    return options;
}

static void *use_of_another(void *arg)
{
    enum { STEPS = 150 };
    storm_set *set = arg;
    for (size_t i = 0; i < STEPS; i++)
        storm_step(set);
    storm_end(set);
    return NULL;
}

/* What is allocated after a checkpoint goes by the rollback, what is freed comes back. */
static void roll_back_once(storm_set *set)
{
    enum { STEPS = 100 };
    storm_parcel *slots[STORM_SLOTS], *table[STORM_TABLE];
    unsigned level;
    const uint64_t faults = fault_failures();
    const enum emma_status status = emma_checkpoint(set->instance, &level);
    if (status != EMMA_OK) {
        CHECK(status == EMMA_UNSUPPORTED ||
              (status == EMMA_NO_MEMORY && (set->may_refuse || fault_failures() != faults)));
        return;
    }
    memcpy(slots, set->slots, sizeof slots);
    memcpy(table, set->table, sizeof table);
    for (size_t i = 0; i < STEPS; i++)
        storm_step(set);
    CHECK_EQ(emma_rollback(set->instance, level), EMMA_OK);
    memcpy(set->slots, slots, sizeof slots);
    memcpy(set->table, table, sizeof table);
    count(CHECKPOINTS, 1);
    count(ROLLBACKS, 1);
}

/* Makes an instance, uses it, with another thread if it is a shared one, and destroys it. */
static void use_another(worker *w, bool threads)
{
    enum { STEPS = 100 };
    const emma_options options = of_a_moment(&w->rng);
    const bool shares = threads && options.flags & EMMA_SHARED;
    storm_set *sets = w->of_others;
    pthread_t other;
    emma *made = world_create(&options);
    if (!made)
        return;
    memset(w->of_others_table, 0, sizeof w->of_others_table);
    for (size_t i = 0; i < TEST_COUNT(w->of_others); i++) {
        storm_begin(&sets[i], made, test_random(&w->rng));
        sets[i].table = w->of_others_table;
        sets[i].faults = fault_failures;
        sets[i].may_refuse =
            options.limit_bytes != EMMA_UNLIMITED || options.reserve_bytes; /* both are small */
    }
    if (shares) {
        block_signals(true);
        CHECK_EQ(pthread_create(&other, NULL, use_of_another, &sets[1]), 0);
        block_signals(false);
    }
    for (size_t i = 0; i < STEPS; i++)
        storm_step(&sets[0]);
    if (shares)
        CHECK_EQ(pthread_join(other, NULL), 0);
    roll_back_once(&sets[0]);
    CHECK_EQ(emma_check(made), EMMA_OK);
    storm_end(&sets[0]);
    storm_end_table(&sets[0]);
    CHECK_EQ(test_stats(made).live_blocks, 0);
    CHECK_EQ(emma_check(made), EMMA_OK);
    emma_destroy(made);
    for (size_t i = 0; i < TEST_COUNT(w->of_others); i++)
        set_count(&sets[i]);
}

/* ---- forks ---- */

/* True in the child. */
static bool fork_once(worker *w, bool library)
{
    enum { CHILD_SECONDS = 120 };
    w->kept = w->kept + 1;
    if (storm_fork(library, CHILD_SECONDS))
        return in_child = true;
    w->kept = w->kept - 1;
    count(FORKS, 1);
    return false;
}

/* Of the parent's blocks all are whole but those that were just being changed. */
static void child_verify_set(const storm_set *set)
{
    for (size_t i = 0; i < STORM_SLOTS; i++)
        if (set->slots[i] && i + 1 != set->changing)
            storm_verify(set->slots[i]);
}

static void child_verify_all(void)
{
    for (size_t i = 0; i < WORKERS; i++)
        for (int kind = 0; kind < SHARED_KINDS; kind++)
            for (int j = 0; j < SETS; j++)
                child_verify_set(&workers[i].sets[kind][j]);
}

static void *child_use_in_thread(void *arg)
{
    enum { STEPS = 100 };
    storm_set set;
    const enum shared_kind kind = (enum shared_kind)((uintptr_t)arg % SHARED_KINDS);
    set_begin(&set, kind, (uintptr_t)arg);
    set_permit(&set, kind);
    for (size_t i = 0; i < STEPS; i++)
        storm_step(&set);
    storm_end(&set);
    return NULL;
}

static void child_use_in_threads(worker *w)
{
    pthread_t threads[2];
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, child_use_in_thread,
                                (void *)(uintptr_t)(test_random(&w->rng) >> 8)),
                 0);
    for (int i = 0; i < 100; i++)
        storm_step(&w->sets[STEADY][0]);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* Goes on with what the thread had, and ends all of it. */
static void child_use(worker *w, bool library)
{
    enum { STEPS = 100 };
    for (int kind = 0; kind < SHARED_KINDS; kind++) {
        for (int j = 0; j < SETS; j++)
            storm_forget(&w->sets[kind][j]);
        for (int i = 0; i < STEPS; i++)
            storm_step(&w->sets[kind][i % SETS]);
    }
    if (library)
        child_use_in_threads(w);
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        for (int j = 0; j < SETS; j++)
            storm_end(&w->sets[kind][j]);
    local_close(&w->local);
    local_roll_back(&w->local, &w->rng);
    local_steps(&w->local, &w->rng, STEPS);
    local_verify_blocks(&w->local);
    use_another(w, library);
}

/* All that a child does. One whose parent was in the C library, by another thread, must not be in need of it. */
static _Noreturn void child_end(worker *w, bool library)
{
    enum { FURTHER_PERCENT = 10 };
    child_verify_all();
    child_use(w, library);
    if (test_chance(&w->rng, FURTHER_PERCENT) && fork_once(w, false))
        child_use(w, false);
    for (int kind = 0; kind < SHARED_KINDS; kind++) {
        const enum emma_status status = emma_check(shareds[kind].instance);
        doing = shared_names[kind];
        if (!w->in_steps || status != EMMA_BUSY) /* as it is inside a call that was interrupted */
            CHECK_EQ(status, EMMA_OK);
    }
    _exit(0);
}

/* ---- signal handlers ---- */

static bool any_inside(const worker *w)
{
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        if (w->sets[kind][0].inside)
            return true;
    return false;
}

/* Whether all that a jump would leave is in the instance out of which threads may jump. */
static bool may_jump(const worker *w)
{
    if (!now.jumps || !w->in_steps || w->kept || !w->jumps_left)
        return false;
    for (int j = 0; j < SETS; j++)
        if (w->sets[STEADY][j].changing || w->sets[CAPPED][j].changing)
            return false;
    return w->sets[STRUCK][0].changing;
}

static void maybe_fork(worker *w, test_rng *rng)
{
    enum { FORK_ONE_IN = 1500 };
    if (!now.forks || !w->in_steps || w->kept || test_below(rng, FORK_ONE_IN))
        return;
    const bool comes_back = test_chance(rng, 50);
    const bool library = test_chance(rng, 50);
    if (!fork_once(w, library))
        count(FORKS_INSIDE, 1);
    else if (!comes_back)
        child_end(w, library);
}

static void on_signal(int number)
{
    enum { JUMP_PERCENT = 10, LOCAL_PERCENT = 30 };
    worker *w = self;
    const unsigned level = number == signal_of[1];
    test_rng *rng = &w->rng_of_handler[level];
    const int saved = errno;
    count(RAISED, 1);
    count(RAISED_INSIDE, any_inside(w));
    storm_step(&w->sets[test_below(rng, SHARED_KINDS)][level + 1]);
    if (test_chance(rng, LOCAL_PERCENT))
        local_in_handler(w, rng);
    maybe_fork(w, rng);
    if (test_chance(rng, JUMP_PERCENT) && may_jump(w)) {
        w->in_steps = false;
        siglongjmp(w->way_out, 1);
    }
    errno = saved;
}

/* Where the jumps lead: whatever was going on is forgotten. */
static void after_jump(worker *w)
{
    bool inside = false;
    size_t lost = 0;
    for (int j = 0; j < SETS; j++) {
        inside |= w->sets[STRUCK][j].inside;
        lost += storm_forget(&w->sets[STRUCK][j]);
    }
    leave_in_the_middle(&shareds[STRUCK], lost, inside);
    w->jumps_left--;
    count(JUMPS, 1);
    count(JUMPS_INSIDE, inside);
}

/* ---- a thread's rounds ---- */

static void burst(worker *w)
{
    enum { STEPS_MAX = 300 };
    const size_t kind = test_below(&w->rng, 1000);
    const enum shared_kind in = (enum shared_kind)test_below(&w->rng, SHARED_KINDS);
    if (kind < 700)
        take_steps(w, in, test_below(&w->rng, STEPS_MAX));
    else if (kind < 880)
        local_burst(&w->local, &w->rng);
    else if (kind < 940)
        use_victim(w, in);
    else if (kind < 955)
        use_huge(w, in);
    else if (kind < 990)
        use_another(w, true);
    else if (now.forks && fork_once(w, kind % 2))
        child_end(w, kind % 2);
}

static void run_round(worker *w)
{
    enum { JUMPS_MAX = 8, DEATHS_MAX = 12 };
    w->jumps_left = JUMPS_MAX;
    w->deaths_left = DEATHS_MAX;
    if (sigsetjmp(w->way_out, 1)) /* with the signals blocked */
        after_jump(w);
    block_signals(false);
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED))
        burst(w);
    block_signals(true);
}

#endif
