/* emma_reset: all blocks are gone, the limit and the name stay, the instance works as a new one
 * does, and a hundred rounds of it need no more memory than one. */
#include "emma_model.h"

enum { ROUNDS = 100, STEPS = 3000, FIRST_CHUNK_BYTES = 64 << 10 };

static model m;
static test_maps own;

static size_t round_of_work(emma *instance, uint64_t seed, unsigned flags)
{
    test_rng rng = { seed | 1 };
    model_init(&m, instance, flags, 500);
    m.may_refuse = true;
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps; i++)
        model_random_step(&m, &rng, 300000);
    model_verify(&m);
    return test_stats(instance).peak_footprint_bytes;
}

static void run(size_t limit, unsigned flags)
{
    emma_options options = test_options();
    options.limit_bytes = limit;
    options.flags = flags;
    emma *instance = test_create_mapped(&options, &own);
    const size_t first = round_of_work(instance, 77, flags);
    for (size_t round = 0; round < ROUNDS; round++) {
        CHECK_EQ(emma_reset(instance), EMMA_OK);
        const emma_stats stats = test_stats(instance);
        CHECK_EQ(stats.live_blocks, 0);
        CHECK_EQ(stats.live_bytes, 0);
        CHECK_EQ(stats.large_blocks, 0);
        CHECK_EQ(stats.limit_bytes, limit);
        CHECK_EQ(stats.peak_footprint_bytes, stats.footprint_bytes);
        CHECK_LE(test_resident_bytes(&own), stats.footprint_bytes);
        CHECK_EQ(emma_check(instance), EMMA_OK);
        model_init(&m, instance, flags, 1);
        model_compare_walk(&m);
        CHECK_LE(round_of_work(instance, 77, flags), first + first / 8 + 64 * TEST_KIB);
    }
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    emma_trim(instance);
    const emma_stats stats = test_stats(instance);
    CHECK_LE(stats.footprint_bytes, stats.metadata_bytes + FIRST_CHUNK_BYTES);
    CHECK_LE(test_resident_bytes(&own), stats.footprint_bytes);
    emma_destroy(instance);
}

int main(void)
{
    test_need_own_maps();
    run(EMMA_UNLIMITED, 0);
    run(EMMA_UNLIMITED, EMMA_ALIGN8);
    run(4 * TEST_MIB, EMMA_ALIGN8);
    run(EMMA_LIMIT_MIN_BYTES, 0);
    return 0;
}
