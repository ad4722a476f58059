/* test-options: export=1,name=shown,limit=512M */
/* A program that was asked to export has a page and a thread before main; both follow it through threads that allocate and
 * through forks, and the figures are those that the program is told itself. */
#include "malloc_test.h"

#include <dirent.h>
#include <stdatomic.h>

enum { THREADS = 4, ROUNDS = 20000, FORKS = 20, WAITS = 4000, WAIT_US = 5000 };

/* As bindings/emma_export_page.h lays it out; emma's own symbols are not to be seen here. */
enum {
    HEAD = 192,
    PROCESS_AT = 24,
    CLOSED_AT = 48,
    SEQUENCE_AT = HEAD,
    NUMBER_AT = HEAD + 8,
    NAME_AT = HEAD + 16,
    KIND_AT = HEAD + 48,
    FIGURES_AT = HEAD + 64
};
enum { LIMIT = 0, FOOTPRINT = 4, LIVE_BYTES = 13 };

static const unsigned char *page_of(pid_t pid)
{
    char folder[64], path[320], link[64];
    const unsigned char *found = NULL;
    snprintf(folder, sizeof folder, "/proc/%d/fd", (int)pid);
    DIR *files = opendir(folder);
    CHECK(files != NULL);
    for (struct dirent *file; !found && (file = readdir(files));) {
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        const ssize_t length = readlink(path, link, sizeof link - 1);
        link[length > 0 ? length : 0] = '\0';
        if (strncmp(link, "/memfd:emma-export", 18) != 0)
            continue;
        const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
        const unsigned char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, descriptor, 0);
        close(descriptor);
        CHECK(page != MAP_FAILED);
        uint32_t process;
        memcpy(&process, page + PROCESS_AT, sizeof process);
        if (process == (uint32_t)pid)
            found = page;
        else
            munmap((void *)(uintptr_t)page, 4096);
    }
    closedir(files);
    return found;
}

static uint64_t figure(const unsigned char *page, size_t which)
{
    return __atomic_load_n((const uint64_t *)(const void *)(page + FIGURES_AT) + which,
                           __ATOMIC_ACQUIRE);
}

static bool grows_to(const unsigned char *page, size_t which, uint64_t least)
{
    for (int i = 0; i < WAITS && figure(page, which) < least; i++)
        usleep(WAIT_US);
    return figure(page, which) >= least;
}

static void *allocate(void *arg)
{
    void *blocks[64] = { NULL };
    test_rng rng = test_rng_from((uint64_t)(uintptr_t)arg);
    for (int i = 0; i < ROUNDS; i++) {
        const size_t slot = test_below(&rng, 64);
        free(blocks[slot]);
        blocks[slot] = malloc(test_random_size(&rng, 100000));
    }
    for (size_t i = 0; i < 64; i++)
        free(blocks[i]);
    return NULL;
}

static void exit_status_is_0(pid_t child)
{
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

static void fork_once(pid_t parent)
{
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const unsigned char *page = page_of(getpid());
        CHECK(page != NULL);
        CHECK(getpid() != parent);
        void *block = malloc(40 * TEST_MIB);
        CHECK(block != NULL);
        test_fill(block, 40 * TEST_MIB, 1);
        CHECK(grows_to(page, FOOTPRINT, 40 * TEST_MIB));
        _exit(0);
    }
    exit_status_is_0(child);
}

int main(void)
{
    malloc_test_serves();
    const unsigned char *page = page_of(getpid());
    CHECK(page != NULL);
    CHECK(memcmp(page, "emma-top", 8) == 0);
    CHECK(strcmp((const char *)page + NAME_AT, "shown") == 0);
    CHECK(strcmp((const char *)page + KIND_AT, "malloc") == 0);
    CHECK_EQ(figure(page, LIMIT), 512 * TEST_MIB);

    void *block = malloc(20 * TEST_MIB);
    CHECK(block != NULL);
    CHECK(grows_to(page, FOOTPRINT, 20 * TEST_MIB));
    CHECK(grows_to(page, LIVE_BYTES, 20 * TEST_MIB));
    CHECK_LE(figure(page, FOOTPRINT), malloc_test_footprint() + TEST_MIB);
    free(block);

    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, allocate, (void *)(i + 1)), 0);
    for (int i = 0; i < FORKS; i++)
        fork_once(getpid());
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);

    /* What takes this one's place exports, too, and has no page of this one's. */
    const pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "ls -l /proc/$$/fd | grep -c emma-export | grep -qxE '[01]'",
              (char *)NULL);
        _exit(127);
    }
    exit_status_is_0(child);
    uint32_t closed;
    memcpy(&closed, page + CLOSED_AT, sizeof closed);
    CHECK_EQ(closed, 0);
    return 0;
}
