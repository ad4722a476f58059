/* All features at once, for as long as one likes: three shared instances, which all threads use, and a local one for
 * each thread, with checkpoints; blocks that go from thread to thread; signals by timers, whose handlers
 * use the instances, fork, and jump out; threads that die; forks, whose children go on with all that; limits that change
 * on the fly, and a kernel that refuses calls. In rounds: after each, all contents are verified, and after some what
 * is left when all is freed: it must not grow.
 *
 * soak [SECONDS]: 5 by default */
#include "soak_quiet.h"

static size_t seconds;
static uint64_t start_ns;
static pthread_barrier_t barrier;
static bool leaving; /* the threads are to end; between barriers */
static test_rng rng;

/* ---- the threads ---- */

static void set_timer(worker *w, unsigned level)
{
    const long ns = (long)now.period_us * 1000 * (level ? 3 : 1);
    const struct itimerspec often = { { 0, ns }, { 0, ns } };
    CHECK_EQ(timer_settime(w->timers[level], 0, &often, NULL), 0);
}

static void *work(void *arg)
{
    worker *w = arg;
    self = w;
    for (unsigned level = 0; level < SIGNALS; level++)
        w->timers[level] = storm_timer(signal_of[level]);
    for (;;) {
        pthread_barrier_wait(&barrier);
        if (leaving)
            break;
        for (unsigned level = 0; level < SIGNALS; level++)
            set_timer(w, level);
        run_round(w);
        pthread_barrier_wait(&barrier);
    }
    for (unsigned level = 0; level < SIGNALS; level++)
        CHECK_EQ(timer_delete(w->timers[level]), 0);
    if (w->detaches)
        for (int kind = 0; kind < SHARED_KINDS; kind++)
            emma_thread_detach(shareds[kind].instance);
    return NULL;
}

static void start_worker(worker *w)
{
    pthread_attr_t small;
    CHECK_EQ(pthread_attr_init(&small), 0);
    CHECK_EQ(pthread_attr_setstacksize(&small, 256 * TEST_KIB), 0);
    w->rng.state = test_random(&rng) | 1;
    for (unsigned level = 0; level < SIGNALS; level++)
        w->rng_of_handler[level].state = test_random(&rng) | 1;
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        for (int j = 0; j < SETS; j++) {
            set_begin(&w->sets[kind][j], (enum shared_kind)kind, test_random(&rng) >> 8);
            w->sets[kind][j].is_handler = j > 0;
        }
    w->kept = 0;
    w->detaches = test_chance(&rng, 30);
    CHECK_EQ(pthread_create(&w->id, &small, work, w), 0);
    count(THREADS, 1);
}

/* ---- the main thread's part of a round ---- */

static void on_limit(void *arg, emma *instance, bool over)
{
    shared *s = arg;
    emma_stats stats = { .struct_bytes = EMMA_STATS_COUNTERS_BYTES };
    emma_get_stats(instance, &stats);
    CHECK_GE(stats.peak_footprint_bytes, TEST_PAGE_BYTES);
    __atomic_fetch_add(over ? &s->overs : &s->unders, 1, __ATOMIC_RELAXED);
    count(CROSSINGS, 1);
}

static void create_shared(enum shared_kind kind)
{
    enum { DECAY_STRUCK_MS = 5, DECAY_CAPPED_MS = 20, SPARE_KIB = 256 };
    shared *s = &shareds[kind];
    emma_options options =
        world_options(shared_names[kind], EMMA_SHARED | (kind == CAPPED ? EMMA_ALIGN8 : 0));
    options.limit_handler = on_limit;
    options.limit_arg = s;
    if (kind == STRUCK)
        options.decay_ms = DECAY_STRUCK_MS;
    if (kind == CAPPED) {
        options.decay_ms = DECAY_CAPPED_MS;
        options.spare_bytes = SPARE_KIB * TEST_KIB;
    }
    s->left = s->lost = s->overs = s->unders = 0;
    s->instance = world_create(&options);
    CHECK(s->instance != NULL);
}

static void change_limit(shared *s)
{
    const size_t bytes = 2 * TEST_MIB + test_below(&rng, 12 * TEST_MIB);
    const enum emma_status status = emma_set_limit(s->instance, bytes);
    CHECK(status == EMMA_OK || status == EMMA_NO_MEMORY);
    count(LIMITS, status == EMMA_OK);
}

