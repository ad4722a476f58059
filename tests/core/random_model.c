/* test: +canaries +links +zeros +order +delay +guards +hardened +valgrind +asan */
/* Millions of random operations against a model, over several seeds, both alignments, with and
 * without a limit: every block keeps its contents, every figure and the walk agree with the model,
 * emma_check finds nothing. */
#include "emma_model.h"

enum { STEPS = 300000, VERIFY_EVERY = 20000 };

static model m;

static void run(uint64_t seed, unsigned flags, size_t limit_bytes, size_t slots, size_t largest)
{
    test_rng rng = test_rng_from(seed);
    emma *instance = test_create(limit_bytes, flags);
    const size_t steps = test_steps(STEPS);
    model_init(&m, instance, flags, slots);
    m.may_refuse = limit_bytes != EMMA_UNLIMITED;
    for (size_t step = 1; step <= steps; step++) {
        model_random_step(&m, &rng, largest);
        if (step % VERIFY_EVERY == 0)
            model_verify(&m);
        if (test_below(&rng, 5000) == 0)
            emma_trim(instance);
        if (test_below(&rng, 50000) == 0)
            model_free_all(&m);
    }
    model_verify(&m);
    model_free_all(&m);
    model_verify(&m);
    emma_destroy(instance);
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 1000);
    run(seed, 0, EMMA_UNLIMITED, 2000, 2 * TEST_MIB);
    run(seed + 1, EMMA_ALIGN8, EMMA_UNLIMITED, 2000, 2 * TEST_MIB);
    run(seed + 2, 0, EMMA_UNLIMITED, 4000, 1000);
    run(seed + 3, EMMA_ALIGN8, EMMA_UNLIMITED, 4000, 1000);
    run(seed + 4, 0, 8 * TEST_MIB, 3000, 2 * TEST_MIB);
    run(seed + 5, EMMA_ALIGN8, TEST_MIB, 3000, 100000);
    run(seed + 6, EMMA_ALIGN8, EMMA_LIMIT_MIN_BYTES, 300, 5000);
    run(seed + 7, EMMA_ALIGN8, EMMA_UNLIMITED, 60, 2 * TEST_MIB);
    run(seed + 8, 0, 400 * TEST_KIB, 10, 300000);
    return 0;
}
