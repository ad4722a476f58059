/* Storms of signals: 1,000, 10,000 and 50,000 a second to each thread, by timers of the kernel, whose handlers allocate,
 * resize and free in the instance that they interrupt; a second signal interrupts the handler of the first. With
 * and without a jump out of the handler, by 1 and 4 threads, in a local and a shared instance.
 *
 * Without jumps nothing is lost; with them, at each what was just being done, and of a shared instance the heap in
 * which. Out of a local instance that is busy nobody may jump: there the handler asks first.
 *
 * signals [MS]: so long for each storm; longer, where no signal came in a call by then. */
#include "emma_storm.h"

#include <setjmp.h>

enum { THREADS_MAX = 4, LEVELS = 2, USUAL_MS = 120, RATE_MAX = 50000 };
/* Of a hundred handlers that may, so many jump; in one instance a thread at most so often, as each leaves a heap. */
enum { JUMP_PERCENT = 3, JUMPS_MAX = 250 };
static const int signal_of[LEVELS] = { SIGUSR1, SIGUSR2 };
static const unsigned percent_of[LEVELS] = { 80, 20 }; /* of the rate */

typedef struct storm {
    unsigned flags, threads, rate;
    bool jumps;
} storm;

typedef struct worker {
    pthread_t id;
    storm_set own, of_handler[LEVELS];
    sigjmp_buf way_out;
    volatile bool may_jump;
    timer_t timers[LEVELS];
    /* By level: one may interrupt the other. */
    volatile uint64_t signals[LEVELS], inside_call[LEVELS];
    volatile uint64_t inside_handler;
    volatile uint64_t jumps, jumps_inside, lost;
} worker;

static emma *instance;
static const storm *now;
static worker workers[THREADS_MAX];
static _Thread_local worker *self;
static bool ending; /* atomic */

static void maybe_jump(worker *w, storm_set *set)
{
    if (!w->may_jump || w->jumps >= JUMPS_MAX || !test_chance(&set->rng, JUMP_PERCENT) ||
        emma_is_busy(instance))
        return;
    w->may_jump = false;
    siglongjmp(w->way_out, 1);
}

/* A check of a local instance is refused, too, where it is busy. */
static void maybe_check(storm_set *set)
{
    if (now->flags & EMMA_SHARED || !test_chance(&set->rng, 1))
        return;
    const bool busy = emma_is_busy(instance);
    CHECK_EQ(emma_check(instance), busy ? EMMA_BUSY : EMMA_OK);
}

static void on_signal(int number)
{
    worker *w = self;
    const unsigned level = number == signal_of[1];
    storm_set *set = &w->of_handler[level];
    w->signals[level] = w->signals[level] + 1;
    w->inside_call[level] = w->inside_call[level] + w->own.inside;
    if (level)
        w->inside_handler = w->inside_handler + w->of_handler[0].inside;
    storm_step(set);
    maybe_check(set);
    maybe_jump(w, set);
}

/* Where the jumps lead: whatever was going on is forgotten. */
static void after_jump(worker *w)
{
    w->jumps++;
    w->jumps_inside += w->own.inside || w->of_handler[0].inside;
    w->lost += storm_forget(&w->own);
    for (unsigned level = 0; level < LEVELS; level++)
        w->lost += storm_forget(&w->of_handler[level]);
}

static void start_timer(worker *w, unsigned level)
{
    w->timers[level] = storm_timer(signal_of[level]);
    const long period = 1000000000l * 100 / (long)(now->rate * percent_of[level]);
    const struct itimerspec often = { { period / 1000000000l, period % 1000000000l },
                                      { period / 1000000000l, period % 1000000000l } };
    CHECK_EQ(timer_settime(w->timers[level], 0, &often, NULL), 0);
}

