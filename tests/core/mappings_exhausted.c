/* The process has all the mappings that the kernel allows it: the kernel refuses every call that
 * would make one more. Allocations are served from what there is or return NULL, a checkpoint may
 * be refused, and nothing else fails: a rollback rolls back, a reset frees all. */
#include "emma_mappings.h"
#include "emma_model.h"

enum { STEPS = 15000 };

static test_maps before, after;
static model m, saved;
static unsigned flags;

static void work(test_rng *rng)
{
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps; i++) {
        model_random_step(&m, rng, 2 * TEST_MIB);
        if (i % 1000 == 0)
            emma_trim(m.instance);
    }
    model_verify(&m);
}

/* Two checkpoints, of which the kernel had room for the first. */
static void checkpoint_further_and_back(test_rng *rng, unsigned level)
{
    unsigned further;
    const enum emma_status status = emma_checkpoint(m.instance, &further);
    CHECK(status == EMMA_OK || status == EMMA_NO_MEMORY);
    model_verify(&m);
    work(rng);
    CHECK_EQ(emma_rollback(m.instance, level), EMMA_OK);
    model_restore(&m, &saved);
    model_verify(&m);
    work(rng);
    CHECK_EQ(emma_checkpoint_drop(m.instance, level), EMMA_OK);
    model_verify(&m);
}

static void act(void *arg)
{
    (void)arg;
    test_rng rng = { 8 };
    unsigned level;
    test_maps_read(&before);
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    model_init(&m, instance, flags, 300);
    work(&rng);
    if (flags & EMMA_CHECKPOINTS)
        CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    model_save(&m, &saved);
    void *pages = mappings_exhaust();
    m.may_refuse = true;
    work(&rng);
    if (flags & EMMA_CHECKPOINTS)
        checkpoint_further_and_back(&rng, level);
    emma_destroy(emma_create(NULL));
    model_free_all(&m);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(munmap(pages, MAPPINGS_BYTES), 0);
    m.may_refuse = false;
    work(&rng);
    emma_destroy(instance);
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
}

int main(void)
{
    static const unsigned kinds[] = { 0, EMMA_SHARED, EMMA_CHECKPOINTS };
    for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
        flags = kinds[i];
        mappings_in_child(act);
    }
    return 0;
}
