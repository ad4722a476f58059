/* An instance holds at most six mappings, whatever large blocks come, grow and go in it; and it
 * knows how many. */
#include "emma_model.h"

enum { MAPPINGS_MAX = 6, STEPS = 30000, SLOTS = 150 };

static test_maps own;
static model m;

static size_t size_for(test_rng *rng)
{
    const size_t top = (size_t)33 << (10 + test_below(rng, 9)); /* 33 KiB to 8 MiB */
    return 33 * TEST_KIB + test_below(rng, top);
}

static void run(size_t limit, uint64_t seed)
{
    test_rng rng = test_rng_from(seed);
    emma_options options = test_options();
    options.limit_bytes = limit;
    model_init(&m, test_create_mapped(&options, &own), 0, SLOTS);
    m.may_refuse = true;
    const size_t steps = test_steps(STEPS) / 10 + 1;
    for (size_t i = 0; i < steps; i++) {
        const enum model_op op = (enum model_op)test_below(&rng, MODEL_OPS);
        model_step(&m, test_below(&rng, SLOTS), op, size_for(&rng), (unsigned)test_below(&rng, 18));
        if (i % 500 == 499)
            emma_trim(m.instance);
        if (i % 20 == 0) {
            const size_t count = test_maps_count_within(&own);
            CHECK_LE(count, MAPPINGS_MAX);
            CHECK_EQ(test_stats(m.instance).mapping_count, count);
        }
    }
    model_verify(&m);
    emma_destroy(m.instance);
}

int main(int argc, char **argv)
{
    test_need_own_maps();
    const uint64_t seed = test_choose_seed(argc, argv, 10000);
    run(EMMA_UNLIMITED, seed);
    run(100 * TEST_MIB, seed + 1);
    return 0;
}
