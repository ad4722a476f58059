/* emma_chunk.c - the region's chunks: which are free, which are accessible, which keep memory.
 *
 * Slabs take the lowest free chunk, so a heap that shrinks empties the region from above. Runs are looked for from
 * run_zone on, where they find room to grow in place; either goes to the other's side when its own is full. A chunk's
 * resident pages are a prefix of it; a FREE chunk keeps them until it is used again or purged. */
#include "emma_internal.h"

#define MAP_WORD_BITS 64

/* ---- the map ---- */

static void map_set(emma *instance, size_t chunk, size_t count)
{
    for (size_t i = chunk; i < chunk + count; i++)
        instance->chunk_map[i / MAP_WORD_BITS] |= (uint64_t)1 << (i % MAP_WORD_BITS);
}

static void map_clear(emma *instance, size_t chunk, size_t count)
{
    for (size_t i = chunk; i < chunk + count; i++)
        instance->chunk_map[i / MAP_WORD_BITS] &= ~((uint64_t)1 << (i % MAP_WORD_BITS));
}

/* The first chunk from `chunk` on whose bit differs from `skip`'s; chunk_count if none. */
static size_t map_find(const emma *instance, size_t chunk, bool skip_used)
{
    size_t count = instance->chunk_count;
    if (chunk >= count)
        return count;
    size_t word = chunk / MAP_WORD_BITS;
    uint64_t invert = skip_used ? ~(uint64_t)0 : 0;
    uint64_t bits = (instance->chunk_map[word] ^ invert) & (~(uint64_t)0 << (chunk % MAP_WORD_BITS));
    while (!bits) {
        if (++word * MAP_WORD_BITS >= count)
            return count;
        bits = instance->chunk_map[word] ^ invert;
    }
    return emmai_min(word * MAP_WORD_BITS + (size_t)__builtin_ctzll(bits), count);
}

static size_t emmai_chunk_next_used(const emma *instance, size_t chunk)
{
    return map_find(instance, chunk, false);
}

/* The first `count` free chunks in a row from `from` on, starting at a multiple of `alignment` bytes; chunk_count if none. */
static size_t map_fit(const emma *instance, size_t from, size_t count, size_t alignment)
{
    size_t chunk = from;
    for (;;) {
        chunk = map_find(instance, chunk, true);
        uintptr_t start = (uintptr_t)emmai_chunk_start(instance, chunk);
        chunk += (emmai_round_up(start, alignment) - start) >> EMMA_CHUNK_SHIFT;
        if (chunk >= instance->chunk_count || count > instance->chunk_count - chunk)
            return instance->chunk_count;
        size_t end = emmai_chunk_next_used(instance, chunk);
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
    return end <= zone || extent_grow(instance, &control->run_committed, end, instance->chunk_count);
}

/* ---- metadata that chunks bring along: pages of entries and of the map ---- */

static size_t entry_page(size_t chunk)
{
    return chunk < EMMAI_HEAD_ENTRIES ? 0 : 1 + (chunk - EMMAI_HEAD_ENTRIES) / EMMAI_ENTRIES_PER_PAGE;
}

/* Pages of metadata beside page 0 when chunks below low_end and from run_zone to run_end have been used. */
static size_t emmai_chunk_metadata_pages(const emma *instance, size_t low_end, size_t run_end)
{
    size_t zone = instance->run_zone;
    size_t low_page = entry_page(low_end - 1);
    size_t pages = low_page;
    if (run_end > zone)
        pages += entry_page(run_end - 1) - emmai_max(entry_page(zone) - 1, low_page);
    if (low_end > 1 || run_end > zone)
        pages += emmai_round_up(instance->chunk_count / 8 + 1, EMMAI_PAGE_BYTES) / EMMAI_PAGE_BYTES;
    return pages;
}

/* Counts the metadata for chunks up to `end`; false when the limit does not allow it. */
static bool chunk_cover(emma *instance, size_t chunk, size_t count)
{
    emmai_control *control = instance->control;
    size_t end = chunk + count;
    size_t zone = instance->run_zone;
    size_t low_end = chunk < zone ? emmai_max(control->low_end, emmai_min(end, zone)) : control->low_end;
    size_t run_end = end > zone ? emmai_max(control->run_end, end) : control->run_end;
    size_t pages = 1 + emmai_chunk_metadata_pages(instance, low_end, run_end);
    if (pages > control->metadata_pages) {
        if (!emmai_footprint_take(instance, pages - control->metadata_pages))
            return false;
        control->metadata_pages = pages;
    }
    control->low_end = (uint32_t)low_end;
    control->run_end = (uint32_t)run_end;
    return true;
}

/* ---- taking and giving back ---- */

/* Makes free chunks used: the first of this kind, the others BODY. */
static bool chunk_claim(emma *instance, size_t chunk, size_t count, enum emmai_kind kind)
{
    if (!chunk_commit(instance, chunk, count) || !chunk_cover(instance, chunk, count))
        return false;
    emmai_control *control = instance->control;
    map_set(instance, chunk, count);
    for (size_t i = chunk; i < chunk + count; i++) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i);
        entry->kind = (uint8_t)(i == chunk ? kind : EMMAI_BODY);
        control->retained_pages -= entry->resident;
    }
    control->retained_low_pages = emmai_min(control->retained_low_pages, control->retained_pages);
    return true;
}

