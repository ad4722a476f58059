/* emma_chunk.c - the region's chunks: which are free, which are accessible, which keep memory.
 *
 * A chunk's resident pages are a prefix of it; a FREE chunk keeps them until it is used again or
 * purged. What keeps memory is used before what does not. Then slabs take the lowest free chunk, so
 * a heap that shrinks empties the region from above, and runs one from run_zone on, where they find
 * room to grow; either goes to the other's side when its own is full. */
#include "emma_internal.h"

/* ---- the map ---- */

/* The first chunk in use from `chunk` on, below `end`; `end` if there is none. */
static size_t chunk_find_used(const emma *instance, size_t chunk, size_t end)
{
    if (chunk < instance->low_end) {
        size_t found =
            emmai_bits_find(instance->chunk_map, chunk, emmai_min(end, instance->low_end), true);
        if (found < instance->low_end)
            return found;
    }
    size_t start = emmai_max(chunk, instance->run_zone);
    size_t bound = emmai_min(end, instance->run_end);
    if (start >= bound)
        return end;
    size_t found = emmai_bits_find(instance->chunk_map, start, bound, true);
    return found < bound ? found : end;
}

static size_t emmai_chunk_next_used(const emma *instance, size_t chunk)
{
    return chunk_find_used(instance, chunk, instance->chunk_count);
}

static size_t chunk_next_free(const emma *instance, size_t chunk)
{
    return emmai_bits_find(instance->chunk_map, chunk, instance->chunk_count, false);
}

/* The first `count` free chunks in a row from `from` on, starting at a multiple of `alignment`
 * bytes; chunk_count if none. */
static size_t map_fit(const emma *instance, size_t from, size_t count, size_t alignment)
{
    size_t chunk = from;
    for (;;) {
        chunk = chunk_next_free(instance, chunk);
        uintptr_t start = (uintptr_t)emmai_chunk_start(instance, chunk);
        chunk += (emmai_round_up(start, alignment) - start) >> EMMA_CHUNK_SHIFT;
        if (chunk >= instance->chunk_count || count > instance->chunk_count - chunk)
            return instance->chunk_count;
        size_t end = chunk_find_used(instance, chunk, chunk + count);
        if (end - chunk >= count)
            return chunk;
        chunk = end;
    }
}

/* ---- access ---- */

static bool extent_grow(emma *instance, uint32_t *committed, size_t end, size_t bound)
{
    if (end <= *committed)
        return true;
    char *start = emmai_chunk_start(instance, *committed);
    size_t least = end - *committed;
    size_t step = emmai_max(EMMAI_COMMIT_STEP_BYTES >> EMMA_CHUNK_SHIFT, (size_t)*committed / 4);
    step = emmai_min(emmai_max(step, least), bound - *committed);
    if (!emmai_os_commit(start, step << EMMA_CHUNK_SHIFT)) {
        step = least;
        if (!emmai_os_commit(start, step << EMMA_CHUNK_SHIFT))
            return false;
    }
    *committed += (uint32_t)step;
    return true;
}

/* Makes chunks accessible (I7). */
static bool chunk_commit(emma *instance, size_t chunk, size_t count)
{
    emmai_control *control = instance->control;
    size_t end = chunk + count;
    size_t zone = instance->run_zone;
    if (chunk < zone && !extent_grow(instance, &control->low_committed, emmai_min(end, zone), zone))
        return false;
    return end <= zone ||
           extent_grow(instance, &control->run_committed, end, instance->chunk_count);
}

/* ---- metadata that chunks bring along: pages of entries and of the maps ---- */

static size_t metadata_page(const emma *instance, const void *address)
{
    return ((uintptr_t)address - (uintptr_t)instance->page_map) >> EMMAI_PAGE_SHIFT;
}

/* Pages from first to last address, but not before *next, that are not counted yet; counts them if
 * `count`. Moves *next behind them: spans are asked for in ascending order and may share a page. */
