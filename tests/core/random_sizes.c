/* test: +hardened */
/* Random operations with a lean: only one size, sizes around one edge, growing and shrinking waves.
 * Shapes that a uniform mix hardly ever takes, as slabs that fill and empty together. */
#include "emma_model.h"

enum { STEPS = 60000, WAVE = 3000 };

static model m;

static size_t size_for(unsigned shape, size_t step, test_rng *rng)
{
    switch (shape) {
    case 0:
        return 56;
    case 1:
        return test_below(rng, 17);
    case 2:
        return 1024 - 2 + test_below(rng, 5);
    case 3:
        return 32768 - 8 + test_below(rng, 17);
    case 4:
        return 65536 - 8 + test_below(rng, 17);
    case 5:
        return step % WAVE;
    case 6:
        return (size_t)8 << test_below(rng, 12);
    default:
        return 4096 + test_below(rng, 20000);
    }
}

/* Up: mostly allocations; down: mostly frees; each for a wave. */
static enum model_op op_for(size_t step, test_rng *rng)
{
    const bool up = step / WAVE % 2 == 0;
    if (test_chance(rng, 10))
        return MODEL_REALLOC;
    if (test_chance(rng, up ? 80 : 10))
        return MODEL_VERIFY; /* an empty slot gets a block, a full one keeps it */
    return MODEL_FREE;
}

static void run(uint64_t seed, unsigned shape, unsigned flags)
{
    test_rng rng = test_rng_from(seed);
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    model_init(&m, instance, flags, 1500);
    const size_t steps = test_steps(STEPS);
    for (size_t step = 1; step <= steps; step++) {
        const size_t slot = test_below(&rng, m.slots);
        const enum model_op op = op_for(step, &rng);
        if (m.blocks[slot].at || op != MODEL_FREE)
            model_step(&m, slot, op, size_for(shape, step, &rng), 0);
        if (step % (WAVE * 2) == 0)
            model_verify(&m);
    }
    model_free_all(&m);
    model_verify(&m);
    emma_destroy(instance);
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 2000);
    for (unsigned shape = 0; shape < 8; shape++) {
        run(seed + 2 * shape, shape, 0);
        run(seed + 2 * shape + 1, shape, EMMA_ALIGN8);
    }
    return 0;
}
