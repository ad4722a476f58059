/* emma_purge.c - giving memory back to the kernel: what free chunks keep, and what chunks in use
 * keep idle.
 *
 * A chunk's memory goes from its end, so that its resident pages stay a prefix of it. */
#include "emma_internal.h"

/* Counts pages that the kernel has back; returns how many. */
static size_t purge_count(emma *instance, size_t pages)
{
    emmai_sync_add(&instance->control->returned_bytes, (uint64_t)pages << EMMAI_PAGE_SHIFT);
    emmai_footprint_give(instance, pages);
    return pages;
}

/* ---- purging ---- */

/* Whether the chunks from `first` to `last` are free, keep memory, and are the caller's now. */
static bool purge_claim(emma *instance, size_t first, size_t last)
{
    /* By chance in tests: another thread takes one of them, */
    if (!emmai_bits_claim(instance->chunk_map, first, last - first + 1))
        return false;
    /* By chance in tests: or has purged it. */
    if (emmai_bits_find(instance->retained_map, first, last + 1, false) > last)
        return true;
    emmai_bits_clear(instance->chunk_map, first, last - first + 1);
    return false;
}

/* Gives back what chunks that the caller owns keep: whole ones up to the last, whose pages may end
 * earlier. Returns the pages, 0 when the kernel refuses. */
static size_t purge_owned(emma *instance, size_t first, size_t last)
{
    size_t tail = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)last));
    size_t bytes = ((last - first) << EMMA_CHUNK_SHIFT) + (tail << EMMAI_PAGE_SHIFT);
    if (!emmai_guard_purge(instance, emmai_chunk_start(instance, first), bytes))
        return 0;
    size_t pages = 0;
    for (size_t i = first; i <= last; i++) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i);
        pages += emmai_chunk_resident(entry);
        emmai_chunk_set_resident(entry, 0);
    }
    emmai_bits_clear(instance->retained_map, first, last - first + 1);
    emmai_sync_sub(&instance->control->retained_pages, pages);
    return pages;
}

/* Purges free chunks in a row, the last one first, as many as `bound` pages need; returns the pages
 * given back: none where another thread takes one of them. Adds those of the block map to *marks. */
static size_t purge_row(emma *instance, size_t last, size_t bound, size_t *marks)
{
    size_t pages = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)last));
    size_t first = last;
    while (pages < bound && emmai_bits_get(instance->retained_map, first - 1))
        pages += emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)--first));
    if (!purge_claim(instance, first, last)) /* By chance in tests: see there. */
        return 0;
    pages = purge_owned(instance, first, last);
    *marks += emmai_metadata_purge_marks(instance, first, last);
    emmai_bits_clear(instance->chunk_map, first, last - first + 1);
    if (first < instance->run_zone)
        emmai_sync_lower(&instance->low_hint, first);
    return pages;
}

/* Purges free chunks from `start` to `end`, the last ones first, until `wanted` pages are given
 * back. */
static size_t purge_zone(emma *instance, size_t start, size_t end, size_t wanted, size_t *marks)
{
    size_t done = 0;
    while (done < wanted && (end = emmai_bits_last(instance->retained_map, start, end)) > start)
        done += purge_row(instance, --end, wanted - done, marks);
    return done;
}

/* Gives at least `pages` pages of free chunks back to the kernel, or all there are, from above;
 * returns how many. */
static size_t emmai_chunk_purge(emma *instance, size_t pages)
{
    emmai_control *control = instance->control;
    size_t wanted = emmai_min(pages, emmai_sync_get(&control->retained_pages));
    size_t marks = 0;
    size_t done = purge_zone(instance, instance->run_zone, emmai_sync_get(&instance->run_end),
                             wanted, &marks);
    if (done < wanted)
        done += purge_zone(instance, EMMAI_YOUNG_CHUNKS, emmai_sync_get(&instance->low_end),
                           wanted - done, &marks);
    emmai_sync_lower_size(&control->retained_low_pages, emmai_sync_get(&control->retained_pages));
    return purge_count(instance, done + marks);
}

/* Gives back what chunks have that become free; where the kernel refuses, they keep it. */
static void emmai_chunk_discard(emma *instance, size_t chunk, size_t count)
{
    if (!count ||
        !emmai_guard_purge(instance, emmai_chunk_start(instance, chunk), count << EMMA_CHUNK_SHIFT))
        return;
    size_t pages = 0;
    for (size_t i = chunk; i < chunk + count; i++) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i);
        pages += emmai_chunk_resident(entry);
        emmai_chunk_set_resident(entry, 0);
    }
    purge_count(instance, pages + emmai_metadata_purge_marks(instance, chunk, chunk + count - 1));
}

