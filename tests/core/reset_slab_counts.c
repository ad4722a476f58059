/* test: whole */
/* emma_reset forgets how many slabs each class had, up to the last class. More than can be counted stay as many. */
#include "emma_fault.h"

enum { BLOCKS = 100, SPARE = EMMA_CANARIES ? 16 : 0 };

int main(void)
{
    emma *instance = test_create(EMMA_UNLIMITED, EMMA_ALIGN8);
    const uint16_t *counts = instance->heap.slab_count;
    for (unsigned i = EMMAI_CLASS_COUNT - 1; i > 0; i--)
        for (size_t n = 0; n < BLOCKS; n++)
            CHECK(emma_malloc(instance, emmai_max(emmai_class_bytes(i), SPARE + 1) - SPARE) !=
                  NULL);
    CHECK_GE(counts[EMMAI_CLASS_COUNT - 1], BLOCKS / 2);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    for (unsigned i = 0; i < EMMAI_CLASS_COUNT; i++)
        CHECK_EQ(counts[i], 0);

    const unsigned last = EMMAI_CLASS_COUNT - 1;
    void *blocks[BLOCKS];
    instance->heap.slab_count[last] = UINT16_MAX;
    for (size_t n = 0; n < BLOCKS; n++)
        CHECK((blocks[n] = emma_malloc(instance, emmai_class_bytes(last) - SPARE)) != NULL);
    CHECK_EQ(counts[last], UINT16_MAX);
    for (size_t n = 0; n < BLOCKS; n++)
        emma_free(instance, blocks[n]);
    emma_trim(instance);
    CHECK_EQ(counts[last], UINT16_MAX);
    emma_destroy(instance);
    return 0;
}
