/* The process has all the mappings that the kernel allows it: the kernel refuses every call that
 * would make one more. Allocations are served from what there is or return NULL; nothing else
 * fails. */
#include "emma_mappings.h"
#include "emma_model.h"

enum { STEPS = 40000 };

static test_maps before, after;
static model m;

static void act(void *arg)
{
    (void)arg;
    test_rng rng = { 8 };
    test_maps_read(&before);
    emma *instance = emma_create(NULL);
    CHECK(instance != NULL);
    model_init(&m, instance, 0, 300);
    void *pages = mappings_exhaust();
    m.may_refuse = true;
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps; i++) {
        model_random_step(&m, &rng, 2 * TEST_MIB);
        if (i % 1000 == 0)
            emma_trim(instance);
    }
    model_verify(&m);
    emma_destroy(emma_create(NULL));
    model_free_all(&m);
    CHECK_EQ(munmap(pages, MAPPINGS_BYTES), 0);
    m.may_refuse = false;
    for (size_t i = 0; i < steps; i++)
        model_random_step(&m, &rng, 2 * TEST_MIB);
    model_verify(&m);
    emma_destroy(instance);
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
}

int main(void)
{
    mappings_in_child(act);
    return 0;
}