static size_t metadata_span(emma *instance, const void *first, const void *last, size_t *next,
                            bool count)
{
    size_t end = emmai_min(metadata_page(instance, last) + 1,
                           metadata_page(instance, emmai_origin(instance)));
    size_t pages = 0;
    for (size_t i = emmai_max(metadata_page(instance, first), *next); i < end; i++) {
        if (emmai_bits_get(instance->page_map, i))
            continue;
        pages++;
        if (count)
            emmai_bits_set(instance->page_map, i, 1);
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
    size_t top_page = metadata_page(instance, high);
    size_t next = 0;
    return metadata_span(instance, pages, pages + top_page / 64, &next, count) +
           metadata_span(instance, used + chunk / 64, used + last / 64, &next, count) +
           metadata_span(instance, kept + chunk / 64, kept + last / 64, &next, count) +
           metadata_span(instance, low, high, &next, count);
}

/* Pages to be counted before these free chunks become part of the run of `run_bytes` at chunk `run`:
 * their metadata, and what the run is missing from the chunk before them on. 0 bytes: of a slab,
 * whose pages count as they are carved. */
static size_t chunk_uncounted(emma *instance, size_t chunk, size_t count, size_t run,
                              size_t run_bytes)
{
    size_t metadata = count ? metadata_cover(instance, chunk, chunk + count - 1, false) : 0;
    return metadata + emmai_run_missing(instance, run, run_bytes, emmai_max(run, chunk - 1));
}

/* Counts those pages, all or none. More than once, since to make room for them pages of the run
 * itself may have been given back. Returns how many; 0 with *done false when they are refused. */
static size_t chunk_count_pages(emma *instance, size_t chunk, size_t count, size_t run,
                                size_t run_bytes, bool *done)
{
    size_t taken = 0;
    size_t needed;
    *done = true;
    while (*done && (needed = chunk_uncounted(instance, chunk, count, run, run_bytes)) > taken) {
        *done = emmai_footprint_take(instance, needed - taken);
        if (*done)
            taken = needed;
    }
    return taken;
}

/* ---- taking and giving back ---- */

/* Moves the bounds of searches so that these chunks are within. */
static void chunk_note_end(emma *instance, size_t chunk, size_t count)
{
    size_t end = chunk + count;
    size_t zone = instance->run_zone;
    if (chunk < zone)
        instance->low_end = (uint32_t)emmai_max(instance->low_end, emmai_min(end, zone));
    if (end > zone)
        instance->run_end = (uint32_t)emmai_max(instance->run_end, end);
}

/* Counts what chunk_uncounted tells and makes free chunks accessible; false, with nothing changed,
 * when the limit or the kernel refuses. */
static bool emmai_chunk_prepare(emma *instance, size_t chunk, size_t count, size_t run,
                                size_t run_bytes)
{
    bool counted;
    size_t taken = chunk_count_pages(instance, chunk, count, run, run_bytes, &counted);
    if (!counted || !chunk_commit(instance, chunk, count)) {
        if (taken)
            emmai_footprint_give(instance, taken);
        return false;
    }
    if (count)
        instance->control->metadata_pages +=
            metadata_cover(instance, chunk, chunk + count - 1, true);
    return true;
}

/* Lists free chunks among those that keep memory, if they do. */
static void chunk_list_retained(emma *instance, size_t chunk, size_t count)
{
    for (size_t i = chunk; i < chunk + count; i++) {
        uint16_t resident = emmai_slab_of_id(instance, (ptrdiff_t)i)->resident;
        if (!resident)
            continue;
        emmai_bits_set(instance->retained_map, i, 1);
        instance->control->retained_pages += resident;
    }
}

/* Takes them off that list, so that what they keep is not given back. */
static void chunk_unlist_retained(emma *instance, size_t chunk, size_t count)
{
    for (size_t i = chunk; i < chunk + count; i++) {
        uint16_t resident = emmai_slab_of_id(instance, (ptrdiff_t)i)->resident;
        if (!resident)
            continue; /* the map may be on a page that does not count yet */
        emmai_bits_clear(instance->retained_map, i, 1);
        instance->control->retained_pages -= resident;
    }
}

/* Marks free chunks as keeping all their pages, which are counted already. */
static void emmai_chunk_retain(emma *instance, size_t chunk, size_t count)
{
    for (size_t i = chunk; i < chunk + count; i++)
        emmai_slab_of_id(instance, (ptrdiff_t)i)->resident = (uint16_t)EMMAI_CHUNK_PAGES;
    chunk_note_end(instance, chunk, count);
    emmai_bits_set(instance->retained_map, chunk, count);
    instance->control->retained_pages += count * EMMAI_CHUNK_PAGES;
}

/* Makes free chunks used: as a slab (0 bytes), or as part of the run of `run_bytes` at chunk `run`,
 * whose pages are then counted; false, with nothing changed, when that is refused. */
static bool chunk_claim(emma *instance, size_t chunk, size_t count, size_t run, size_t run_bytes)
{
    emmai_control *control = instance->control;
    chunk_unlist_retained(instance, chunk, count);
    if (!emmai_chunk_prepare(instance, chunk, count, run, run_bytes)) {
        chunk_list_retained(instance, chunk, count);
        return false;
    }
    control->retained_low_pages = emmai_min(control->retained_low_pages, control->retained_pages);
    chunk_note_end(instance, chunk, count);
    emmai_bits_set(instance->chunk_map, chunk, count);
    for (size_t i = chunk; i < chunk + count; i++) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i);
        if (run_bytes && i == run)
            entry->run_bytes = run_bytes;
        entry->kind = (uint8_t)(!run_bytes ? EMMAI_SLAB : i == run ? EMMAI_RUN : EMMAI_BODY);
    }
    return true;
}

