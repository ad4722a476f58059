/* test: plain checks */
/* Growing a large block by a few bytes takes as long for a long one as for a short one. Audits walk
 * over the whole region: there it does not. */
#include "emma_test.h"

enum { TRIES = 20, STEPS = 100, STEP_BYTES = 16, FACTOR = 20 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The least time of several tries: a step now and then takes a page, or a call of the kernel. */
static uint64_t least_growth_ns(size_t bytes)
{
    uint64_t least = UINT64_MAX;
    emma *instance = test_create(EMMA_UNLIMITED, 0);
    void *block = emma_malloc(instance, bytes);
    CHECK(block != NULL);
    for (unsigned i = 0; i < TRIES; i++) {
        const uint64_t start = now_ns();
        for (unsigned n = 0; n < STEPS; n++)
            CHECK((block = emma_realloc(instance, block, bytes += STEP_BYTES)) != NULL);
        const uint64_t ns = now_ns() - start;
        least = ns < least ? ns : least;
    }
    emma_destroy(instance);
    return least;
}

int main(void)
{
    if (TEST_SLOW_BUILD)
        test_skip("audits take time in proportion to the heap");
    const uint64_t of_short = least_growth_ns(TEST_MIB);
    const uint64_t of_long = least_growth_ns(TEST_GIB);
    printf("%u steps: %llu ns at 1 MiB, %llu ns at 1 GiB\n", (unsigned)STEPS,
           (unsigned long long)of_short, (unsigned long long)of_long);
    CHECK_LE(of_long, FACTOR * of_short);
    return 0;
}
