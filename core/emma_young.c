/* emma_young.c - young slabs, of a few units each, so that an instance with few blocks of many
 * classes stays small.
 *
 * A Lua state with its libraries holds 20 KiB in 16 classes; a page for each class would make that
 * 64. The entries of the young area always have `plain_frees` 0, so a free in it leaves the fast
 * path and looks its slab up by unit. A young slab keeps its class until emma_reset: the area is
 * small. */
#include "emma_internal.h"

/* Units that young slabs may have, where their blocks do not need more: few for a class's first
 * slab, as nobody knows that more blocks will come, and more when slabs get scarce before units do.
 * Within these bounds the least waste decides. Of the bounds tried these leave least unused after
 * Lua's libraries are open. */
#define FIRST_MIN_UNITS 3
#define FIRST_MAX_UNITS 3
#define NEXT_MIN_UNITS  3
#define NEXT_MAX_UNITS  5
#define LATE_MIN_UNITS  7
#define LATE_MAX_UNITS  8
#define LATE_COUNT      (EMMAI_YOUNG_SLABS * 2 / 3 + 2)

static bool young_has_class(const emma *instance, unsigned size_class)
{
    for (unsigned i = 0; i < instance->young_count; i++)
        if (instance->young[i].size_class == size_class)
            return true;
    return false;
}

/* The number of units from least to most, but enough for a block, that leaves the smallest part
 * unused. */
static size_t units_with_least_waste(size_t block_bytes, size_t least, size_t most)
{
    size_t needed = emmai_round_up(block_bytes, EMMAI_UNIT_BYTES) >> EMMAI_UNIT_SHIFT;
    size_t best = emmai_max(least, needed);
    for (size_t units = best + 1; units <= most; units++) {
        size_t waste = (units << EMMAI_UNIT_SHIFT) % block_bytes;
        if (waste * best < ((best << EMMAI_UNIT_SHIFT) % block_bytes) * units)
            best = units;
    }
    return best;
}

static size_t young_units(const emma *instance, unsigned size_class)
{
    size_t block_bytes = emmai_class_bytes(size_class);
    if (!young_has_class(instance, size_class))
        return units_with_least_waste(block_bytes, FIRST_MIN_UNITS, FIRST_MAX_UNITS);
    if (instance->young_count < LATE_COUNT)
        return units_with_least_waste(block_bytes, NEXT_MIN_UNITS, NEXT_MAX_UNITS);
    return units_with_least_waste(block_bytes, LATE_MIN_UNITS, LATE_MAX_UNITS);
}

/* Makes a young slab of this class, with no block carved yet; NULL when the area is used up or the
 * class too large. */
static emmai_slab *emmai_young_open(emma *instance, unsigned size_class)
{
    if (emmai_class_bytes(size_class) > EMMAI_YOUNG_MAX_BYTES ||
        instance->young_count == EMMAI_YOUNG_SLABS)
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
    return emmai_chunk_touch(instance, chunk,
                             emmai_round_up(rest, EMMAI_PAGE_BYTES) >> EMMAI_PAGE_SHIFT);
}

/* The young slab that an offset in the young area lies in; NULL if none. */
static emmai_slab *emmai_young_find(const emma *instance, size_t offset)
{
    uint8_t number = instance->unit_slab[offset >> EMMAI_UNIT_SHIFT];
    return number ? emmai_slab_of_id(instance, -(ptrdiff_t)number) : NULL;
}
