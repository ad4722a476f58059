/* emma_young.c - young slabs, of a few units each, so that an instance with few blocks of many
 * classes stays small.
 *
 * A Lua state with its libraries holds 20 KiB in 16 classes; a page for each class would make that
 * 64. The entries of the young area always have `plain_frees` 0, so a free in it leaves the fast
 * path and looks its slab up by unit. A young slab keeps its class until emma_reset: the area is
 * small. */
#include "emma_internal.h"

/* The least units of a class's n-th young slab, where its blocks do not need more: few for the
 * first, as nobody knows that more blocks will come, then more each time, so that the area is full
 * before its slabs run out and each class has to open a page. Up to SPAN_UNITS more are taken where
 * that leaves less waste. Of the rows tried, of those that leave Lua's libraries in 7 pages, this
 * one leaves the least unused in states of up to 150 KiB. */
static const uint8_t least_units[] = { 3, 3, 4, 5, 7, 9, 11, 13, 15 };
#define LEAST_UNITS_COUNT (sizeof least_units / sizeof least_units[0])
#define SPAN_UNITS        ((size_t)2)

static size_t young_slabs_of_class(const emma *instance, unsigned size_class)
{
    size_t count = 0;
    for (unsigned i = 0; i < instance->young_count; i++)
        count += instance->young[i].size_class == size_class;
    return count;
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
    size_t count = young_slabs_of_class(instance, size_class);
    size_t least = least_units[emmai_min(count, LEAST_UNITS_COUNT - 1)];
    return units_with_least_waste(emmai_class_bytes(size_class), least,
                                  count ? least + SPAN_UNITS : least);
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
static bool emmai_young_account(emma *instance, size_t end)
{
    size_t chunk = (end - 1) >> EMMA_CHUNK_SHIFT;
    for (size_t i = 0; i < chunk; i++)
        if (!emmai_chunk_account(instance, i, EMMAI_CHUNK_PAGES))
            return false;
    size_t rest = end - (chunk << EMMA_CHUNK_SHIFT);
    return emmai_chunk_account(instance, chunk, emmai_pages_of(rest));
}

/* The young slab that an offset in the young area lies in; NULL if none. */
static emmai_slab *emmai_young_find(const emma *instance, size_t offset)
{
    uint8_t number = instance->unit_slab[offset >> EMMAI_UNIT_SHIFT];
    return number ? emmai_slab_of_id(instance, -(ptrdiff_t)number) : NULL;
}