static void *work(void *arg)
{
    worker *w = arg;
    self = w;
    sigset_t all;
    sigemptyset(&all);
    for (unsigned level = 0; level < LEVELS; level++)
        sigaddset(&all, signal_of[level]);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &all, NULL), 0);
    for (unsigned level = 0; level < LEVELS; level++)
        start_timer(w, level);
    if (sigsetjmp(w->way_out,
                  1)) /* blocks the signals again: handlers would find what is to be forgotten */
        after_jump(w);
    w->may_jump = now->jumps;
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &all, NULL), 0);
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED))
        storm_step(&w->own);
    w->may_jump = false;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &all, NULL), 0);
    for (unsigned level = 0; level < LEVELS; level++)
        CHECK_EQ(timer_delete(w->timers[level]), 0);
    storm_end(&w->own);
    for (unsigned level = 0; level < LEVELS; level++)
        storm_end(&w->of_handler[level]);
    return NULL;
}

/* What the threads of a storm did, in one or more instances. */
typedef struct totals {
    uint64_t signals, inside_call, inside_handler, refusals, jumps, jumps_inside, lost, ns;
    uint64_t abandoned_bytes;
} totals;

static void add_up(totals *sum)
{
    for (unsigned i = 0; i < now->threads; i++) {
        const worker *w = &workers[i];
        for (unsigned level = 0; level < LEVELS; level++) {
            sum->signals += w->signals[level];
            sum->inside_call += w->inside_call[level];
            sum->refusals += w->of_handler[level].refusals;
        }
        sum->inside_handler += w->inside_handler;
        sum->jumps += w->jumps;
        sum->jumps_inside += w->jumps_inside;
        sum->lost += w->lost;
    }
}

static void add_totals(totals *sum, const totals *more)
{
    sum->signals += more->signals;
    sum->inside_call += more->inside_call;
    sum->inside_handler += more->inside_handler;
    sum->refusals += more->refusals;
    sum->jumps += more->jumps;
    sum->jumps_inside += more->jumps_inside;
    sum->lost += more->lost;
    sum->ns += more->ns;
    sum->abandoned_bytes += more->abandoned_bytes;
}

static bool all_have_jumped(void)
{
    for (unsigned i = 0; i < now->threads; i++)
        if (workers[i].jumps < JUMPS_MAX)
            return false;
    return true;
}

/* Runs the threads until the time is over, or all have jumped as often as they may. */
static void run_threads(uint64_t seed, uint64_t until)
{
    enum { LOOK_US = 500, SEEDS = LEVELS + 1 };
    const size_t before = test_thread_count();
    __atomic_store_n(&ending, false, __ATOMIC_RELAXED);
    memset(workers, 0, sizeof workers);
    for (unsigned i = 0; i < now->threads; i++) {
        worker *w = &workers[i];
        storm_begin(&w->own, instance, seed + i * SEEDS);
        for (unsigned level = 0; level < LEVELS; level++) {
            storm_begin(&w->of_handler[level], instance, seed + i * SEEDS + level + 1);
            w->of_handler[level].may_refuse = !(now->flags & EMMA_SHARED);
            w->of_handler[level].is_handler = true;
        }
        CHECK_EQ(pthread_create(&w->id, NULL, work, w), 0);
    }
    while (storm_now_ns() < until && !all_have_jumped())
        usleep(LOOK_US);
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < now->threads; i++)
        CHECK_EQ(pthread_join(workers[i].id, NULL), 0);
    storm_wait_for_threads(before);
}

static totals run_once(uint64_t seed, uint64_t until)
{
    enum { HEAPS = THREADS_MAX * (LEVELS + 1) + 1 };
    totals sum = { 0 };
    storm_set last;
    instance = test_create(EMMA_UNLIMITED, now->flags);
    const uint64_t start = storm_now_ns();
    run_threads(seed, until);
    sum.ns = storm_now_ns() - start;
    add_up(&sum);
    storm_begin(&last, instance, seed);
    storm_end_table(&last);
    emma_free(instance, emma_malloc(instance, 1)); /* at the latest this does what was put off */
    emma_free(instance, emma_malloc(instance, 100000));
    emma_trim(instance);
    const size_t left = now->flags & EMMA_SHARED ? sum.jumps_inside : 0;
    const emma_stats stats =
        storm_verify_end(instance, HEAPS, sum.jumps, sum.lost + left * STORM_LEFT_BLOCKS);
    CHECK_GE(stats.reentered_count, sum.refusals);
    sum.abandoned_bytes = stats.abandoned_bytes;
    emma_destroy(instance);
    return sum;
}