static bool look_at_chunk(void *arg, const emma_chunk_stats *chunk)
{
    size_t *end = arg;
    CHECK_GE(chunk->offset_bytes, *end);
    *end = chunk->offset_bytes + chunk->bytes;
    return true;
}

/* What may be asked, and changed, while others use an instance. */
static void interfere(shared *s)
{
    const size_t kind = test_below(&rng, 8);
    size_t end = 0;
    if (kind == 0 && s->may_refuse) {
        change_limit(s);
    } else if (kind == 1 && s->may_refuse) {
        CHECK_EQ(emma_use_spare(s->instance, test_chance(&rng, 50)), EMMA_OK);
    } else if (kind == 2) {
        CHECK_EQ(emma_set_soft_limit(s->instance, 1 + test_below(&rng, 8 * TEST_MIB)), EMMA_OK);
    } else if (kind == 3) {
        CHECK(emma_walk_chunks(s->instance, look_at_chunk, &end));
    } else if (kind == 4) {
        emma_class_stats figures_of = { .struct_bytes = sizeof figures_of };
        CHECK(emma_get_class_stats(s->instance, (unsigned)test_below(&rng, 16), &figures_of));
    } else if (kind == 5) {
        const emma_stats stats = test_stats(s->instance);
        CHECK_LE(stats.metadata_bytes, stats.peak_footprint_bytes);
    } else if (kind == 6) {
        emma_trim(s->instance);
    } else {
        for (int i = 0; i < STORM_SLOTS; i++)
            storm_step(&s->of_main);
    }
}

static void choose_weather(void)
{
    static const size_t periods_us[] = { 200, 500, 1000, 3000 };
    static const uint64_t refusals[] = { 0, 0, 0, 7, 40, 300 };
    now.deaths = test_chance(&rng, 60);
    now.jumps = test_chance(&rng, 60);
    now.forks = test_chance(&rng, 60);
    now.limits = test_chance(&rng, 40);
    now.refuse_every = refusals[test_below(&rng, TEST_COUNT(refusals))];
    now.period_us = periods_us[test_below(&rng, TEST_COUNT(periods_us))];
}

/* Limits are lifted before a round without them: what is refused then has no excuse. */
static void prepare_shared(enum shared_kind kind)
{
    shared *s = &shareds[kind];
    s->may_refuse = kind == CAPPED || now.limits;
    if (kind == CAPPED)
        change_limit(s);
    else
        CHECK_EQ(emma_set_limit(s->instance, EMMA_UNLIMITED), EMMA_OK);
    for (size_t i = 0; i < WORKERS; i++)
        for (int j = 0; j < SETS; j++)
            set_permit(&workers[i].sets[kind][j], kind);
    set_permit(&s->of_main, kind);
}

static void run(uint64_t round_ns)
{
    enum { PAUSE_US = 300, HANG_SECONDS = 300 };
    choose_weather();
    round_number++;
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        prepare_shared((enum shared_kind)kind);
    alarm(HANG_SECONDS);
    const uint64_t failures = fault.failures;
    fault.every = now.refuse_every;
    ending = false;
    pthread_barrier_wait(&barrier);
    for (const uint64_t end = storm_now_ns() + round_ns; storm_now_ns() < end;) {
        interfere(&shareds[test_below(&rng, SHARED_KINDS)]);
        usleep(PAUSE_US);
    }
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    pthread_barrier_wait(&barrier);
    fault_none();
    count(KERNEL_REFUSALS, fault.failures - failures);
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        verify_shared((enum shared_kind)kind);
    for (size_t i = 0; i < WORKERS; i++)
        verify_local(&workers[i].local);
}

/* ---- progress ---- */

static size_t seconds_so_far(void)
{
    return (size_t)((storm_now_ns() - start_ns) / 1000000000u);
}

static void show_progress(void)
{
    enum { OFTEN = 10, SELDOM = 60 };
    static size_t shown;
    const size_t so_far = seconds_so_far();
    if (so_far < shown + (isatty(STDOUT_FILENO) ? OFTEN : SELDOM))
        return;
    shown = so_far;
    printf("%6zu s, %zu rounds:", so_far, round_number);
    for (int event = 0; event < EVENTS; event++)
        printf("%s %llu %s", event ? "," : "", (unsigned long long)events[event],
               event_names[event]);
    printf("; left");
    for (int kind = 0; kind < FIGURES; kind++)
        printf("%s %zu %s", kind ? "," : "", figures[kind].last, figures[kind].name);
    printf("\n");
    fflush(stdout);
}

