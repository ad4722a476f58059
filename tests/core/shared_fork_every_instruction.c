/* test: uninstrumented */
/* A fork by the raw system call at each n-th instruction that a thread executes in a shared instance.
 * By another thread: in the child the one that was stopped is gone, and the instance serves all the
 * same. By the thread itself, in a handler: the child serves from there, and then ends the call that
 * was stopped. */
#include "emma_step.h"
#include "emma_threads.h"
#include <semaphore.h>
#include <sys/syscall.h>

enum { FORKS = 15, ACTS = 7, KEPT = 60, OWN = 80 };

static emma *instance, *second;
static void *kept[KEPT];    /* the forking thread's */
static void *stepped[KEPT]; /* the other's */
static bool by_itself, in_child, ending;
static size_t traps, stride, forks;
static sem_t fork_now, forked;

static size_t size_of(size_t i)
{
    return 8 + i * i * 3;
}

static void fill(void **blocks)
{
    for (size_t i = 0; i < KEPT; i++) {
        blocks[i] = emma_malloc(instance, size_of(i));
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], size_of(i), i);
    }
}

static void release(void **blocks, size_t from)
{
    for (size_t i = from; i < KEPT; i++) {
        CHECK(test_filled(blocks[i], size_of(i), i));
        emma_free(instance, blocks[i]);
    }
}

static void use(emma *one)
{
    void *own[OWN];
    for (size_t i = 0; i < OWN; i++) {
        const size_t bytes = size_of(i * 7 % OWN);
        own[i] = emma_malloc(one, bytes);
        CHECK(own[i] != NULL);
        test_fill(own[i], bytes, i);
    }
    for (size_t i = 0; i < OWN; i++) {
        CHECK(test_filled(own[i], size_of(i * 7 % OWN), i));
        emma_free(one, own[i]);
    }
}

static void *use_in_thread(void *arg)
{
    use(instance);
    return arg;
}

/* What the child does with what the parent had; the first blocks of the thread that was stopped may be
 * what it was just freeing. */
static void be_child(void)
{
    enum { IN_FLIGHT = 2 };
    use(instance);
    use(second);
    release(kept, 0);
    release(stepped, IN_FLIGHT);
    use(instance);
    CHECK_EQ(emma_check(second), EMMA_OK);
}

static void fork_once(void (*after)(void))
{
    const long child = syscall(SYS_fork);
    CHECK_GE(child + 1, 1);
    if (child == 0) {
        in_child = true;
        be_child();
        if (after)
            after();
        return;
    }
    int status;
    CHECK_EQ(waitpid((pid_t)child, &status, 0), child);
    CHECK_EQ(status, 0);
    forks++;
}

static void end_child(void)
{
    test_thread_run(use_in_thread, NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    _exit(0);
}

static void on_trap(int number)
{
    (void)number;
    if (in_child || ++traps % stride != 0)
        return;
    if (by_itself) {
        fork_once(NULL); /* the child goes on in the call that this interrupts */
        return;
    }
    sem_post(&fork_now);
    while (sem_wait(&forked) != 0)
        continue;
}

static void act(size_t number)
{
    void *block = NULL;
    test_trap_on();
    switch (number) {
    case 0:
        block = emma_malloc(instance, 40);
        break;
    case 1:
        block = emma_malloc(instance, 3333);
        break;
    case 2:
        block = emma_malloc(instance, 90000);
        break;
    case 3:
        emma_free(instance, stepped[0]);
        break;
    case 4:
        emma_free(instance, stepped[1]);
        break;
    case 5:
        emma_trim(instance);
        break;
    default:
        emma_thread_detach(instance);
        break;
    }
    test_trap_off();
    emma_free(instance, block);
}

/* Counts the instructions of an act, and then does it again with forks. */
static void fork_in_act(size_t number, test_rng *rng)
{
    enum { FREED_FIRST = 3, FREED_LAST = 4 };
    for (int forking = 0; forking < 2; forking++) {
        stride = forking ? 1 + traps / test_scaled(FORKS) : SIZE_MAX;
        traps = forking ? test_below(rng, stride) : 0;
        fill(stepped);
        act(number);
        if (in_child) {
            CHECK_EQ(emma_check(instance), EMMA_OK);
            _exit(0);
        }
        for (size_t i = 0; i < 2; i++)
            if (number < FREED_FIRST || number > FREED_LAST || number - FREED_FIRST != i)
                emma_free(instance, stepped[i]);
        release(stepped, 2);
    }
}

static void *be_stepped(void *arg)
{
    test_thread *self = arg;
    for (size_t i = 0; i < ACTS; i++)
        fork_in_act(i, &self->rng);
    ending = true;
    sem_post(&fork_now);
    return NULL;
}

static void run(bool itself, uint64_t seed)
{
    test_thread thread;
    by_itself = itself;
    ending = false;
    forks = 0;
    fill(kept);
    test_threads_start(&thread, 1, be_stepped, seed);
    for (;;) {
        while (sem_wait(&fork_now) != 0)
            continue;
        if (ending)
            break;
        fork_once(end_child);
        sem_post(&forked);
    }
    test_threads_join(&thread, 1);
    release(kept, 0);
    printf("%zu forks\n", forks);
    CHECK_GE(forks, ACTS);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 40000);
    test_trap_to(on_trap);
    sem_init(&fork_now, 0, 0);
    sem_init(&forked, 0, 0);
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    second = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    run(false, seed);
    run(true, seed + 1);
    emma_destroy(second);
    emma_destroy(instance);
    return 0;
}
