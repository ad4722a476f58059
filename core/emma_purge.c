/* emma_purge.c - giving memory back to the kernel: what free chunks keep, and what chunks in use
 * keep idle.
 *
 * A chunk's memory goes from its end, so that its resident pages stay a prefix of it. */
#include "emma_internal.h"

/* ---- purging ---- */

/* Purges free chunks in a row, the last one first, as many as `bound` pages need; returns the pages
 * given back. */
static size_t purge_row(emma *instance, size_t last, size_t bound)
{
    size_t tail = emmai_slab_of_id(instance, (ptrdiff_t)last)->resident;
    size_t pages = tail;
    size_t first = last;
    while (pages < bound && emmai_bits_get(instance->retained_map, first - 1))
        pages += emmai_slab_of_id(instance, (ptrdiff_t)--first)->resident;
    size_t bytes = ((last - first) << EMMA_CHUNK_SHIFT) + (tail << EMMAI_PAGE_SHIFT);
    if (!emmai_os_purge(emmai_chunk_start(instance, first), bytes))
        return 0;
    for (size_t i = first; i <= last; i++)
        emmai_slab_of_id(instance, (ptrdiff_t)i)->resident = 0;
    emmai_bits_clear(instance->retained_map, first, last - first + 1);
    return pages;
}

/* Purges free chunks from `start` to `end`, the last ones first, until `wanted` pages are given
 * back. */
static size_t purge_zone(emma *instance, size_t start, size_t end, size_t wanted)
{
    size_t done = 0;
    while (done < wanted && (end = emmai_bits_last(instance->retained_map, start, end)) > start)
        done += purge_row(instance, --end, wanted - done);
    return done;
}

/* Gives at least `pages` pages of free chunks back to the kernel, or all there are, from above;
 * returns how many. */
static size_t emmai_chunk_purge(emma *instance, size_t pages)
{
    emmai_control *control = instance->control;
    size_t wanted = emmai_min(pages, control->retained_pages);
    size_t done = purge_zone(instance, instance->run_zone, instance->run_end, wanted);
    if (done < wanted)
        done += purge_zone(instance, EMMAI_YOUNG_CHUNKS, instance->low_end, wanted - done);
    control->retained_pages -= done;
    control->retained_low_pages = emmai_min(control->retained_low_pages, control->retained_pages);
    control->returned_bytes += done << EMMAI_PAGE_SHIFT;
    if (done)
        emmai_footprint_give(instance, done);
    return done;
}

/* ---- squeezing ---- */

/* Bytes of its last chunk that a slab or run needs; *count is how many chunks it has. */
static size_t squeeze_needed(const emmai_slab *entry, size_t *count)
{
    *count = 1;
    if (entry->kind != EMMAI_RUN)
        return entry->carved * emmai_class_bytes(entry->size_class);
    *count = emmai_run_chunks(entry);
    return entry->run_bytes - ((*count - 1) << EMMA_CHUNK_SHIFT);
}

/* Gives back the pages of a chunk in use behind the first `bytes`; returns how many. */
static size_t squeeze_chunk(const emma *instance, size_t chunk, size_t bytes)
{
    emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    size_t needed = emmai_pages_of(bytes);
    if (entry->resident <= needed)
        return 0;
    size_t pages = entry->resident - needed;
    char *start = emmai_chunk_start(instance, chunk) + (needed << EMMAI_PAGE_SHIFT);
    if (!emmai_os_purge(start, pages << EMMAI_PAGE_SHIFT))
        return 0;
    entry->resident = (uint16_t)needed;
    return pages;
}

/* Gives back pages that chunks in use keep from an earlier use and do not need; returns how many.
 * O(chunks in use): for when memory is short. */
static size_t emmai_chunk_squeeze(emma *instance)
{
    size_t done = 0;
    size_t chunk = emmai_chunk_next_used(instance, EMMAI_YOUNG_CHUNKS);
    while (chunk < instance->chunk_count) {
        size_t count;
        size_t needed = squeeze_needed(emmai_slab_of_id(instance, (ptrdiff_t)chunk), &count);
        done += squeeze_chunk(instance, chunk + count - 1, needed);
        chunk = emmai_chunk_next_used(instance, chunk + count);
    }
    instance->control->returned_bytes += done << EMMAI_PAGE_SHIFT;
    if (done)
        emmai_footprint_give(instance, done);
    return done;
}
