/* test: whole uninstrumented */
/* The kernel refuses the n-th system call, for every n; all from the n-th on; each n-th: a checkpoint is made or
 * refused, a rollback always rolls back, every block is as it must be, and destroy returns everything. */
#include "emma_fault.h"
#include "emma_model.h"

enum { STEPS = 150, SLOTS = 60, LARGEST = 60000, ROUNDS = 5, SWEEP_MAX = 3000 };

static test_maps before, after;
static model m, saved;

static void work(test_rng *rng)
{
    for (int i = 0; i < STEPS; i++)
        model_random_step(&m, rng, test_chance(rng, 5) ? LARGEST : 1500);
}

static void back(unsigned level)
{
    CHECK_EQ(emma_rollback(m.instance, level), EMMA_OK);
    const uint64_t tag = m.next_tag;
    m = saved;
    m.next_tag = tag;
    model_verify(&m);
}

static void scenario(void)
{
    test_rng rng = { 99 };
    emma_options options = test_options();
    options.flags = EMMA_CHECKPOINTS;
    emma *instance = emma_create(&options);
    if (!instance)
        return;
    model_init(&m, instance, 0, SLOTS);
    m.faults = fault_failures;
    work(&rng);
    unsigned level, further;
    for (int round = 0; round < ROUNDS; round++) {
        const enum emma_status status = emma_checkpoint(instance, &level);
        CHECK(status == EMMA_OK || (status == EMMA_NO_MEMORY && fault.failures));
        saved = m;
        work(&rng);
        const enum emma_status pushed = emma_checkpoint(instance, &further);
        CHECK(pushed == EMMA_OK || (pushed == EMMA_NO_MEMORY && fault.failures));
        work(&rng);
        if (status == EMMA_OK) {
            back(level);
            CHECK_EQ(emma_checkpoint_drop(instance, level), EMMA_OK);
        }
        emma_trim(instance);
    }
    model_verify(&m);
    emma_destroy(instance);
}

static uint64_t run(uint64_t at, uint64_t from, uint64_t every)
{
    memset(&fault, 0, sizeof fault);
    fault.at = at;
    fault.from = from;
    fault.every = every;
    scenario();
    fault_none();
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
    return fault.calls;
}

int main(void)
{
    test_need_own_maps();
    const uint64_t descriptors = test_descriptors();
    test_maps_read(&before);
    const uint64_t calls = run(0, 0, 0);
    CHECK_LT(calls, SWEEP_MAX);
    const uint64_t step = TEST_SLOW_BUILD ? 17 : 1;
    for (uint64_t n = 1; n <= calls; n += step) {
        run(n, 0, 0);
        run(0, n, 0);
    }
    for (uint64_t every = 2; every < 12; every++)
        run(0, 0, every);
    CHECK_EQ(test_descriptors(), descriptors);
    return 0;
}
