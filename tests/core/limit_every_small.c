/* Every limit from 0 to 64 KiB in steps of 64: refused as invalid, or an instance that works
 * up to its limit, refuses beyond it with every block intact, and works again once something is
 * freed. */
#include "emma_model.h"

enum { STEP_BYTES = 64 };
#define LARGEST_BYTES (64 * TEST_KIB)

static test_maps own;
static model m;

static void fill_and_drain(size_t limit, size_t bytes)
{
    const uint64_t refused = m.refused;
    size_t slot = 0;
    while (m.refused == refused) {
        CHECK_LT(slot, m.slots);
        model_step(&m, slot++, MODEL_MALLOC, bytes, 0);
    }
    const emma_stats stats = test_stats(m.instance);
    CHECK_LE(stats.footprint_bytes, limit);
    CHECK_LE(test_resident_bytes(&own), limit);
    CHECK_GT(stats.refused_count, 0);
    model_verify(&m);
    if (m.live_blocks > 0) {
        model_step(&m, 0, MODEL_FREE, 0, 0);
        model_step(&m, 0, MODEL_MALLOC, bytes, 0);
        CHECK(m.blocks[0].at != NULL);
    }
    model_free_all(&m);
}

static void run(size_t limit, unsigned flags)
{
    static const size_t sizes[] = { 16, 56, 300, 2000, 9000 };
    emma_options options = test_options();
    options.limit_bytes = limit;
    options.flags = flags;
    model_init(&m, test_create_mapped(&options, &own), flags, MODEL_SLOTS_MAX);
    m.may_refuse = true;
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        fill_and_drain(limit, sizes[(i + limit / STEP_BYTES) % TEST_COUNT(sizes)]);
    CHECK_LT(sizes[0], test_stats(m.instance).peak_footprint_bytes);
    emma_destroy(m.instance);
}

int main(void)
{
    test_need_own_maps();
    for (size_t limit = 0; limit <= LARGEST_BYTES; limit += STEP_BYTES) {
        emma_options options = test_options();
        options.limit_bytes = limit;
        if (limit < EMMA_LIMIT_MIN_BYTES) {
            CHECK_EQ(emma_options_check(&options), EMMA_INVALID);
            CHECK_EQ(emma_create(&options), NULL);
        } else {
            run(limit, limit / STEP_BYTES % 2 ? EMMA_ALIGN8 : 0);
        }
    }
    return 0;
}
