/* emma_metadata.c - the pages of the allocator's own state: which of them count in the footprint.
 *
 * Entries, maps and tables lie in a range that is accessible from the start and as large as the region
 * may ever need; a page of it counts from when the first chunk that has something there is taken,
 * as a bit in the page map tells (I5). */
#include "emma_internal.h"

/* Pages from first to last address, but not before *next, that are not counted yet; counts them if
 * `count`. Moves *next behind them: spans are asked for in ascending order and may share a page. */
static size_t metadata_span(emma *instance, const void *first, const void *last, size_t *next,
                            bool count)
{
    size_t end = emmai_min(emmai_page_of(instance, last) + 1,
                           emmai_page_of(instance, emmai_origin(instance)));
    size_t pages = 0;
    for (size_t i = emmai_max(emmai_page_of(instance, first), *next); i < end; i++) {
        if (emmai_bits_get(instance->page_map, i))
            continue;
        /* By chance in tests: another thread counts it. */
        pages += !count || !emmai_bits_add(instance->page_map, i, 1);
    }
    *next = emmai_max(*next, end);
    return pages;
}

/* The same for all metadata of the chunks from `chunk` to `last`. */
static size_t metadata_cover(emma *instance, size_t chunk, size_t last, bool count)
{
    const emmai_slab *low = emmai_slab_of_id(instance, (ptrdiff_t)last);
    const emmai_slab *high = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    const uint64_t *pages = instance->page_map;
    const uint64_t *used = instance->chunk_map;
    const uint64_t *kept = instance->retained_map;
    size_t low_page = emmai_page_of(instance, used + chunk / 64);
    size_t top_page = emmai_page_of(instance, high);
    size_t next = 0;
    size_t found = metadata_span(instance, pages, pages, &next, count); /* has its own bits */
    found += metadata_span(instance, pages + low_page / 64, pages + top_page / 64, &next, count);
    found += metadata_span(instance, used + chunk / 64, used + last / 64, &next, count);
    found += metadata_span(instance, kept + chunk / 64, kept + last / 64, &next, count);
    if (instance->shared)
        found += metadata_span(instance, emmai_tag_of_slab(instance, low),
                               emmai_tag_of_slab(instance, high), &next, count);
    return found + metadata_span(instance, low, high, &next, count);
}

/* Where metadata counts from a zone's start on without a gap: the chunks below need not be looked
 * up. */
static uint32_t *metadata_bound(emma *instance, size_t chunk)
{
    emmai_control *control = instance->control;
    return chunk < instance->run_zone ? &control->low_covered : &control->run_covered;
}

static bool metadata_is_counted(emma *instance, size_t chunk, size_t count)
{
    return chunk + count <= emmai_sync_get(metadata_bound(instance, chunk));
}

/* One past the last chunk all of whose metadata is on the same pages as this one's. */
static size_t metadata_reach(const emma *instance, size_t chunk)
{
    uintptr_t page = (uintptr_t)emmai_slab_of_id(instance, (ptrdiff_t)chunk) / EMMAI_PAGE_BYTES;
    const emmai_slab *first = (const emmai_slab *)(page * EMMAI_PAGE_BYTES);
    size_t last = emmai_min((size_t)emmai_id_of_slab(instance, first), instance->chunk_count - 1);
    const uint64_t *used = instance->chunk_map;
    const uint64_t *kept = instance->retained_map;
    const emmai_slab *high = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    const emmai_slab *low = emmai_slab_of_id(instance, (ptrdiff_t)last);
    bool same =
        (!instance->shared || emmai_page_of(instance, emmai_tag_of_slab(instance, low)) ==
                                  emmai_page_of(instance, emmai_tag_of_slab(instance, high))) &&
        emmai_page_of(instance, used + last / 64) == emmai_page_of(instance, used + chunk / 64) &&
        emmai_page_of(instance, kept + last / 64) == emmai_page_of(instance, kept + chunk / 64);
    return (same ? last : chunk) + 1;
}

/* Pages of metadata that these chunks bring along and that do not count yet. */
static size_t emmai_metadata_uncounted(emma *instance, size_t chunk, size_t count)
{
    if (!count || metadata_is_counted(instance, chunk, count))
        return 0;
    return metadata_cover(instance, chunk, chunk + count - 1, false);
}

/* Counts the metadata of these chunks; returns the pages that did not count yet. */
static size_t emmai_metadata_count(emma *instance, size_t chunk, size_t count)
{
    if (!count || metadata_is_counted(instance, chunk, count))
        return 0;
    size_t pages = metadata_cover(instance, chunk, chunk + count - 1, true);
    emmai_sync_add(&instance->control->metadata_pages, pages);
    uint32_t *bound = metadata_bound(instance, chunk);
    if (chunk <= emmai_sync_get(bound))
        emmai_sync_raise(bound, metadata_reach(instance, chunk + count - 1));
    return pages;
}

/* Counts the page of metadata that does not come with chunks. */
static bool emmai_metadata_cover_page(emma *instance, const void *metadata)
{
    size_t page = emmai_page_of(instance, metadata);
    if (emmai_bits_get(instance->page_map, page))
        return true;
    if (!emmai_footprint_take(instance, 1))
        return false;
    if (!emmai_bits_add(instance->page_map, page, 1)) /* By chance in tests: as above. */
        emmai_sync_add(&instance->control->metadata_pages, (size_t)1);
    else
        emmai_footprint_give(instance, 1);
    return true;
}

