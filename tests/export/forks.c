/* The child of a fork has a page and a thread of its own and leaves the parent's alone, whatever other threads were doing;
 * one that is made without the C library exports nothing.
 *
 * No thread is still beginning at a fork: AddressSanitizer's allocator does not get its locks through
 * one, and its part of a thread's beginning takes them. */
#include "export_test.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { FORKS = 30, THREADS = 2 };

static emma *kept;
static atomic_bool ends;
static atomic_int begun;

static void *add_and_remove(void *arg)
{
    emma *instance = test_create(TEST_MIB, 0);
    atomic_fetch_add(&begun, 1);
    while (!atomic_load(&ends)) {
        emma_export_add(instance, "flickers", "test", 0);
        emma_export_remove(instance);
    }
    emma_destroy(instance);
    return arg;
}

static void exit_status_is_0(pid_t child)
{
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

static uint64_t footprint_of(pid_t pid)
{
    export_slot slot = { .number = 0 };
    export_test_count(pid, "kept", &slot);
    return slot.number ? slot.figures[EXPORT_FIGURE_FOOTPRINT] : 0;
}

/* The thread of this process shows what has been allocated since; so it has begun. */
static void wait_until_shown(uint64_t before)
{
    CHECK(emma_malloc(kept, 2 * TEST_MIB) != NULL);
    for (int i = 0; i < EXPORT_TEST_WAITS && footprint_of(getpid()) == before; i++)
        usleep(EXPORT_TEST_WAIT_US);
    CHECK_GE(footprint_of(getpid()), before + 2 * TEST_MIB);
}

/* In a child: its page shows what it has itself. */
static void child_exports(pid_t parent)
{
    const uint64_t before = footprint_of(getpid());
    CHECK_EQ(before, footprint_of(parent));
    CHECK_EQ(export_test_threads(), 2);
    CHECK_EQ(export_test_open(getpid(), 1), -1); /* the parent's is closed */
    wait_until_shown(before);
    CHECK_EQ(footprint_of(parent), before);
    emma *own = test_create(TEST_MIB, 0);
    emma_export_add(own, "own", "test", 0);
    export_slot slot = { .number = 0 };
    export_test_count(getpid(), "own", &slot);
    CHECK(slot.number != 0);
    slot.number = 0;
    export_test_count(parent, "own", &slot);
    CHECK_EQ(slot.number, 0);
}

static void fork_once(void)
{
    const pid_t parent = getpid();
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        child_exports(parent);
        const pid_t own = getpid(), grandchild = fork();
        if (grandchild == 0) {
            CHECK_EQ(footprint_of(getpid()), footprint_of(own));
            _exit(0);
        }
        exit_status_is_0(grandchild);
        _exit(0);
    }
    exit_status_is_0(child);
}

static void fork_while_others_add(void)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, add_and_remove, NULL), 0);
    while (atomic_load(&begun) < THREADS)
        usleep(EXPORT_TEST_WAIT_US);
    for (int i = 0; i < FORKS; i++) {
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(footprint_of(getpid()) != 0);
            emma_export_remove(kept);
            CHECK_EQ(footprint_of(getpid()), 0);
            emma_export_stop();
            _exit(0);
        }
        exit_status_is_0(child);
    }
    atomic_store(&ends, true);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* Its memory is a copy, the page is not. */
static void clone_by_hand(void)
{
    const size_t shown = export_test_count(getpid(), NULL, NULL);
    const pid_t parent = getpid();
    const long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    CHECK(child >= 0);
    if (child == 0) {
        emma_export_remove(kept);
        emma_export_add(kept, "again", "test", 0);
        size_t bytes;
        _exit(getpid() == parent || export_test_find(getpid(), &bytes) != NULL);
    }
    exit_status_is_0((pid_t)child);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), shown);
    CHECK(footprint_of(getpid()) != 0);
}

/* A handler may fork, too: whoever is inside has all signals blocked. */
static void fork_in_handler(int number)
{
    (void)number;
    const pid_t child = fork();
    if (child == 0)
        _exit(0);
    int status;
    waitpid(child, &status, 0);
}

static void fork_from_signals(void)
{
    struct sigaction action = { .sa_handler = fork_in_handler, .sa_flags = SA_RESTART };
    sigaction(SIGALRM, &action, NULL);
    const struct itimerval often = { { 0, 3000 }, { 0, 3000 } }, never = { { 0, 0 }, { 0, 0 } };
    emma *instance = test_create(TEST_MIB, 0);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 20000; i++) {
        emma_export_add(instance, "flickers", "test", 0);
        emma_export_remove(instance);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    emma_destroy(instance);
}

int main(void)
{
    CHECK_EQ(emma_export_start(), 0);
    kept = test_create(EMMA_UNLIMITED, 0);
    emma_export_add(kept, "kept", "test", 0);
    wait_until_shown(footprint_of(getpid()));
    fork_once();
    clone_by_hand();
    fork_while_others_add();
    fork_from_signals();
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 1);
    emma_export_stop();
    emma_destroy(kept);
    return 0;
}
