/* The figures agree with the model, with each other and with the walk after every kind of step. */
#include "emma_model.h"

enum { STEPS = 6000, SLOTS = 300 };

static model m;

static void run(unsigned flags, size_t limit, uint64_t seed)
{
    test_rng rng = test_rng_from(seed);
    emma *instance = test_create(limit, flags);
    model_init(&m, instance, flags, SLOTS);
    m.may_refuse = limit != EMMA_UNLIMITED;
    const size_t steps = test_steps(STEPS);
    uint64_t moved = 0, returned = 0;
    for (size_t i = 0; i < steps; i++) {
        const emma_stats before = test_stats(instance);
        const uint64_t refused = m.refused;
        model_random_step(&m, &rng, 200000);
        if (test_below(&rng, 100) == 0)
            emma_trim(instance);
        const emma_stats after = test_stats(instance);
        CHECK_GE(after.refused_count, before.refused_count + (m.refused - refused));
        CHECK_GE(after.moved_bytes, moved);
        CHECK_GE(after.returned_bytes, returned);
        CHECK_EQ(after.reentered_count, 0);
        CHECK_LE(after.large_bytes, after.live_bytes);
        CHECK_LE(after.large_blocks, after.live_blocks);
        moved = after.moved_bytes;
        returned = after.returned_bytes;
        model_compare_stats(&m);
        if (i % 50 == 0)
            model_compare_walk(&m);
    }
    model_free_all(&m);
    CHECK_EQ(test_stats(instance).live_bytes, 0);
    CHECK_EQ(test_stats(instance).large_bytes, 0);
    emma_destroy(instance);
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 4000);
    run(0, EMMA_UNLIMITED, seed);
    run(EMMA_ALIGN8, EMMA_UNLIMITED, seed + 1);
    run(EMMA_ALIGN8, 300 * TEST_KIB, seed + 2);
    return 0;
}
