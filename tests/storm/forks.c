/* Thousands of forks, half of them by the C library and half by the kernel's own call, of a process in which eight
 * threads allocate in one shared instance: by the main thread, and by the handler of a signal to one of those threads.
 * Each child uses the instance, frees what it has of the parent's, makes threads that do, and
 * verifies it; half of those that a handler forked do so when they have come back from it, and ended the
 * call that was interrupted.
 *
 * forks [COUNT]: so many by the main thread, and as many by handlers; as many as a second allows otherwise */
#include "emma_storm.h"

#include <sys/syscall.h>

enum {
    THREADS = 8,
    CHILD_THREADS = 4,
    CHILD_STEPS = 300,
    KEPT = 100,
    CHILD_SECONDS = 60,
    FURTHER = 8
};

typedef struct worker {
    pthread_t id;
    storm_set set;
} worker;

static emma *instance;
static worker workers[THREADS];
static storm_set own; /* the main thread's */
static _Thread_local worker *self;
static bool ending; /* atomic */
static bool in_child;
/* What the handler is to do, and did. */
static bool by_library, comes_back;
static bool forked; /* atomic */
static size_t inside, children;

/* ---- what a child does ---- */

static void *use_in_thread(void *arg)
{
    storm_set set;
    storm_begin(&set, instance, (uintptr_t)arg);
    for (size_t i = 0; i < CHILD_STEPS; i++)
        storm_step(&set);
    storm_end(&set);
    return NULL;
}

/* `set` is what this thread had when it was forked. */
static void use_in_child(storm_set *set, uint64_t seed)
{
    pthread_t threads[CHILD_THREADS];
    storm_forget(set);
    for (size_t i = 0; i < CHILD_STEPS; i++)
        storm_step(set);
    for (size_t i = 0; i < CHILD_THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, use_in_thread, (void *)(uintptr_t)(seed + i)),
                 0);
    for (size_t i = 0; i < CHILD_STEPS; i++)
        storm_step(set); /* while they run */
    for (size_t i = 0; i < CHILD_THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    storm_end(set);
    storm_end_table(set);
}

/* ---- forking ---- */

/* True in the child. */
static bool fork_once(bool library)
{
    if (storm_fork(library, CHILD_SECONDS))
        return in_child = true;
    children++;
    return false;
}

/* Some children have one of their own. */
static _Noreturn void end_child(storm_set *set, uint64_t seed)
{
    use_in_child(set, seed);
    if (seed % FURTHER == 0 && fork_once(seed / FURTHER % 2))
        use_in_thread((void *)(uintptr_t)seed);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    _exit(0);
}

static void on_signal(int number)
{
    (void)number;
    worker *w = self;
    inside += w->set.inside;
    if (!fork_once(by_library)) {
        __atomic_store_n(&forked, true, __ATOMIC_RELEASE);
        return;
    }
    if (comes_back)
        return;
    use_in_child(&w->set, children);
    /* The call that this interrupts is inside still. */
    const enum emma_status status = emma_check(instance);
    CHECK(status == EMMA_OK || status == EMMA_BUSY);
    _exit(0);
}

static void *work(void *arg)
{
    worker *w = arg;
    self = w;
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED)) {
        storm_step(&w->set);
        if (in_child)
            end_child(&w->set, children);
    }
    storm_end(&w->set);
    return NULL;
}

static void fork_in_handler(test_rng *rng, bool library)
{
    enum { LOOK_US = 50 };
    by_library = library;
    comes_back = test_chance(rng, 50);
    __atomic_store_n(&forked, false, __ATOMIC_RELEASE);
    CHECK_EQ(pthread_kill(workers[test_below(rng, THREADS)].id, SIGUSR1), 0);
    while (!__atomic_load_n(&forked, __ATOMIC_ACQUIRE))
        usleep(LOOK_US);
}

int main(int argc, char **argv)
{
    if (TEST_SHADOW_MEMORY)
        test_skip("a sanitizer's own threads and locks do not survive a raw fork");
    const size_t forks = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    const uint64_t seed = test_choose_seed(0, argv, 53000);
    test_rng rng = test_rng_from(seed);
    const size_t threads_before = test_thread_count();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    storm_begin(&own, instance, seed);
    for (size_t i = 0; i < KEPT; i++)
        storm_step(&own);
    for (size_t i = 0; i < THREADS; i++) {
        storm_begin(&workers[i].set, instance, seed + 1 + i);
        CHECK_EQ(pthread_create(&workers[i].id, NULL, work, &workers[i]), 0);
    }
    const uint64_t start = storm_now_ns();
    for (size_t i = 0; storm_goes_on(i, forks, start) || !inside; i++) {
        if (fork_once(i % 2))
            end_child(&own, seed + i);
        storm_step(&own);
        fork_in_handler(&rng, i % 2);
    }
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(workers[i].id, NULL), 0);
    storm_wait_for_threads(threads_before);
    storm_end(&own);
    storm_end_table(&own);
    emma_trim(instance);
    /* The parent loses nothing; a handler and what it interrupts have a heap each. */
    storm_verify_end(instance, 2 * THREADS + 1, 0, 0);
    printf("%zu children, %zu of them forked inside a call\n", children, inside);
    CHECK_GE(children, 2 * forks);
    emma_destroy(instance);
    return 0;
}