/* A free of what lies in a chunk that was never used has written its entry, on a page that may not
 * be counted (I5): that page is nobody's, and goes back. */
static void emmai_metadata_forget_entry(emma *instance, const emmai_slab *entry)
{
    size_t page = emmai_page_of(instance, entry);
    if (page < emmai_page_of(instance, emmai_origin(instance)) &&
        !emmai_bits_get(instance->page_map, page))
        emmai_os_purge(emmai_page_start(instance, page), EMMAI_PAGE_BYTES);
}

/* How many pages count: what control->metadata_pages is. */
static size_t emmai_metadata_pages(const emma *instance)
{
    /* Page 0, and that of the fork word or the control page. */
    size_t pages = instance->shared || instance->control->checkpoints ? 2 : 1;
    size_t all = emmai_page_of(instance, emmai_origin(instance));
    for (size_t i = emmai_bits_find(instance->page_map, 0, all, true); i < all;
         i = emmai_bits_find(instance->page_map, i + 1, all, true))
        pages++;
    return pages;
}

/* Gives back the pages that do not count: that are in use no more after a rollback, or that a thread touched before
 * it stopped. */
static void emmai_metadata_purge_uncounted(const emma *instance)
{
    const uint64_t *map = instance->page_map;
    size_t all = emmai_page_of(instance, emmai_origin(instance));
    for (size_t i = emmai_bits_find(map, 0, all, false); i < all;) {
        size_t end = emmai_bits_find(map, i, all, true);
        emmai_os_purge(emmai_page_start(instance, i), (end - i) << EMMAI_PAGE_SHIFT);
        i = emmai_bits_find(map, end, all, false);
    }
}

/* ---- the block map, which only a chunk where a block may start has a part of ---- */

#define MARK_CHUNKS ((EMMAI_PAGE_BYTES << EMMAI_MARK_SHIFT) >> EMMA_CHUNK_SHIFT) /* on a page */

_Static_assert(64 % MARK_CHUNKS == 0 && EMMAI_YOUNG_CHUNKS % MARK_CHUNKS == 0,
               "they have a word of the chunk map in common, and the young area pages of its own");

static uint8_t *marks_of_chunk(const emma *instance, size_t chunk)
{
    return instance->block_map + (chunk << (EMMA_CHUNK_SHIFT - EMMAI_MARK_SHIFT));
}

/* Pages of the block map for a chunk that do not count yet; counts them if `count`. */
static size_t marks_cover(emma *instance, size_t chunk, bool count)
{
    const uint8_t *marks = marks_of_chunk(instance, chunk);
    const uint64_t *pages = instance->page_map;
    const uint64_t *bits = pages + emmai_page_of(instance, marks) / 64;
    size_t next = 0;
    size_t found = metadata_span(instance, pages, pages, &next, count);
    found += metadata_span(instance, bits, bits, &next, count);
    return found + metadata_span(instance, marks, marks, &next, count);
}

/* Pages of the block map that these chunks bring along and that do not count yet: a block starts in the
 * first one only, or in each that is a slab. */
static size_t emmai_metadata_marks_uncounted(emma *instance, size_t chunk, size_t count)
{
    return EMMA_CHECKS && count ? marks_cover(instance, chunk, false) : 0;
}

/* Counts them, for the owner of the chunks; returns the pages that did not count yet. */
static size_t emmai_metadata_count_marks(emma *instance, size_t chunk, size_t count)
{
    if (!EMMA_CHECKS || !count)
        return 0;
    size_t pages = marks_cover(instance, chunk, true);
    emmai_sync_add(&instance->control->metadata_pages, pages);
    return pages;
}

/* The same for chunks from `start` up to `end` that have a page of the block map to themselves: gives
 * it back if all are free, of which the caller owns those from `first` to `last`. */
static size_t marks_purge_page(emma *instance, size_t start, size_t end, size_t first, size_t last)
{
    uint64_t *map = instance->chunk_map;
    const uint8_t *marks = marks_of_chunk(instance, start);
    size_t page = emmai_page_of(instance, marks);
    size_t before = emmai_max(first, start) - start;
    size_t after = end - 1 - emmai_min(last, end - 1);
    if (!emmai_bits_get(instance->page_map, page) || !emmai_bits_claim(map, start, before))
        return 0;
    bool purged = emmai_bits_claim(map, end - after, after);
    if (purged) {
        purged = emmai_os_purge(emmai_page_start(instance, page), EMMAI_PAGE_BYTES);
        if (purged)
            emmai_bits_clear(instance->page_map, page, 1);
        emmai_bits_clear(map, end - after, after);
    }
    emmai_bits_clear(map, start, before);
    if (start < instance->run_zone)
        emmai_sync_lower(&instance->low_hint, start);
    return purged;
}

/* Gives pages of the block map back that only chunks from `first` to `last`, which are the caller's and
 * have no blocks, had use for, or free ones beside them; returns how many. Levels of checkpoints count on
 * metadata that stays. */
static size_t emmai_metadata_purge_marks(emma *instance, size_t first, size_t last)
{
    size_t pages = 0;
    if (EMMA_CHECKS && !instance->control->checkpoints)
        for (size_t start = first / MARK_CHUNKS * MARK_CHUNKS; start <= last; start += MARK_CHUNKS)
            pages += marks_purge_page(instance, start,
                                      emmai_min(start + MARK_CHUNKS, instance->chunk_count), first,
                                      last);
    emmai_sync_sub(&instance->control->metadata_pages, pages);
    return pages;
}
