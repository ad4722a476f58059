/* test: uninstrumented */
/* Requests that need the same pages each time find them after a rollback without page faults, also where one before
 * them needed a few more. */
#define _GNU_SOURCE
#include "emma_test.h"

#include <sys/resource.h>

enum { BLOCKS = 60, BLOCK_BYTES = 16 * 1024, ROUNDS = 50 };

static long faults_so_far(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* Writes to all blocks but the first `left_out`. */
static void request(emma *instance, int left_out)
{
    for (int i = 0; i < BLOCKS; i++) {
        char *block = emma_malloc(instance, BLOCK_BYTES);
        CHECK(block != NULL);
        if (i >= left_out)
            memset(block, i + 1, BLOCK_BYTES);
    }
}

/* Page faults of so many requests and their rollbacks. */
static long faults_of(emma *instance, unsigned level, int requests, int left_out)
{
    const long before = faults_so_far();
    for (int i = 0; i < requests; i++) {
        request(instance, left_out);
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    }
    return faults_so_far() - before;
}

int main(void)
{
    emma_options options = test_options();
    options.flags = EMMA_CHECKPOINTS;
    emma *instance = emma_create(&options);
    unsigned level;
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    faults_of(instance, level, 3, 0);
    const long most = faults_of(instance, level, 1, 0); /* of metadata, which is given back */
    if (most >= BLOCKS)
        test_skip("this kernel does not tell which pages were written to");
    faults_of(instance, level, 3, 1);
    CHECK_LE(faults_of(instance, level, ROUNDS, 1), ROUNDS * most);
    emma_destroy(instance);
    return 0;
}
