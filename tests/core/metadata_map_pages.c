/* test: whole plain checks */
/* Chunks whose bits begin a page of the maps, with entries on a page of which others are in use: the page of the map
 * counts when they are taken, and no earlier; what is resident is never more than what counts. */
#include "emma_fault.h"

enum { FURTHER = 64, FURTHER_BYTES = 20000 };

static test_maps own;

/* The first chunk in the zone of runs whose bit in a map is on another page than the one before it. */
static size_t next_map_page(const emma *instance, const uint64_t *map)
{
    size_t chunk = instance->run_zone + 1;
    while (emmai_page_of(instance, map + chunk / 64) ==
           emmai_page_of(instance, map + (chunk - 1) / 64))
        chunk++;
    return chunk;
}

/* Where a page of the map of chunks begins, or of the map of those that keep memory. */
static void run(size_t reserve_bytes, bool of_chunks)
{
    emma_options options = test_options();
    options.reserve_bytes = reserve_bytes;
    emma *instance = test_create_mapped(&options, &own);
    const uint64_t *map = of_chunks ? instance->chunk_map : instance->retained_map;
    const size_t chunk = next_map_page(instance, map);
    CHECK_EQ(chunk == next_map_page(instance, instance->chunk_map), of_chunks);
    CHECK_LT(chunk, instance->chunk_count);
    /* Up to it. Its pages are counted, but not touched. */
    void *before = emma_malloc(instance, (chunk - instance->run_zone) << EMMA_CHUNK_SHIFT);
    CHECK_EQ(before, emmai_chunk_start(instance, instance->run_zone));
    CHECK_EQ(instance->control->run_covered, chunk); /* no further than that page of the map */
    const size_t untouched = test_stats(instance).footprint_bytes - test_resident_bytes(&own);
    for (size_t i = 0; i < FURTHER; i++) {
        unsigned char *block = emma_malloc(instance, FURTHER_BYTES);
        CHECK_GE(block, emmai_chunk_start(instance, chunk));
        memset(block, 1, FURTHER_BYTES);
        CHECK_LE(test_resident_bytes(&own) + untouched, test_stats(instance).footprint_bytes);
    }
    CHECK_GT(instance->control->run_covered, chunk);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    test_need_own_maps();
    run(4 * TEST_GIB, true);
    run(4 * TEST_GIB + 64 * TEST_MIB, false);
    return 0;
}