/* The first of `count` chunks in a row from `start` to `end` that are free and keep memory; `end`
 * if there are none. */
static size_t retained_fit(const emma *instance, size_t start, size_t end, size_t count)
{
    for (;;) {
        start = emmai_bits_find(instance->retained_map, start, end, true);
        if (end - start < count)
            return end;
        size_t gap = emmai_bits_find(instance->retained_map, start, start + count, false);
        if (gap == start + count)
            return start;
        start = gap;
    }
}

/* The same wherever in the region, near the lowest; 0 if there are none. */
static size_t chunk_retained(const emma *instance, size_t count)
{
    if (!instance->control->retained_pages)
        return 0;
    size_t chunk = retained_fit(instance, EMMAI_YOUNG_CHUNKS, instance->low_end, count);
    if (chunk < instance->low_end)
        return chunk;
    chunk = retained_fit(instance, instance->run_zone, instance->run_end, count);
    return chunk < instance->run_end ? chunk : 0;
}

/* Takes a chunk for a slab, one that keeps memory if there is one, else the lowest. Returns its
 * index, or 0 when there is none or the kernel or the limit refuses. */
static size_t emmai_chunk_take_slab(emma *instance)
{
    size_t chunk = chunk_retained(instance, 1);
    if (chunk)
        return chunk_claim(instance, chunk, 1, chunk, 0) ? chunk : 0;
    chunk = chunk_next_free(instance, instance->low_hint);
    if (chunk == instance->chunk_count)
        return 0;
    emmai_huge_prepare(instance, chunk);
    if (!chunk_claim(instance, chunk, 1, chunk, 0))
        return 0;
    instance->low_hint = (uint32_t)chunk + 1;
    return chunk;
}

/* Behind the run before it, a run that has grown is placed this far off, or this many times its own
 * length. */
#define ROOMY_CHUNKS ((256 * EMMAI_MIB) >> EMMA_CHUNK_SHIFT)
#define ROOMY_FACTOR 8
/* Shorter ones are cheaper to copy than fresh pages are to take: they go where memory is kept. */
#define ROOMY_MIN_CHUNKS ((256 * EMMAI_KIB) >> EMMA_CHUNK_SHIFT)

/* Where a run of `count` chunks finds room to grow: at the start of a zone without runs, else well
 * inside the longest free stretch; chunk_count when no stretch is worth it. */
static size_t chunk_roomy(const emma *instance, size_t count)
{
    size_t start = instance->run_zone;
    size_t best = start;
    size_t best_length = 0;
    while (start < instance->chunk_count) {
        size_t end = emmai_chunk_next_used(instance, start);
        if (end - start > best_length) {
            best = start;
            best_length = end - start;
        }
        start = chunk_next_free(instance, end);
    }
    if (best_length / 4 < count)
        return instance->chunk_count;
    if (best_length == instance->chunk_count - instance->run_zone)
        return best;
    return best + emmai_min(best_length / 2, emmai_max(ROOMY_CHUNKS, ROOMY_FACTOR * count));
}

/* Whether chunks far apart may be made accessible: not where the kernel charges for all that could
 * be written. */
