/* test: whole uninstrumented */
/* A fork while a thread of a shared instance lowers the limit, below what is in use: in the child, where nobody takes
 * that back, the instance is sound, its blocks are whole, and it serves again when the limit is lifted. */
#include "emma_fault.h"

enum { LIVE_BYTES = 1 << 20, CHILD_SECONDS = 60 };
#define LIMIT_BYTES (TEST_MIB / 2)

static emma *instance;
static unsigned char *live;
static size_t children;

static void use_in_child(void)
{
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).limit_bytes, LIMIT_BYTES);
    CHECK_GT(test_stats(instance).footprint_bytes, LIMIT_BYTES);
    CHECK_EQ(emma_malloc(instance, 100000), NULL);
    CHECK(test_filled(live, LIVE_BYTES, 1));
    CHECK_EQ(emma_set_limit(instance, EMMA_UNLIMITED), EMMA_OK);
    void *block = emma_malloc(instance, 100000);
    CHECK(block != NULL);
    emma_free(instance, block);
    emma_free(instance, live);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

/* Where the first idle memory goes back, the limit is the new one. */
static void fork_before(long number)
{
    if (number != SYS_madvise)
        return;
    fault.before = NULL;
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        use_in_child();
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    children++;
}

int main(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    live = emma_malloc(instance, LIVE_BYTES);
    CHECK(live != NULL);
    test_fill(live, LIVE_BYTES, 1);
    emma_free(instance, emma_malloc(instance, LIVE_BYTES));
    fault.before = fork_before;
    CHECK_EQ(emma_set_limit(instance, LIMIT_BYTES), EMMA_NO_MEMORY);
    CHECK_EQ(children, 1);
    CHECK_EQ(test_stats(instance).limit_bytes, EMMA_UNLIMITED);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