static void show_end(void)
{
    printf("%zu rounds in %zu s\n", round_number, seconds_so_far());
    for (int event = 0; event < EVENTS; event++)
        printf("%14llu %s\n", (unsigned long long)events[event], event_names[event]);
    printf("left after each of %zu epochs, with all freed: in the first, second and last quarter "
           "at most\n",
           round_number / ROUNDS_PER_EPOCH);
    for (int kind = 0; kind < FIGURES; kind++)
        printf("%8zu %8zu %8zu %s\n", figures[kind].most[0], figures[kind].most[1],
               figures[kind].most[3], figures[kind].name);
}

/* ---- epochs ---- */

static void begin_epoch(void)
{
    leaving = false;
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        set_begin(&shareds[kind].of_main, (enum shared_kind)kind, test_random(&rng) >> 8);
    for (size_t i = 0; i < WORKERS; i++)
        start_worker(&workers[i]);
}

/* Some instances are made anew. */
static void end_epoch(void)
{
    enum { ANEW_PERCENT = 30 };
    size_t local_bytes = 0;
    leaving = true;
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < WORKERS; i++)
        CHECK_EQ(pthread_join(workers[i].id, NULL), 0);
    storm_wait_for_threads(1);
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        rest_shared((enum shared_kind)kind);
    for (size_t i = 0; i < WORKERS; i++)
        rest_local(&workers[i].local, &local_bytes);
    note(LEFT_LOCAL, local_bytes / TEST_KIB);
    compare_process();
    if (test_chance(&rng, ANEW_PERCENT)) {
        emma_destroy(shareds[CAPPED].instance);
        create_shared(CAPPED);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        local *l = &workers[i].local;
        if (!test_chance(&rng, ANEW_PERCENT))
            continue;
        emma_destroy(l->m.instance);
        local_begin(l, l->flags);
    }
}

/* ---- the whole ---- */

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigemptyset(&action.sa_mask);
    if (number == signal_of[1]) /* the second interrupts the first, not the other way round */
        sigaddset(&action.sa_mask, signal_of[0]);
    CHECK_EQ(sigaction(number, &action, NULL), 0);
}

static void begin(void)
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM };
    block_signals(true); /* those that the threads begin with */
    for (unsigned level = 0; level < SIGNALS; level++)
        handle(signal_of[level], on_signal, SA_RESTART);
    handle(SIGPROF, die, 0);
    for (size_t i = 0; i < TEST_COUNT(crashes); i++)
        handle(crashes[i], on_crash, (int)SA_RESETHAND);
    fault.replace = world_replace;
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, WORKERS + 1), 0);
    descriptors_at_start = test_descriptors();
    at_start = process_now();
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        create_shared((enum shared_kind)kind);
    for (size_t i = 0; i < WORKERS; i++)
        local_begin(&workers[i].local, local_flags[i % TEST_COUNT(local_flags)]);
}

static void end(void)
{
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        emma_destroy(shareds[kind].instance);
    for (size_t i = 0; i < WORKERS; i++)
        emma_destroy(workers[i].local.m.instance);
    CHECK_EQ(test_descriptors(), descriptors_at_start);
}

int main(int argc, char **argv)
{
    enum { USUAL_SECONDS = 5, ROUNDS = 300 };
    const uint64_t shortest_ns = 20000000, longest_ns = 2000000000;
    test_need_own_maps();
    seconds = argc > 1 ? strtoul(argv[1], NULL, 10) : test_scaled(USUAL_SECONDS);
    CHECK_GT(seconds, 0);
    rng = test_rng_from(test_choose_seed(0, argv, 54000));
    begin();
    start_ns = storm_now_ns();
    const uint64_t all_ns = (uint64_t)seconds * 1000000000u;
    uint64_t round_ns = all_ns / ROUNDS;
    round_ns = round_ns < shortest_ns ? shortest_ns : round_ns > longest_ns ? longest_ns : round_ns;
    for (uint64_t gone; (gone = storm_now_ns() - start_ns) < all_ns;) {
        quarter = (unsigned)(gone * 4 / all_ns);
        begin_epoch();
        for (int i = 0; i < ROUNDS_PER_EPOCH; i++)
            run(round_ns);
        end_epoch();
        show_progress();
    }
    show_end();
    judge();
    end();
    return 0;
}
