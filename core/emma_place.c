/* emma_place.c - where chunks are looked for: which are free, which keep memory, where there is room.
 *
 * Nothing is changed here, and what is found free may be another thread's when it is claimed. What
 * keeps memory is used before what does not. Then slabs take the lowest free chunk, so a heap that
 * shrinks empties the region from above, and runs one from run_zone on, where they find room to
 * grow; either goes to the other's side when its own is full. */
#include "emma_internal.h"

/* ---- the map ---- */

/* The first chunk from `chunk` on, below `end`, that a map has; `end` if there is none. */
static size_t place_find(const emma *instance, const uint64_t *map, size_t chunk, size_t end)
{
    size_t low_bound = emmai_min(end, emmai_sync_get(&instance->low_end));
    size_t found = emmai_bits_find(map, chunk, low_bound, true);
    if (found < low_bound)
        return found;
    size_t start = emmai_max(chunk, instance->run_zone);
    size_t bound = emmai_min(end, emmai_sync_get(&instance->run_end));
    if (start >= bound)
        return end;
    found = emmai_bits_find(map, start, bound, true);
    return found < bound ? found : end;
}

static size_t emmai_place_next_used(const emma *instance, size_t chunk)
{
    return place_find(instance, instance->chunk_map, chunk, instance->chunk_count);
}

/* The first free chunk that keeps memory; chunk_count if there is none. */
static size_t emmai_place_next_kept(const emma *instance, size_t chunk)
{
    return place_find(instance, instance->retained_map, chunk, instance->chunk_count);
}

static size_t emmai_place_next_free(const emma *instance, size_t chunk)
{
    return emmai_bits_find(instance->chunk_map, chunk, instance->chunk_count, false);
}

/* The first `count` free chunks in a row from `from` on, starting at a multiple of `alignment`
 * bytes; chunk_count if none. */
static size_t emmai_place_fit(const emma *instance, size_t from, size_t count, size_t alignment)
{
    size_t chunk = from;
    for (;;) {
        chunk = emmai_place_next_free(instance, chunk);
        uintptr_t start = (uintptr_t)emmai_chunk_start(instance, chunk);
        chunk += (emmai_round_up(start, alignment) - start) >> EMMA_CHUNK_SHIFT;
        if (chunk >= instance->chunk_count || count > instance->chunk_count - chunk)
            return instance->chunk_count;
        size_t end = place_find(instance, instance->chunk_map, chunk, chunk + count);
        if (end - chunk >= count)
            return chunk;
        chunk = end;
    }
}

/* How far the place of the next run moves on, beyond twice what is in use, before it begins anew at the zone's
 * start. */
#define NEXT_CHUNKS ((64 * EMMAI_MIB) >> EMMA_CHUNK_SHIFT)

/* The first fit in the zone of runs; where reuse is to be late, behind the last one that was found. */
static size_t emmai_place_run(emma *instance, size_t count, size_t alignment)
{
    if (!EMMA_DELAYED_REUSE)
        return emmai_place_fit(instance, instance->run_zone, count, alignment);
    size_t next = emmai_sync_get(&instance->run_next);
    size_t chunk = emmai_place_fit(instance, next, count, alignment);
    size_t used = emmai_sync_get(&instance->control->footprint_pages) / EMMAI_CHUNK_PAGES;
    if (chunk + count > instance->run_zone + NEXT_CHUNKS + 2 * used)
        chunk = emmai_place_fit(instance, instance->run_zone, count, alignment);
    if (chunk < instance->chunk_count)
        emmai_sync_set(&instance->run_next, (uint32_t)(chunk + count));
    return chunk;
}

/* ---- what keeps memory ---- */

/* The first of `count` chunks in a row from `start` to `end` that are free and keep memory; `end`
 * if there are none. */
static size_t place_retained_fit(const emma *instance, size_t start, size_t end, size_t count)
{
    for (;;) {
        start = emmai_bits_find(instance->retained_map, start, end, true);
        if (end - start < count)
            return end;
        size_t gap = emmai_bits_find(instance->retained_map, start, start + count, false);
        size_t used = emmai_bits_find(instance->chunk_map, start, start + count, true);
        /* Used: by a thread that is just about to unlist it. By chance in tests: that. */
        if (gap == start + count && used == gap)
            return start;
        start = gap < used ? gap : used + 1; /* By chance in tests: the latter. */
    }
}

/* The same wherever in the region, near the lowest; 0 if there are none. */
static size_t emmai_place_retained(const emma *instance, size_t count)
{
    if (!emmai_sync_get(&instance->control->retained_pages))
        return 0;
    size_t end = emmai_sync_get(&instance->low_end);
    size_t chunk = place_retained_fit(instance, EMMAI_YOUNG_CHUNKS, end, count);
    if (chunk < end)
        return chunk;
    end = emmai_sync_get(&instance->run_end);
    chunk = place_retained_fit(instance, instance->run_zone, end, count);
    return chunk < end ? chunk : 0;
}

/* ---- room to grow ---- */

/* Behind the run before it, a run that has grown is placed this far off, or this many times its own
 * length. */
#define ROOMY_CHUNKS ((256 * EMMAI_MIB) >> EMMA_CHUNK_SHIFT)
#define ROOMY_FACTOR 8
/* Shorter ones are cheaper to copy than fresh pages are to take: they go where memory is kept. */
#define ROOMY_MIN_CHUNKS ((256 * EMMAI_KIB) >> EMMA_CHUNK_SHIFT)

/* Whether chunks far apart may be used: not where all between them would be charged, by the kernel for what could be
 * written, or for the image of a checkpoint. */
static bool place_may_spread(emmai_control *control)
{
    if (control->checkpoints)
        return false;
    if (emmai_sync_get(&control->overcommits) == EMMAI_UNKNOWN)
        emmai_sync_set(&control->overcommits, emmai_os_overcommits() ? EMMAI_YES : EMMAI_NO);
    return emmai_sync_get(&control->overcommits) == EMMAI_YES;
}

/* The first of these free chunks that keeps memory; `end` if none does. */
static size_t place_first_kept(const emma *instance, size_t chunk, size_t end)
{
    size_t bound = emmai_min(end, emmai_sync_get(&instance->run_end));
    size_t kept = emmai_bits_find(instance->retained_map, chunk, bound, true);
    return kept < bound ? kept : end;
}

/* Where a run of `count` chunks finds room to grow: where memory is kept, with several times its length
 * behind; at the start of a zone without runs; else well inside the longest free stretch. chunk_count
 * when no stretch is worth it. */
static size_t emmai_place_roomy(const emma *instance, size_t count)
{
    if (count < ROOMY_MIN_CHUNKS || !place_may_spread(instance->control))
        return instance->chunk_count;
    size_t start = instance->run_zone;
    size_t best = start;
    size_t best_length = 0;
    while (start < instance->chunk_count) {
        size_t end = emmai_place_next_used(instance, start);
        size_t kept = place_first_kept(instance, start, end);
        if (end - kept >= ROOMY_FACTOR * count)
            return kept;
        if (end - start > best_length) {
            best = start;
            best_length = end - start;
        }
        start = emmai_place_next_free(instance, end);
    }
    if (best_length / 4 < count)
        return instance->chunk_count;
    if (best_length == instance->chunk_count - instance->run_zone)
        return best;
    return best + emmai_min(best_length / 2, emmai_max(ROOMY_CHUNKS, ROOMY_FACTOR * count));
}
