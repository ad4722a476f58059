/* test: +hardened */
/* After a fork parent and child have an instance each, alike at first, and go on with it in their
 * own ways. */
#include "emma_model.h"

enum { STEPS = 50000, CHILDREN = 4 };

static model m;

static void work(uint64_t seed)
{
    test_rng rng = { seed };
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps; i++)
        model_random_step(&m, &rng, TEST_MIB);
    model_verify(&m);
}

static void act(void *arg)
{
    model_verify(&m);
    work(*(uint64_t *)arg);
    model_free_all(&m);
    model_verify(&m);
    emma_destroy(m.instance);
}

int main(void)
{
    for (unsigned flags = 0; flags <= EMMA_ALIGN8; flags += EMMA_ALIGN8) {
        model_init(&m, test_create(EMMA_UNLIMITED, flags), flags, 500);
        work(1);
        for (uint64_t child = 2; child < 2 + CHILDREN; child++) {
            test_in_child(act, &child);
            work(child * 100);
        }
        emma_destroy(m.instance);
    }
    return 0;
}
