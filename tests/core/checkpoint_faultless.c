/* test: uninstrumented */
/* A request like the one before finds all its pages where they were: rollbacks in a row cost no page faults, the
 * allocator's own pages included, where the kernel tells what was written (Linux 6.7). A trim gives them back. */
#include "emma_test.h"

#include <sys/resource.h>
#include <sys/utsname.h>

enum { SMALL = 30, SMALL_BYTES = 300, LARGE_BYTES = 20000, WARM_ROUNDS = 5, ROUNDS = 200 };

static void need_scan(void)
{
    struct utsname name;
    int major = 0, minor = 0;
    CHECK_EQ(uname(&name), 0);
    CHECK_EQ(sscanf(name.release, "%d.%d", &major, &minor), 2);
    if (major < 6 || (major == 6 && minor < 7)) {
        printf("skipped: Linux %s does not tell which pages were written\n", name.release);
        exit(77);
    }
}

static void use(emma *instance, size_t bytes)
{
    void *block = emma_malloc(instance, bytes);
    CHECK(block != NULL);
    memset(block, 0x5a, bytes);
}

static void request(emma *instance, unsigned level)
{
    for (int i = 0; i < SMALL; i++)
        use(instance, SMALL_BYTES);
    use(instance, LARGE_BYTES);
    CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
}

static long faults(void)
{
    struct rusage usage;
    CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

static size_t footprint(const emma *instance)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    return stats.footprint_bytes;
}

int main(void)
{
    need_scan();
    unsigned level;
    emma *instance = test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS);
    CHECK(emma_malloc(instance, SMALL_BYTES) != NULL);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    const size_t fresh = footprint(instance);
    for (int i = 0; i < WARM_ROUNDS; i++)
        request(instance, level);
    const long before = faults();
    for (int i = 0; i < ROUNDS; i++)
        request(instance, level);
    CHECK_LT(faults() - before, ROUNDS / 2);
    emma_trim(instance);
    CHECK_EQ(footprint(instance), fresh);
    emma_destroy(instance);
    return 0;
}