static bool chunk_may_spread(emmai_control *control)
{
    if (control->overcommits == EMMAI_UNKNOWN)
        control->overcommits = emmai_os_overcommits() ? EMMAI_YES : EMMAI_NO;
    return control->overcommits == EMMAI_YES;
}

/* Takes free chunks in a row for a run of `bytes`, the first at a multiple of `alignment` bytes (a
 * power of two), with much room behind if `roomy` and there is. Its pages are counted; the caller
 * notes them in the entries. Returns as emmai_chunk_take_slab. */
static size_t emmai_chunk_take_run(emma *instance, size_t bytes, size_t alignment, bool roomy)
{
    size_t none = instance->chunk_count;
    size_t count = emmai_chunks_of(bytes);
    size_t chunk = none;
    if (roomy && count >= ROOMY_MIN_CHUNKS && chunk_may_spread(instance->control))
        chunk = chunk_roomy(instance, count);
    if (chunk != none && chunk_claim(instance, chunk, count, chunk, bytes))
        return chunk;
    chunk = alignment == EMMAI_CHUNK_BYTES ? chunk_retained(instance, count) : 0;
    if (!chunk)
        chunk = map_fit(instance, instance->run_zone, count, alignment);
    if (chunk != none && chunk_claim(instance, chunk, count, chunk, bytes))
        return chunk;
    chunk = map_fit(instance, instance->low_hint, count, alignment);
    return chunk != none && chunk_claim(instance, chunk, count, chunk, bytes) ? chunk : 0;
}

/* Takes just these chunks, behind the run at chunk `run`, if they are free, so that it can be of
 * `run_bytes`; otherwise as emmai_chunk_take_run. */
static bool emmai_chunk_extend(emma *instance, size_t chunk, size_t count, size_t run,
                               size_t run_bytes)
{
    if (count > instance->chunk_count - chunk ||
        chunk_find_used(instance, chunk, chunk + count) - chunk < count)
        return false;
    return chunk_claim(instance, chunk, count, run, run_bytes);
}

/* Gives what stayed free for a whole period back to the kernel. */
static void chunk_decay(emma *instance)
{
    emmai_control *control = instance->control;
    if (--control->decay_countdown)
        return;
    control->decay_countdown = EMMAI_DECAY_RELEASES;
    uint64_t now = emmai_os_now_ms();
    if (now - control->decay_ms < EMMAI_DECAY_PERIOD_MS)
        return;
    control->decay_ms = now;
    emmai_chunk_purge(instance, control->retained_low_pages);
    control->retained_low_pages = control->retained_pages;
}

/* Makes chunks free; their memory stays with them. */
static void emmai_chunk_release(emma *instance, size_t chunk, size_t count)
{
    for (size_t i = chunk; i < chunk + count; i++) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i);
        uint16_t resident = entry->resident;
        emmai_arch_zero(entry, sizeof *entry);
        entry->resident = resident;
    }
    chunk_list_retained(instance, chunk, count);
    emmai_bits_clear(instance->chunk_map, chunk, count);
    instance->low_hint = (uint32_t)emmai_min(instance->low_hint, chunk);
    chunk_decay(instance);
}

/* Counts the chunk's pages up to `pages` into the footprint before they are used. */
static bool emmai_chunk_account(emma *instance, size_t chunk, size_t pages)
{
    emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    size_t before = entry->resident;
    if (pages <= before)
        return true;
    if (!emmai_footprint_take(instance, pages - before))
        return false;
    size_t squeezed = before - entry->resident; /* out of this very chunk, to make room */
    if (EMMAI_UNLIKELY(squeezed) && !emmai_footprint_take(instance, squeezed)) {
        emmai_footprint_give(instance, pages - before);
        return false;
    }
    entry->resident = (uint16_t)pages;
    return true;
}

/* A free of what lies in a chunk that was never used has written its entry, on a page that may not
 * be counted (I5): that page is nobody's, and goes back. */
static void emmai_chunk_forget_entry(emma *instance, const emmai_slab *entry)
{
    size_t page = metadata_page(instance, entry);
    if (page < metadata_page(instance, emmai_origin(instance)) &&
        !emmai_bits_get(instance->page_map, page))
        emmai_os_purge((char *)instance->page_map + (page << EMMAI_PAGE_SHIFT), EMMAI_PAGE_BYTES);
}
