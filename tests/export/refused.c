/* What the system refuses is told as errno's number, with nothing left; a page that cannot grow counts what it does not
 * show; and a program that closes descriptors that it does not know gets another page. */
#include "export_test.h"

static void set_descriptors(rlim_t most)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The lowest number that is free. */
static int next_descriptor(void)
{
    const int next = dup(STDERR_FILENO);
    close(next);
    return next;
}

static void no_descriptor(void)
{
    const size_t descriptors = export_test_descriptors(), threads = export_test_threads();
    const int next = next_descriptor();
    set_descriptors((rlim_t)next);
    CHECK_EQ(emma_export_start(), EMFILE);
    emma *instance = test_create(TEST_MIB, 0);
    emma_export_add(instance, "none", "test", 0);
    emma_export_remove(instance);
    set_descriptors((rlim_t)next +
                    1); /* just one, and none above: where others find it all the same */
    CHECK_EQ(emma_export_start(), 0);
    emma_export_add(instance, "one", "test", 0);
    set_descriptors(1024);
    CHECK_EQ(export_test_descriptors(), descriptors + 1);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 1);
    emma_export_stop();
    emma_destroy(instance);
    CHECK_EQ(export_test_descriptors(), descriptors);
    for (int i = 0; i < EXPORT_TEST_WAITS && export_test_threads() > threads; i++)
        usleep(EXPORT_TEST_WAIT_US);
    CHECK_EQ(export_test_threads(), threads);
}

/* In a child, which is not to be so short of memory afterwards. */
static void no_memory(void)
{
    if (TEST_SHADOW_MEMORY)
        return; /* it has taken more address space than there is */
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const size_t descriptors = export_test_descriptors();
        struct rlimit limit = { 1 << 20, 1 << 20 };
        CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
        const int error = emma_export_start();
        limit.rlim_cur = limit.rlim_max;
        CHECK(error == ENOMEM || error == EAGAIN);
        int next = next_descriptor();
        CHECK_LE((size_t)next, descriptors);
        CHECK_EQ(fcntl(EXPORT_DESCRIPTOR, F_GETFD), -1);
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

/* What the page says when the thread has come by twice. */
static void expect_unshown(const export_page *page, size_t expected)
{
    uint64_t fresh_ns = __atomic_load_n(&page->fresh_ns, __ATOMIC_ACQUIRE);
    for (int times = 0, i = 0; times < 2 && i < EXPORT_TEST_WAITS; i++) {
        const uint64_t now_ns = __atomic_load_n(&page->fresh_ns, __ATOMIC_ACQUIRE);
        times += now_ns != fresh_ns;
        fresh_ns = now_ns;
        usleep(EXPORT_TEST_WAIT_US);
    }
    CHECK_EQ(__atomic_load_n(&page->unshown, __ATOMIC_RELAXED), expected);
}

static void no_room_to_grow(void)
{
    enum { INSTANCES = 60, STRANGERS = 5 };
    emma *instances[INSTANCES], *strangers[STRANGERS];
    size_t bytes;
    CHECK_EQ(emma_export_start(), 0);
    const export_page *page = export_test_find(getpid(), &bytes);
    const size_t slots = page->slot_count;
    CHECK_LT(slots, INSTANCES / 2);
    for (size_t i = 0; i < INSTANCES; i++)
        instances[i] = test_create(TEST_MIB, 0);
    for (size_t i = 0; i < STRANGERS; i++)
        strangers[i] = test_create(TEST_MIB, 0);
    set_descriptors((rlim_t)next_descriptor());
    for (size_t i = 0; i < INSTANCES; i++)
        emma_export_add(instances[i], "n", "test", 0);
    set_descriptors(1024);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), slots);
    expect_unshown(page, INSTANCES - slots);
    for (size_t i = 0; i < STRANGERS; i++) { /* they were never added */
        emma_export_remove(strangers[i]);
        emma_destroy(strangers[i]);
    }
    expect_unshown(page, INSTANCES - slots);
    set_descriptors((rlim_t)next_descriptor());
    emma_export_add(instances[INSTANCES - 1], "n", "test", 0); /* it is counted already */
    set_descriptors(1024);
    expect_unshown(page, INSTANCES - slots);
    for (size_t i = INSTANCES; i-- > 0;) {
        emma_export_remove(instances[i]);
        emma_destroy(instances[i]);
    }
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 0);
    expect_unshown(page, 0);
    munmap((void *)(uintptr_t)page, bytes);
    emma_export_stop();
}

/* As daemons do; the numbers are then other files'. */
static void closed_by_others(void)
{
    emma *instance = test_create(TEST_MIB, 0);
    CHECK_EQ(emma_export_start(), 0);
    emma_export_add(instance, "kept", "test", 0);
    const int first = EXPORT_DESCRIPTOR;
    char link[64] = "", path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", first);
    CHECK(readlink(path, link, sizeof link - 1) > 0);
    CHECK(strncmp(link, "/memfd:emma-export", 18) == 0);
    CHECK_EQ(dup2(STDERR_FILENO, first), first);
    export_test_await(getpid(), 1);
    CHECK_EQ(export_test_open(getpid(), 1), -1);
    emma_export_stop();
    CHECK(fcntl(first, F_GETFD) >= 0); /* it is not the exporter's to close */
    close(first);
    emma_destroy(instance);
}

int main(void)
{
    no_descriptor();
    no_memory();
    no_room_to_grow();
    closed_by_others();
    return 0;
}
