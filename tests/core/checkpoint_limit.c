/* A checkpoint is charged in full: it is refused where the limit does not allow a copy of what is in use, and
 * after it no limit is accepted under which a rollback could not be. Resident memory, the image included, is
 * never above the footprint, nor the footprint above the limit. */
#include "emma_model.h"

enum { SLOTS = 400, ROUNDS = 60, STEPS = 800 };
#define LIMIT_BYTES (6 * TEST_MIB)

static model m, saved;
static test_maps before, after, own;

/* The instance's mappings, those of checkpoints among them. */
static size_t resident(void)
{
    test_maps_read(&after);
    test_maps_added(&before, &after, &own);
    return test_resident_bytes(&own);
}

static void refused_in_full(emma *instance)
{
    unsigned level;
    size_t used = 0;
    void *block = NULL;
    while (emma_checkpoint(instance, &level) == EMMA_OK) {
        CHECK_EQ(emma_checkpoint_drop(instance, level), EMMA_OK);
        used += 300000;
        void *larger = emma_realloc(instance, block, used);
        CHECK(larger != NULL);
        block = larger;
        test_fill(block, used, 1);
    }
    CHECK_GT(2 * test_stats(instance).footprint_bytes, LIMIT_BYTES - 200 * TEST_KIB);
    CHECK_LT(2 * test_stats(instance).footprint_bytes, LIMIT_BYTES + 2 * TEST_MIB);
    CHECK(test_filled(block, used, 1));
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_free(instance, block);
}

static void stays_below(emma *instance, test_rng *rng)
{
    unsigned level;
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    saved = m;
    const emma_stats stats = test_stats(instance);
    CHECK_EQ(emma_set_limit(instance, stats.footprint_bytes - TEST_PAGE_BYTES), EMMA_NO_MEMORY);
    const size_t rounds = test_steps(ROUNDS);
    for (size_t i = 0; i < rounds; i++) {
        for (size_t k = 0; k < STEPS; k++)
            model_random_step(&m, rng, test_chance(rng, 2) ? TEST_MIB : 3000);
        const size_t footprint = test_stats(instance).footprint_bytes;
        CHECK_LE(footprint, LIMIT_BYTES);
        if (!TEST_SHADOW_MEMORY)
            CHECK_LE(resident(), footprint);
        if (test_chance(rng, 20))
            emma_trim(instance);
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
        const uint64_t tag = m.next_tag;
        m = saved;
        m.next_tag = tag;
        if (!TEST_SHADOW_MEMORY)
            CHECK_LE(resident(), test_stats(instance).footprint_bytes);
        CHECK_EQ(emma_check(instance), EMMA_OK);
    }
    model_verify(&m);
}

int main(int argc, char **argv)
{
    test_need_own_maps();
    test_rng rng = test_rng_from(test_choose_seed(argc, argv, 3));
    test_maps_read(&before);
    emma_options options = test_options();
    options.flags = EMMA_CHECKPOINTS;
    options.limit_bytes = LIMIT_BYTES;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    refused_in_full(instance);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    model_init(&m, instance, 0, SLOTS);
    m.may_refuse = true;
    for (size_t i = 0; i < STEPS; i++)
        model_random_step(&m, &rng, 3000);
    stays_below(instance, &rng);
    emma_destroy(instance);
    return 0;
}
