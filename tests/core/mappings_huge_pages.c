/* A large block that huge pages were asked for is freed when the process has all the mappings that
 * the kernel allows it: its part of the mapping cannot be split off to withdraw that. Later blocks
 * there still get the pages that are counted for them, and no huge ones. */
#include "emma_mappings.h"

enum { RUNS = 3, LATER = 12, LATER_BYTES = 9000 };
#define HUGE_BYTES (2 * TEST_MIB)
#define RUN_BYTES  (32 * TEST_MIB - (TEST_CHECKED_BUILD ? 16 : 0)) /* no gap behind it */

static test_maps own;

static bool machine_has_huge_pages(void)
{
    unsigned char *pages =
        mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    const uintptr_t start = ((uintptr_t)pages + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    madvise((void *)start, HUGE_BYTES, MADV_HUGEPAGE);
    *(volatile char *)start = 1;
    const size_t touched = test_touched_bytes(start, start + HUGE_BYTES);
    munmap(pages, 2 * HUGE_BYTES);
    return touched == HUGE_BYTES;
}

static void act(void *arg)
{
    unsigned char *runs[RUNS];
    (void)arg;
    emma_options options = test_options();
    options.reserve_bytes = TEST_GIB;
    emma *instance = test_create_mapped(&options, &own);
    for (size_t i = 0; i < RUNS; i++) {
        CHECK((runs[i] = emma_aligned_alloc(instance, HUGE_BYTES, RUN_BYTES)) != NULL);
        memset(runs[i], 1, RUN_BYTES);
    }
    CHECK_EQ(runs[2] - runs[1], runs[1] - runs[0]);
    mappings_exhaust();
    emma_free(instance, runs[1]);
    CHECK_GE(emma_trim(instance), RUN_BYTES);
    CHECK_LE(test_resident_bytes(&own), test_stats(instance).footprint_bytes);
    size_t in_gap = 0;
    for (size_t i = 0; i < LATER; i++) {
        unsigned char *block = emma_aligned_alloc(instance, HUGE_BYTES, LATER_BYTES);
        CHECK(block != NULL);
        memset(block, 1, LATER_BYTES);
        in_gap += block > runs[0] && block < runs[2];
    }
    CHECK_GE(in_gap, LATER / 2);
    CHECK_LE(test_resident_bytes(&own), test_stats(instance).footprint_bytes);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    test_need_own_maps();
    if (!machine_has_huge_pages())
        test_skip("this machine gives no huge pages");
    mappings_in_child(act);
    return 0;
}
