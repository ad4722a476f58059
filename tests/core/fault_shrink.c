/* test: whole */
/* With the kernel refusing everything, at the full limit or not, every shrink succeeds, every free
 * works, and what was freed can be had again. */
#include "emma_fault.h"
#include "emma_model.h"

enum { SHRINKS = 20000, SLOTS = 600 };

static model m;

static void fill(test_rng *rng)
{
    for (size_t slot = 0; slot < SLOTS; slot++)
        model_step(&m, slot, MODEL_MALLOC, test_random_size(rng, 2 * TEST_MIB), 0);
}

static void run(size_t limit, unsigned flags, uint64_t seed)
{
    test_rng rng = test_rng_from(seed);
    memset(&fault, 0, sizeof fault);
    model_init(&m, test_create(limit, flags), flags, SLOTS);
    m.may_refuse = limit != EMMA_UNLIMITED;
    fill(&rng);
    const size_t filled = m.live_blocks;
    fault.every = 1;
    m.faults = NULL;
    const size_t shrinks = test_steps(SHRINKS);
    for (size_t i = 0; i < shrinks; i++) {
        model_block *block = &m.blocks[test_below(&rng, SLOTS)];
        const uint64_t refused = m.refused;
        if (block->at)
            model_resize(&m, block, MODEL_REALLOC,
                         block->bytes - test_below(&rng, block->bytes / 3 + 1));
        CHECK_EQ(m.refused, refused);
        fault.clock_ms += 10;
    }
    model_verify(&m);
    model_free_all(&m);
    m.may_refuse = true;
    emma_trim(m.instance);
    model_verify(&m);
    fill(&rng); /* memory that the kernel gave once is still there */
    CHECK_GT(m.live_blocks, filled / 2);
    model_verify(&m);
    fault_none();
    emma_destroy(m.instance);
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 8000);
    const size_t limits[] = { EMMA_LIMIT_MIN_BYTES, TEST_MIB, 16 * TEST_MIB, EMMA_UNLIMITED };
    for (size_t i = 0; i < TEST_COUNT(limits); i++) {
        run(limits[i], 0, seed + 2 * i);
        run(limits[i], EMMA_ALIGN8, seed + 2 * i + 1);
    }
    return 0;
}
