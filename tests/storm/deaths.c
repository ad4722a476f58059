/* Thousands of threads of a shared instance that are killed at random instants: by the kernel's own call, in the
 * handler of a signal that a timer or another thread sends. What a dead thread had is freed by others, who
 * go on; contents stay. Lost is at most what it was just doing, and the heap that it was in, which
 * emma_stats tells. emma_reset makes all of that useful again, for the deaths that follow.
 *
 * deaths [COUNT]: as many as a second allows otherwise */
#include "emma_storm.h"

#include <sys/syscall.h>

enum {
    KILLERS = 2,
    SURVIVORS = 1,
    DEATHS_PER_TURN = 100,
    TURNS_PER_INSTANCE = 3,
    TURNS_MAX = 20, /* until one dies inside a heap */
    SEEDS = 100,    /* of a turn */
    LIFE_NS_MAX = 250000
};

/* Heaps of threads that live, or that the kernel has not forgotten. */
#define HEAPS_MAX (4 * (KILLERS + SURVIVORS))

typedef struct victim {
    storm_set set;
    pthread_t id;
    pid_t kernel_id; /* atomic; 0: not started yet */
    size_t timer_ns; /* after so long it is killed by a timer of its own; 0: by its killer */
    timer_t timer;
    volatile bool died_inside;
} victim;

typedef struct killer {
    pthread_t id;
    test_rng rng;
    victim victim;
    storm_set own;
    size_t deaths, deaths_inside, lost;
} killer;

static emma *instance;
static killer killers[KILLERS];
static storm_set survivors[SURVIVORS];
static _Thread_local victim *self;
static size_t deaths_left; /* in this turn; atomic */
static bool ending;        /* atomic */

static void die(int number)
{
    (void)number;
    self->died_inside = self->set.inside;
    syscall(SYS_exit, 0);
}

static void start_timer(victim *v)
{
    v->timer = storm_timer(SIGUSR1);
    const struct itimerspec once = { { 0, 0 }, { 0, (long)v->timer_ns } };
    CHECK_EQ(timer_settime(v->timer, 0, &once, NULL), 0);
}

static void *be_victim(void *arg)
{
    victim *v = arg;
    self = v;
    __atomic_store_n(&v->kernel_id, gettid(), __ATOMIC_RELEASE);
    if (v->timer_ns)
        start_timer(v);
    for (;;)
        storm_step(&v->set);
    return NULL;
}

/* Has a thread die, and frees what it had. */
static void kill_one(killer *k)
{
    test_rng *rng = &k->rng;
    victim *v = &k->victim;
    memset(v, 0, sizeof *v);
    storm_begin(&v->set, instance, test_random(rng));
    const size_t life_ns = 1 + test_below(rng, LIFE_NS_MAX);
    v->timer_ns = test_chance(rng, 50) ? life_ns : 0;
    CHECK_EQ(pthread_create(&v->id, NULL, be_victim, v), 0);
    pid_t kernel_id;
    while ((kernel_id = __atomic_load_n(&v->kernel_id, __ATOMIC_ACQUIRE)) == 0)
        sched_yield();
    if (!v->timer_ns) {
        for (const uint64_t end = storm_now_ns() + life_ns; storm_now_ns() < end;)
            storm_step(&k->own);
        CHECK_EQ(syscall(SYS_tgkill, getpid(), kernel_id, SIGUSR1), 0);
    }
    CHECK_EQ(pthread_join(v->id, NULL), 0);
    if (v->timer_ns)
        CHECK_EQ(timer_delete(v->timer), 0);
    k->deaths++;
    k->deaths_inside += v->died_inside;
    k->lost += storm_forget(&v->set);
    storm_end(&v->set);
}