/* Takes the lowest free chunk for a slab. Returns its index, or 0 when there is none or the kernel or the limit refuses. */
static size_t emmai_chunk_take_slab(emma *instance)
{
    size_t chunk = map_find(instance, instance->low_hint, true);
    if (chunk == instance->chunk_count || !chunk_claim(instance, chunk, 1, EMMAI_SLAB))
        return 0;
    instance->low_hint = (uint32_t)chunk + 1;
    return chunk;
}

/* Takes `count` free chunks in a row for a run, the first at a multiple of `alignment` bytes (a power of two), with `room` more
 * left free behind where that is to be had. Returns as emmai_chunk_take_slab. */
static size_t emmai_chunk_take_run(emma *instance, size_t count, size_t alignment, size_t room)
{
    size_t none = instance->chunk_count;
    size_t chunk = map_fit(instance, instance->run_zone, count + room, alignment);
    if (chunk == none && room)
        chunk = map_fit(instance, instance->run_zone, count, alignment);
    if (chunk == none)
        chunk = map_fit(instance, instance->low_hint, count, alignment);
    if (chunk == none || !chunk_claim(instance, chunk, count, EMMAI_RUN))
        return 0;
    return chunk;
}

/* Takes just these chunks, as BODY of the run before them, if they are free. */
static bool emmai_chunk_extend(emma *instance, size_t chunk, size_t count)
{
    if (count > instance->chunk_count - chunk || emmai_chunk_next_used(instance, chunk) - chunk < count)
        return false;
    return chunk_claim(instance, chunk, count, EMMAI_BODY);
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
        instance->control->retained_pages += resident;
    }
    map_clear(instance, chunk, count);
    instance->low_hint = (uint32_t)emmai_min(instance->low_hint, chunk);
    chunk_decay(instance);
}

/* Counts the chunk's pages up to `pages` into the footprint before they are used. */
static bool emmai_chunk_touch(emma *instance, size_t chunk, size_t pages)
{
    emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    if (pages <= entry->resident)
        return true;
    if (!emmai_footprint_take(instance, pages - entry->resident))
        return false;
    entry->resident = (uint16_t)pages;
    return true;
}

/* ---- purging ---- */

/* Purges the free chunks in a row that end with `last`, as many as keep memory; returns the pages given back. */
static size_t purge_row(emma *instance, size_t last, size_t bound)
{
    size_t first = last;
    size_t pages = 0;
    size_t tail = emmai_slab_of_id(instance, (ptrdiff_t)last)->resident;
    for (size_t i = last; i > 0; i--) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i);
        if (entry->kind != EMMAI_FREE || !entry->resident || pages >= bound)
            break;
        pages += entry->resident;
        first = i;
    }
    size_t bytes = ((last - first) << EMMA_CHUNK_SHIFT) + (tail << EMMAI_PAGE_SHIFT);
    if (!emmai_os_purge(emmai_chunk_start(instance, first), bytes))
        return 0;
    for (size_t i = first; i <= last; i++)
        emmai_slab_of_id(instance, (ptrdiff_t)i)->resident = 0;
    return pages;
}

/* Purges free chunks below `end` and not below `start`, from above, until `wanted` pages are given back. */
static size_t purge_zone(emma *instance, size_t start, size_t end, size_t wanted)
{
    size_t done = 0;
    for (size_t i = end; i > start && done < wanted; i--) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i - 1);
        if (entry->kind == EMMAI_FREE && entry->resident)
            done += purge_row(instance, i - 1, wanted - done);
    }
    return done;
}

/* Gives at least `pages` pages of free chunks back to the kernel, or all there are; returns how many. */
static size_t emmai_chunk_purge(emma *instance, size_t pages)
{
    emmai_control *control = instance->control;
    size_t wanted = emmai_min(pages, control->retained_pages);
    if (!wanted)
        return 0;
    size_t done = purge_zone(instance, instance->run_zone, control->run_end, wanted);
    if (done < wanted)
        done += purge_zone(instance, 1, control->low_end, wanted - done);
    control->retained_pages -= done;
    control->retained_low_pages = emmai_min(control->retained_low_pages, control->retained_pages);
    control->returned_bytes += done << EMMAI_PAGE_SHIFT;
    emmai_footprint_give(instance, done);
    return done;
}
