/* test: whole uninstrumented +hardened */
/* The kernel refuses the n-th system call, for every n; all from the n-th on; each n-th. Creation
 * returns NULL without a trace or an instance; an allocation that meets the refusal may return
 * NULL, and works when repeated; nothing else fails, every live block is intact, and destroy
 * returns everything. */
#include "emma_fault.h"
#include "emma_model.h"

enum { STEPS = 700, SLOTS = 60, LARGEST = 3 << 20, SWEEP_MAX = 5000 };

static test_maps before, after;
static model m;

static void one_step(test_rng *rng, size_t step)
{
    const uint64_t refused = m.refused;
    const size_t slot = test_below(rng, SLOTS);
    const enum model_op op = (enum model_op)test_below(rng, MODEL_OPS);
    const size_t bytes = test_random_size(rng, LARGEST) * (test_chance(rng, 10) ? 20 : 1);
    const unsigned shift = (unsigned)test_below(rng, 20);
    model_step(&m, slot, op, bytes, shift);
    if (m.refused != refused && fault.at) {
        model_step(&m, slot, op, bytes, shift);
        CHECK_EQ(m.refused, refused + 1);
    }
    if (step % 50 == 0)
        emma_trim(m.instance);
    if (step % 10 == 0)
        fault.clock_ms += 200;
    if (step % 120 == 0) {
        const enum emma_status status = emma_set_limit(m.instance, 64 * TEST_MIB);
        CHECK(status == EMMA_OK || status == EMMA_NO_MEMORY);
        CHECK_EQ(emma_set_limit(m.instance, EMMA_UNLIMITED), EMMA_OK);
    }
}

/* False if the creation was refused. */
static bool scenario(unsigned flags)
{
    test_rng rng = { 12345 };
    emma_options options = test_options();
    options.flags = flags;
    options.name = "sweep";
    emma *instance = emma_create(&options);
    if (!instance)
        return false;
    model_init(&m, instance, flags, SLOTS);
    m.faults = fault_failures;
    for (size_t step = 1; step <= STEPS; step++) {
        one_step(&rng, step);
        if (step == STEPS / 2) {
            model_verify(&m);
            CHECK_EQ(emma_reset(instance), EMMA_OK);
            model_init(&m, instance, flags, SLOTS);
            m.faults = fault_failures;
        }
    }
    model_verify(&m);
    model_free_all(&m);
    model_verify(&m);
    emma_destroy(instance);
    return true;
}

static void run(uint64_t at, uint64_t from, uint64_t every, unsigned flags)
{
    memset(&fault, 0, sizeof fault);
    fault.at = at;
    fault.from = from;
    fault.every = every;
    const bool created = scenario(flags);
    CHECK(created || fault.failures > 0);
    fault_none();
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
}

int main(void)
{
    test_need_own_maps();
    const size_t stride = test_steps(20) < 20 ? 17 : 1;
    test_maps_read(&before);
    for (unsigned flags = 0; flags <= EMMA_ALIGN8; flags += EMMA_ALIGN8) {
        uint64_t n = 1;
        for (; n < SWEEP_MAX; n += stride) {
            run(n, 0, 0, flags);
            if (fault.failures == 0)
                break;
        }
        CHECK_GT(n, 3);
        CHECK_LT(n, SWEEP_MAX);
        printf("%llu system calls\n", (unsigned long long)n);
        for (uint64_t from = 1; from <= n; from += 1 + from / 8)
            run(0, from, 0, flags);
        for (uint64_t every = 1; every <= n; every += 1 + every / 4)
            run(0, 0, every, flags);
    }
    return 0;
}
