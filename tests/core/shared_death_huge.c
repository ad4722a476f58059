/* test: whole uninstrumented plain */
/* A thread of a shared instance dies, by the kernel's own call, while it takes a huge page into use, or gives one up:
 * after a reset no page is resident that does not count, and the kernel is not advised to bring in huge ones any more. */
#include "emma_fault.h"
#include "emma_threads.h"

#include <linux/mman.h>

/* Of a large heap, so that its slabs get huge pages; and a run that has some. */
enum { BLOCK_BYTES = 4000, BLOCKS = 8000, RUN_BYTES = 40 << 20 };

static emma *instance;
static long dies_at;     /* this advice */
static bool dies_before; /* or after */
static _Thread_local bool is_victim;

static bool answer(long number, const long arguments[6], long *result)
{
    if (number == SYS_clock_gettime) { /* stands still: no huge page is dear */
        memset((void *)arguments[1], 0, 2 * sizeof(long));
        *result = 0;
        return true;
    }
    if (number != SYS_madvise || arguments[2] != dies_at || !is_victim)
        return false;
    if (!dies_before)
        fault_make(number, arguments);
    syscall(SYS_exit, 0);
    return false;
}

static void *allocate_many(void *arg)
{
    (void)arg;
    is_victim = true;
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK(emma_malloc(instance, BLOCK_BYTES) != NULL);
    return (void *)"alive";
}

static void *give_up_run(void *arg)
{
    (void)arg;
    void *run = emma_malloc(instance, RUN_BYTES);
    CHECK(run != NULL);
    is_victim = true;
    emma_free(instance, run);
    return (void *)"alive";
}

static void count_advised(void *arg, const char *line)
{
    *(size_t *)arg += strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " hg") != NULL;
}

static size_t advised_mappings(void)
{
    size_t count = 0;
    test_read_lines("/proc/self/smaps", count_advised, &count);
    return count;
}

static void kill_in(void *(*act)(void *), long advice, bool before)
{
    static test_maps own;
    enum { WAIT_US = 1000 };
    const emma_options options = { .struct_bytes = sizeof options,
                                   .limit_bytes = EMMA_UNLIMITED,
                                   .soft_limit_bytes = EMMA_UNLIMITED,
                                   .flags = EMMA_SHARED };
    pthread_t thread;
    void *end = NULL;
    dies_at = 0;
    instance = test_create_mapped(&options, &own);
    dies_at = advice;
    dies_before = before;
    const size_t threads = test_thread_count();
    CHECK_EQ(pthread_create(&thread, NULL, act, NULL), 0);
    CHECK_EQ(pthread_join(thread, &end), 0);
    CHECK_EQ(end, NULL); /* it has died */
    while (test_thread_count() > threads)
        usleep(WAIT_US);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    test_compare_chunks(instance);
    CHECK_LE(test_resident_bytes(&own), test_stats(instance).footprint_bytes);
    CHECK_EQ(advised_mappings(), 0);
    emma_destroy(instance);
}

int main(void)
{
    test_need_own_maps();
    fault.replace = answer;
    kill_in(allocate_many, MADV_HUGEPAGE, true);
    kill_in(allocate_many, MADV_HUGEPAGE, false);
    kill_in(allocate_many, MADV_NOHUGEPAGE, true);
    kill_in(give_up_run, MADV_NOHUGEPAGE, true);
    return 0;
}