/* Takes one of the deaths that are left; false when there are no more. */
static bool take_death(void)
{
    size_t left = __atomic_load_n(&deaths_left, __ATOMIC_RELAXED);
    while (left && !__atomic_compare_exchange_n(&deaths_left, &left, left - 1, true,
                                                __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
    return left;
}

static void *kill_many(void *arg)
{
    killer *k = arg;
    storm_begin(&k->own, instance, test_random(&k->rng));
    while (take_death())
        kill_one(k);
    storm_end(&k->own);
    return NULL;
}

static void *survive(void *arg)
{
    storm_set *set = arg;
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED))
        storm_step(set);
    storm_end(set);
    return NULL;
}

/* What died in the course of a turn, or all. */
typedef struct totals {
    size_t deaths, deaths_inside, lost, abandoned_bytes;
} totals;

static void add_up(totals *sum)
{
    for (size_t i = 0; i < KILLERS; i++) {
        sum->deaths += killers[i].deaths;
        sum->deaths_inside += killers[i].deaths_inside;
        sum->lost += killers[i].lost;
    }
}

static void run_threads(uint64_t seed)
{
    const size_t before = test_thread_count();
    pthread_t survivor[SURVIVORS];
    deaths_left = DEATHS_PER_TURN;
    ending = false;
    memset(killers, 0, sizeof killers);
    for (size_t i = 0; i < SURVIVORS; i++) {
        storm_begin(&survivors[i], instance, seed + KILLERS + i);
        CHECK_EQ(pthread_create(&survivor[i], NULL, survive, &survivors[i]), 0);
    }
    for (size_t i = 0; i < KILLERS; i++) {
        killers[i].rng.state = 2 * (seed + i) + 1;
        CHECK_EQ(pthread_create(&killers[i].id, NULL, kill_many, &killers[i]), 0);
    }
    for (size_t i = 0; i < KILLERS; i++)
        CHECK_EQ(pthread_join(killers[i].id, NULL), 0);
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < SURVIVORS; i++)
        CHECK_EQ(pthread_join(survivor[i], NULL), 0);
    storm_wait_for_threads(before);
}

/* Some deaths, and what is left of them: in the end nothing. */
static void run_turn(uint64_t seed, totals *sum)
{
    totals turn = { 0 };
    storm_set last;
    run_threads(seed);
    add_up(&turn);
    storm_begin(&last, instance, seed);
    storm_end_table(&last);
    emma_trim(instance);
    const emma_stats stats = storm_verify_end(instance, HEAPS_MAX, turn.deaths,
                                              turn.lost + turn.deaths_inside * STORM_LEFT_BLOCKS);
    turn.abandoned_bytes = stats.abandoned_bytes;
    sum->deaths += turn.deaths;
    sum->deaths_inside += turn.deaths_inside;
    sum->lost += turn.lost;
    sum->abandoned_bytes += turn.abandoned_bytes;
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_EQ(test_stats(instance).abandoned_bytes, 0);
}

int main(int argc, char **argv)
{
    if (TEST_SHADOW_MEMORY)
        test_skip("a sanitizer does not let threads end by the kernel's own call");
    const size_t deaths = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    const uint64_t seed = test_choose_seed(0, argv, 52000);
    totals sum = { 0 };
    printf("seed %llu\n", (unsigned long long)(test_seed = seed));
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = die;
    sigemptyset(&action.sa_mask);
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    const uint64_t start = storm_now_ns();
    size_t turn = 0;
    for (; storm_goes_on(sum.deaths, deaths, start) || (!sum.abandoned_bytes && turn < TURNS_MAX);
         turn++) {
        if (turn % TURNS_PER_INSTANCE == 0)
            instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
        run_turn(seed + turn * SEEDS, &sum);
        if (turn % TURNS_PER_INSTANCE == TURNS_PER_INSTANCE - 1)
            emma_destroy(instance);
    }
    if (turn % TURNS_PER_INSTANCE)
        emma_destroy(instance);
    printf("%zu deaths, %zu in a call, at most %zu blocks lost, %zu KiB abandoned\n", sum.deaths,
           sum.deaths_inside, sum.lost, sum.abandoned_bytes / TEST_KIB);
    CHECK_GT(sum.abandoned_bytes, 0);
    return 0;
}
