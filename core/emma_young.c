/* emma_young.c - young slabs, of a few units each, so that an instance with few blocks of many classes stays small.
 *
 * A Lua state with its libraries holds 20 KiB in 16 classes; a page for each class would make that 64. The
 * entries of the young area always have `plain_frees` 0, so a free in it leaves the fast path and looks its slab up by unit. A
 * young slab keeps its class until emma_reset: the area is small. */
#include "emma_internal.h"

/* Bytes that a class's first young slab and its later ones aim at: few while nobody knows that more will come. Of the sizes
 * tried, these leave the least unused after Lua's libraries are open. */
#define YOUNG_FIRST_BYTES ((size_t)256)
#define YOUNG_NEXT_BYTES ((size_t)512)

static size_t young_units(const emma *instance, unsigned size_class)
{
    size_t bytes = emmai_class_bytes(size_class);
    size_t wanted = instance->heap.heads[size_class] == &emmai_no_slab ? YOUNG_FIRST_BYTES : YOUNG_NEXT_BYTES;
    size_t blocks = emmai_max(wanted / bytes, 1);
    return emmai_round_up(blocks * bytes, EMMAI_UNIT_BYTES) >> EMMAI_UNIT_SHIFT;
}

/* Makes a young slab of this class, with no block carved yet; NULL when the area is used up or the class too large. */
static emmai_slab *emmai_young_open(emma *instance, unsigned size_class)
{
    if (emmai_class_bytes(size_class) > EMMAI_YOUNG_MAX_BYTES || instance->young_count == EMMAI_YOUNG_SLABS)
        return NULL;
    size_t units = young_units(instance, size_class);
    if (units > EMMAI_UNIT_COUNT - instance->young_units)
        return NULL;
    emmai_slab *slab = &instance->young[instance->young_count];
    emmai_arch_zero(slab, sizeof *slab);
    slab->kind = EMMAI_SLAB;
    slab->first_unit = (uint16_t)instance->young_units;
    slab->unit_count = (uint16_t)units;
    for (size_t i = 0; i < units; i++)
        instance->unit_slab[instance->young_units + i] = (uint8_t)(instance->young_count + 1);
    instance->young_units += (uint32_t)units;
    instance->young_count++;
    return slab;
}

/* Takes the pages of the young area's first `end` bytes into use. */
static bool emmai_young_touch(emma *instance, size_t end)
{
    size_t chunk = (end - 1) >> EMMA_CHUNK_SHIFT;
    for (size_t i = 0; i < chunk; i++)
        if (!emmai_chunk_touch(instance, i, EMMAI_CHUNK_PAGES))
            return false;
    size_t rest = end - (chunk << EMMA_CHUNK_SHIFT);
    return emmai_chunk_touch(instance, chunk, emmai_round_up(rest, EMMAI_PAGE_BYTES) >> EMMAI_PAGE_SHIFT);
}

/* The young slab that an offset in the young area lies in; NULL if none. */
static emmai_slab *emmai_young_find(const emma *instance, size_t offset)
{
    uint8_t number = instance->unit_slab[offset >> EMMAI_UNIT_SHIFT];
    return number ? emmai_slab_of_id(instance, -(ptrdiff_t)number) : NULL;
}
