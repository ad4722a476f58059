/* After a fork parent and child have the checkpoints both, and each rolls back its own, whatever the other does,
 * again and again, and pushes and drops. */
#include "emma_model.h"

enum { SLOTS = 500, STEPS = 3000, ROUNDS = 6, CHILDREN = 3 };

static model m, saved;
static unsigned level;

static void work(test_rng *rng)
{
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps; i++)
        model_random_step(&m, rng, 100000);
}

static void back(void)
{
    CHECK_EQ(emma_rollback(m.instance, level), EMMA_OK);
    const uint64_t tag = m.next_tag;
    m = saved;
    m.next_tag = tag;
    model_verify(&m);
}

static void act(void *arg)
{
    test_rng rng = { *(uint64_t *)arg };
    back();
    for (int i = 0; i < ROUNDS; i++) {
        work(&rng);
        unsigned further;
        CHECK_EQ(emma_checkpoint(m.instance, &further), EMMA_OK);
        work(&rng);
        back();
        CHECK_EQ(emma_rollback(m.instance, further), EMMA_INVALID);
    }
    CHECK_EQ(emma_checkpoint_drop(m.instance, level), EMMA_OK);
    work(&rng);
    model_verify(&m);
    emma_destroy(m.instance);
}

int main(void)
{
    test_rng rng = { 1 };
    model_init(&m, test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS), 0, SLOTS);
    work(&rng);
    CHECK_EQ(emma_checkpoint(m.instance, &level), EMMA_OK);
    saved = m;
    for (uint64_t child = 2; child < 2 + CHILDREN; child++) {
        work(&rng);
        test_in_child(act, &child);
        model_verify(&m);
        back();
    }
    emma_destroy(m.instance);
    return 0;
}