/* Gives back what chunks up to `end` have that are neither in use nor listed. */
static void purge_unlisted(const emma *instance, size_t chunk, size_t end)
{
    while (chunk < end) {
        size_t next = emmai_min(emmai_place_next_used(instance, chunk),
                                emmai_place_next_kept(instance, chunk));
        size_t stop = emmai_min(next, end);
        if (stop > chunk)
            emmai_guard_purge(instance, emmai_chunk_start(instance, chunk),
                              (stop - chunk) << EMMA_CHUNK_SHIFT);
        chunk = stop + 1;
    }
}

/* Gives back all memory that does not count: what a thread had taken into use, and not yet noted, when it stopped in
 * the middle of a call. It may have left the kernel advised to use huge pages, too. */
static void emmai_chunk_purge_uncounted(const emma *instance)
{
    const emmai_control *control = instance->control;
    emmai_os_small_pages(control->mapping, control->mapping_bytes);
    purge_unlisted(instance, EMMAI_YOUNG_CHUNKS, instance->low_end);
    purge_unlisted(instance, instance->run_zone, instance->run_end);
    emmai_metadata_purge_uncounted(instance);
}

/* ---- wiping ---- */

/* Zeroes what free chunks keep, and what the young area has behind page 0: nothing in it is
 * anybody's. Not where that happens to each page as it is taken into use. */
static void emmai_chunk_wipe(const emma *instance)
{
    if (EMMA_ZERO_ON_FREE)
        return;
    for (size_t chunk = 0; chunk < instance->chunk_count;) {
        size_t used = chunk ? 0 : EMMAI_PAGE_BYTES;
        size_t bytes = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)chunk))
                       << EMMAI_PAGE_SHIFT;
        emmai_watch_pause();
        if (bytes > used)
            emmai_arch_zero(emmai_chunk_start(instance, chunk) + used, bytes - used);
        emmai_watch_resume();
        chunk++;
        if (chunk >= EMMAI_YOUNG_CHUNKS)
            chunk = emmai_place_next_kept(instance, chunk);
    }
}

/* ---- squeezing ---- */

/* Bytes of its last chunk that a slab or run needs; *count is how many chunks it has. */
static size_t squeeze_needed(const emmai_slab *entry, size_t *count)
{
    *count = 1;
    if (entry->kind != EMMAI_RUN)
        return entry->carved * emmai_class_bytes(entry->size_class);
    *count = emmai_run_chunks(entry);
    size_t before = (*count - 1) << EMMA_CHUNK_SHIFT;
    return entry->run_bytes > before ? entry->run_bytes - before : 0;
}

/* Gives back the pages of a chunk in use behind the first `bytes`; returns how many. */
static size_t squeeze_chunk(const emma *instance, size_t chunk, size_t bytes)
{
    emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    size_t needed = emmai_pages_of(bytes);
    if (emmai_chunk_resident(entry) <= needed)
        return 0;
    size_t pages = emmai_chunk_resident(entry) - needed;
    char *start = emmai_chunk_start(instance, chunk) + (needed << EMMAI_PAGE_SHIFT);
    if (!emmai_guard_purge(instance, start, pages << EMMAI_PAGE_SHIFT))
        return 0;
    emmai_chunk_set_resident(entry, needed);
    return pages;
}

/* Gives back the pages of a chunk in use behind the first `bytes`. */
static void emmai_chunk_cut(emma *instance, size_t chunk, size_t bytes)
{
    purge_count(instance, squeeze_chunk(instance, chunk, bytes));
}

/* Gives back pages that chunks in use keep from an earlier use and do not need; returns how many.
 * O(chunks in use): for when memory is short. */
static size_t emmai_chunk_squeeze(emma *instance)
{
    size_t done = 0;
    size_t chunk = emmai_place_next_used(instance, EMMAI_YOUNG_CHUNKS);
    while (chunk < instance->chunk_count) {
        size_t count;
        size_t needed = squeeze_needed(emmai_slab_of_id(instance, (ptrdiff_t)chunk), &count);
        done += squeeze_chunk(instance, chunk + count - 1, needed);
        if (count > 1)
            done += emmai_metadata_purge_marks(instance, chunk + 1, chunk + count - 1);
        chunk = emmai_place_next_used(instance, chunk + count);
    }
    return purge_count(instance, done);
}