static void print_storm(const totals *sum)
{
    const double seconds = (double)sum->ns / 1e9;
    printf("%s%s, %u thread%s, %u signals/s%s: %.0f/s delivered to each, %llu in a call, %llu in a "
           "handler's",
           now->flags & EMMA_SHARED ? "shared" : "local", now->flags & EMMA_ALIGN8 ? " (8)" : "",
           now->threads, now->threads > 1 ? "s" : "", now->rate, now->jumps ? ", jumps" : "",
           (double)sum->signals / seconds / now->threads, (unsigned long long)sum->inside_call,
           (unsigned long long)sum->inside_handler);
    if (!(now->flags & EMMA_SHARED))
        printf(", %llu calls refused", (unsigned long long)sum->refusals);
    if (now->jumps)
        printf("; %llu jumps, %llu out of a call, at most %llu blocks lost, %llu KiB abandoned",
               (unsigned long long)sum->jumps, (unsigned long long)sum->jumps_inside,
               (unsigned long long)sum->lost, (unsigned long long)sum->abandoned_bytes / TEST_KIB);
    printf("\n");
    fflush(stdout);
}

/* Whether what a storm is there for has happened: signals in calls; where most come, in handlers too, and jumps. */
static bool has_raged(const totals *sum)
{
    if (STORM_RACES)
        return true;
    if (!(now->flags & EMMA_SHARED) || now->rate < RATE_MAX)
        return sum->inside_call;
    return sum->inside_call && sum->inside_handler && (!now->jumps || sum->abandoned_bytes);
}

/* Instance after instance until the time is over, or longer. */
static totals run(const storm *one, uint64_t ns, uint64_t seed)
{
    enum { SEEDS = 100, MORE_NS = 100000000 };
    totals sum = { 0 };
    now = one;
    const uint64_t end = storm_now_ns() + ns;
    do {
        const uint64_t until =
            sum.signals && storm_now_ns() >= end ? storm_now_ns() + MORE_NS : end;
        const totals more = run_once(seed += SEEDS, until);
        add_totals(&sum, &more);
    } while (storm_now_ns() < end || !has_raged(&sum));
    print_storm(&sum);
    return sum;
}

static void handle_signals(void)
{
    for (unsigned level = 0; level < LEVELS; level++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = on_signal;
        action.sa_flags = SA_RESTART;
        sigemptyset(&action.sa_mask);
        if (level) /* the second interrupts the first, not the other way round */
            sigaddset(&action.sa_mask, signal_of[0]);
        CHECK_EQ(sigaction(signal_of[level], &action, NULL), 0);
    }
}

int main(int argc, char **argv)
{
    static const unsigned rates[] = { 1000, 10000, RATE_MAX };
    static const struct {
        unsigned flags, threads;
    } kinds[] = { { 0, 1 }, { EMMA_ALIGN8, 1 }, { EMMA_SHARED, 1 }, { EMMA_SHARED, THREADS_MAX } };
    const uint64_t ns = (argc > 1 ? strtoull(argv[1], NULL, 10) : USUAL_MS) * 1000000;
    uint64_t seed = test_choose_seed(0, argv, 51000);
    totals sum = { 0 };
    printf("seed %llu\n", (unsigned long long)(test_seed = seed));
    handle_signals();
    /* ThreadSanitizer does not stand jumps out of its own handler. */
    for (int jumps = 0; jumps <= !STORM_RACES; jumps++)
        for (size_t i = 0; i < TEST_COUNT(rates); i++)
            for (size_t k = 0; k < TEST_COUNT(kinds); k++) {
                const storm one = { kinds[k].flags, kinds[k].threads, rates[i], jumps };
                const totals more = run(&one, ns, seed += 100000);
                add_totals(&sum, &more);
            }
    CHECK_GT(sum.refusals, 0);
    return 0;
}
