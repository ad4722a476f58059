/* test: whole */
/* Counters are told inside a call, too, where a look at the blocks is refused and counted as a call that came
 * again: nothing is entered for them. */
#include "emma_fault.h"

enum { RUN_BYTES = 64 << 20 };

static emma *instance;
static bool all; /* ask for blocks, too */
static size_t looks, footprint, entered;

static void look(long number)
{
    emma_stats stats = { .struct_bytes = all ? sizeof stats : EMMA_STATS_COUNTERS_BYTES };
    if (!instance || !emma_is_busy(instance) || looks)
        return;
    (void)number;
    looks++;
    emma_get_stats(instance, &stats);
    CHECK_EQ(stats.live_blocks, 0);
    footprint = stats.footprint_bytes;
    stats.struct_bytes = EMMA_STATS_COUNTERS_BYTES;
    emma_get_stats(instance, &stats);
    entered = stats.reentered_count;
}

/* A block that is larger than what is accessible needs a system call or more. */
static void allocate(bool asks_all)
{
    const emma_stats before = test_stats(instance);
    all = asks_all;
    looks = 0;
    void *block = emma_malloc(instance, RUN_BYTES);
    CHECK(block != NULL);
    CHECK_EQ(looks, 1);
    CHECK_GE(footprint, before.footprint_bytes);
    CHECK_EQ(entered - before.reentered_count, asks_all);
    CHECK_EQ(test_stats(instance).live_blocks, before.live_blocks + 1);
}

int main(void)
{
    fault.before = look;
    instance = test_create(EMMA_UNLIMITED, 0);
    allocate(false);
    allocate(true);
    emma_destroy(instance);
    return 0;
}
