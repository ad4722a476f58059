/* test: uninstrumented */
/* A fork by the raw system call at each n-th instruction of every call that works on an instance. By the thread itself,
 * in a handler: the child uses the instance there, ends the call, and goes on. By another thread: in the child
 * the one that was stopped is gone, and its call was left; what must hold then stands in emma_calls.h. */
#include "emma_calls.h"
#include <semaphore.h>
#include <sys/syscall.h>

static const call *current;
static unsigned kind_now;
static test_rng rng;
static emma *second;
static bool by_itself, in_child, ended;
static size_t stride, phase, forks;
static sem_t fork_now, forked;

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue;
}

/* Returns in the parent when the child has ended well. */
static void fork_once(void (*be_child)(void))
{
    const long child = syscall(SYS_fork);
    CHECK_GE(child + 1, 1);
    if (child == 0) {
        in_child = true;
        be_child();
        return;
    }
    int status;
    CHECK_EQ(waitpid((pid_t)child, &status, 0), child);
    CHECK_EQ(status, 0);
    forks++;
}

/* In the handler; the call goes on behind it. */
static void be_caller(void)
{
    test_trap_end();
    use(second);
    if (kind_now == SHARED && !(current->flags & ALONE))
        use(instance);
    else if (kind_now != SHARED && current->run != call_destroy)
        act();
}

static void be_other(void)
{
    left = true;
    after(current, kind_now);
    use(second);
    CHECK_EQ(emma_check(second), EMMA_OK);
    _exit(0);
}

static void on_trap(int number)
{
    (void)number;
    traps++;
    if (is_every() ? !meet(test_trap_address()) : (traps + phase) % stride != 0)
        return;
    note_stop(current);
    if (by_itself) {
        fork_once(be_caller);
        return;
    }
    sem_post(&fork_now);
    wait_for(&forked);
}

static void *be_stepped(void *arg)
{
    const call *c = arg;
    if (kind_now == SHARED)
        prepare(c, kind_now); /* else the main thread did */
    make(c);
    release_result();
    if (in_child) {
        after(c, kind_now);
        _exit(0);
    }
    ended = true;
    sem_post(&fork_now);
    return NULL;
}

/* Has a thread make the call, with a fork at each stop. */
static void make_once(const call *c, unsigned kind)
{
    pthread_t thread;
    current = c;
    kind_now = kind;
    ended = false;
    set_up(kind);
    if (kind != SHARED)
        prepare(c, kind);
    CHECK_EQ(pthread_create(&thread, NULL, be_stepped, (void *)(uintptr_t)c), 0);
    for (wait_for(&fork_now); !ended; wait_for(&fork_now)) {
        fork_once(be_other);
        sem_post(&forked);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    after(c, kind);
}

static void fork_often(const call *c, unsigned kind)
{
    enum { FORKS = TEST_CHECKED_BUILD ? 6 : 12 };
    stride = SIZE_MAX;
    phase = 0;
    if (!is_every())
        make_once(c, kind); /* counts */
    stride = 1 + traps / test_scaled(FORKS);
    for (int i = 0; i < 2; i++) {
        const size_t inside = stops_inside;
        by_itself = i > 0;
        acts = by_itself;
        forks = 0;
        phase = test_below(&rng, stride);
        meet_none();
        make_once(c, kind);
        printf("%s, %s: %zu forks by %s, %zu inside, ", kind_names[kind], c->name, forks,
               by_itself ? "itself" : "another", stops_inside - inside);
        if (is_every())
            printf("before each of %zu instructions\n", met.count);
        else
            printf("every %zu instructions\n", stride);
        CHECK_GT(forks, 0);
    }
}

int main(int argc, char **argv)
{
    rng = test_rng_from(test_choose_seed(argc, argv, 40000));
    test_trap_to(on_trap);
    sem_init(&fork_now, 0, 0);
    sem_init(&forked, 0, 0);
    second = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    for_each_call(fork_often);
    print_stops();
    CHECK_EQ(emma_check(second), EMMA_OK);
    CHECK_EQ(test_stats(second).live_blocks, 0);
    emma_destroy(second);
    return 0;
}
