/* emma_trim gives the memory of free slabs and runs back to the kernel, says how much, and leaves
 * every live block as it is; a second one finds nothing. */
#include "emma_model.h"

enum { SLOTS = 4000 };

static test_maps own;
static model m;

static void run(size_t bytes, unsigned flags)
{
    emma_options options = test_options();
    options.flags = flags;
    emma *instance = test_create_mapped(&options, &own);
    model_init(&m, instance, flags, SLOTS);
    for (size_t slot = 0; slot < SLOTS; slot++)
        model_step(&m, slot, MODEL_MALLOC, bytes, 0);
    const size_t full = test_resident_bytes(&own);
    CHECK_GE(full, SLOTS * bytes);
    /* Those allocated first stand together: their slabs become free. */
    for (size_t slot = 0; slot < SLOTS / 2; slot++)
        model_step(&m, slot, MODEL_FREE, 0, 0);
    const uint64_t returned = test_stats(instance).returned_bytes;
    const emma_stats before = test_stats(instance);
    const size_t trimmed = emma_trim(instance);
    const emma_stats after = test_stats(instance);
    CHECK_EQ(after.returned_bytes - returned, trimmed);
    CHECK_EQ(before.footprint_bytes - after.footprint_bytes, trimmed);
    CHECK_EQ(after.retained_bytes, 0);
    CHECK_LE(test_resident_bytes(&own), after.footprint_bytes);
    CHECK_LE(test_resident_bytes(&own), full - SLOTS / 2 * bytes * 9 / 10 + 128 * TEST_KIB);
    CHECK_EQ(emma_trim(instance), 0);
    model_verify(&m);
    model_free_all(&m);
    emma_trim(instance);
    CHECK_LE(test_resident_bytes(&own), test_stats(instance).metadata_bytes + 128 * TEST_KIB);
    model_verify(&m);
    /* What was given back serves again. */
    for (size_t slot = 0; slot < SLOTS; slot++)
        model_step(&m, slot, MODEL_CALLOC, bytes, 0);
    model_verify(&m);
    emma_destroy(instance);
}

int main(void)
{
    test_need_own_maps();
    run(56, 0);
    run(56, EMMA_ALIGN8);
    run(1500, EMMA_ALIGN8);
    run(9000, 0);
    run(40000, 0);
    return 0;
}
