/* At the full limit every shrink succeeds, in every step, whatever size class or run the block
 * comes from; the contents are kept and no other block is touched. */
#include "emma_model.h"

enum { SHRINKS_PER_BLOCK = 6 };

static model m;

/* Fills the instance until not even the smallest block is left. */
static void fill_to_the_limit(test_rng *rng)
{
    static const size_t sizes[] = { 600000, 40000, 20000, 5000, 1000, 300, 100, 40, 8, 1 };
    size_t slot = 0;
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        for (uint64_t refused = m.refused; refused == m.refused && slot < m.slots; slot++) {
            const size_t bytes = sizes[i] - test_below(rng, sizes[i] / 2 + 1);
            model_step(&m, slot, MODEL_MALLOC, bytes, 0);
        }
    }
    for (; slot < m.slots; slot++)
        model_step(&m, slot, MODEL_MALLOC, test_below(rng, 200), 0);
}

static void shrink_all(test_rng *rng)
{
    for (size_t i = 0; i < m.slots * SHRINKS_PER_BLOCK; i++) {
        model_block *block = &m.blocks[test_below(rng, m.slots)];
        if (!block->at)
            continue;
        const uint64_t refused = m.refused;
        const size_t bytes =
            test_chance(rng, 20) ? block->bytes : test_below(rng, block->bytes + 1);
        model_resize(&m, block, test_chance(rng, 50) ? MODEL_REALLOC : MODEL_REALLOC_SIZED, bytes);
        CHECK_EQ(m.refused, refused);
    }
}

static void run(size_t limit_bytes, unsigned flags, uint64_t seed)
{
    test_rng rng = test_rng_from(seed);
    emma *instance = test_create(limit_bytes, flags);
    model_init(&m, instance, flags, MODEL_SLOTS_MAX);
    m.may_refuse = true;
    fill_to_the_limit(&rng);
    CHECK_GT(m.refused, 0);
    shrink_all(&rng);
    model_verify(&m);
    model_free_all(&m);
    model_verify(&m);
    emma_destroy(instance);
}

int main(int argc, char **argv)
{
    const size_t limits[] = { 16 * TEST_KIB, 64 * TEST_KIB, 200 * TEST_KIB, TEST_MIB,
                              8 * TEST_MIB };
    const uint64_t seed = test_choose_seed(argc, argv, 100);
    for (size_t i = 0; i < TEST_COUNT(limits); i++) {
        run(limits[i], 0, seed + 2 * i);
        run(limits[i], EMMA_ALIGN8, seed + 2 * i + 1);
    }
    return 0;
}
