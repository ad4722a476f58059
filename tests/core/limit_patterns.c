/* test: +hardened */
/* The limit is a hard cap: under patterns made to fragment, the memory of the instance that is
 * resident never exceeds the footprint, nor the footprint the limit, at any sample; and what was
 * refused leaves the rest intact. */
#include "emma_model.h"

enum { SLOTS = 4096, ROUNDS = 6 };

static test_maps own;
static model m;
static size_t samples, countdown;

static void sample(void)
{
    const emma_stats stats = test_stats(m.instance);
    const size_t resident = test_resident_bytes(&own);
    CHECK_LE(stats.footprint_bytes, stats.limit_bytes);
    CHECK_LE(stats.peak_footprint_bytes, stats.limit_bytes);
    CHECK_LE(resident, stats.footprint_bytes);
    samples++;
}

static void step(size_t slot, enum model_op op, size_t bytes)
{
    enum { SAMPLE_EVERY = 97 };
    model_step(&m, slot, op, bytes, 0);
    if (countdown-- == 0) {
        countdown = SAMPLE_EVERY;
        sample();
    }
}

static void free_every(size_t stride)
{
    for (size_t slot = 0; slot < m.slots; slot += stride) {
        if (m.blocks[slot].at)
            step(slot, MODEL_FREE, 0);
    }
    sample();
}

/* Fill with one size, free all, fill with the next. */
static void sawtooth(test_rng *rng, size_t limit)
{
    for (size_t bytes = 8; bytes < limit; bytes = bytes * 5 / 2 + test_below(rng, 16)) {
        for (size_t slot = 0; slot < m.slots; slot++)
            step(slot, MODEL_MALLOC, bytes);
        free_every(1);
    }
}

/* One block of every class, so that each has a slab of its own, then the rest large. */
static void one_of_each_class(test_rng *rng, size_t limit)
{
    emma_class_stats kind = { .struct_bytes = sizeof kind };
    size_t slot = 0;
    for (unsigned i = 0; emma_get_class_stats(m.instance, i, &kind); i++)
        step(slot++, MODEL_MALLOC, kind.block_bytes);
    while (slot < m.slots)
        step(slot++, MODEL_MALLOC, test_below(rng, limit));
    free_every(1);
}

static void alternate(test_rng *rng, size_t limit)
{
    for (size_t slot = 0; slot < m.slots; slot++)
        step(slot, MODEL_CALLOC,
             slot % 2 ? limit / 50 + test_below(rng, 1000) : test_below(rng, 100));
    free_every(2);
    for (size_t slot = 0; slot < m.slots; slot++)
        step(slot, MODEL_VERIFY, limit / 20);
    free_every(1);
}

/* Pins one block in each slab, then asks for large ones. */
static void fragment(test_rng *rng, size_t limit)
{
    const size_t bytes = 16 + test_below(rng, 500);
    for (size_t slot = 0; slot < m.slots; slot++)
        step(slot, MODEL_MALLOC, bytes);
    for (size_t slot = 0; slot < m.slots; slot++) {
        if (slot % 37 != 0 && m.blocks[slot].at)
            step(slot, MODEL_FREE, 0);
    }
    for (size_t slot = 0; slot < m.slots; slot += 11)
        step(slot, MODEL_VERIFY, limit / 8);
    free_every(1);
}

static void ladders(test_rng *rng, size_t limit)
{
    for (size_t slot = 0; slot < 40; slot++) {
        for (size_t bytes = 10; bytes < limit * 2; bytes = bytes * 4 / 3 + test_below(rng, 50))
            step(slot, m.blocks[slot].at ? MODEL_REALLOC : MODEL_MALLOC, bytes);
        if (slot % 3 == 0 && m.blocks[slot].at)
            step(slot, MODEL_REALLOC, 10);
    }
    free_every(1);
}

static void mix(test_rng *rng, size_t limit)
{
    const size_t steps = test_steps(10000);
    for (size_t i = 0; i < steps; i++) {
        model_random_step(&m, rng, limit);
        if (i % 101 == 0)
            sample();
        if (i % 1009 == 0)
            emma_trim(m.instance);
    }
    free_every(1);
}

static void run(size_t limit, unsigned flags, uint64_t seed)
{
    static void (*const patterns[])(test_rng *, size_t) = { sawtooth, one_of_each_class, alternate,
                                                            fragment, ladders,           mix };
    test_rng rng = test_rng_from(seed);
    emma_options options = test_options();
    options.limit_bytes = limit;
    options.flags = flags;
    model_init(&m, test_create_mapped(&options, &own), flags, SLOTS);
    m.may_refuse = true;
    for (size_t round = 0; round < ROUNDS; round++) {
        patterns[test_below(&rng, TEST_COUNT(patterns))](&rng, limit);
        if (test_chance(&rng, 30))
            emma_trim(m.instance);
        if (test_chance(&rng, 20))
            CHECK_EQ(emma_reset(m.instance), EMMA_OK);
        sample();
        patterns[round % TEST_COUNT(patterns)](&rng, limit);
        model_verify(&m);
    }
    emma_destroy(m.instance);
}

int main(int argc, char **argv)
{
    test_need_own_maps();
    const uint64_t seed = test_choose_seed(argc, argv, 3000);
    const size_t limits[] = { EMMA_LIMIT_MIN_BYTES, 50000, 200 * TEST_KIB, TEST_MIB,
                              12 * TEST_MIB };
    for (size_t i = 0; i < TEST_COUNT(limits); i++) {
        run(limits[i], 0, seed + 2 * i);
        run(limits[i], EMMA_ALIGN8, seed + 2 * i + 1);
    }
    CHECK_GT(m.refused, 0);
    CHECK_GT(samples, 1000);
    return 0;
}
