/* emma_chunk.c - the region's chunks: made accessible, counted, taken and given back.
 *
 * A chunk's resident pages are a prefix of it; a FREE chunk keeps them until it is used again or
 * purged. emma_place.c tells which chunks to take.
 *
 * In a shared instance any thread takes chunks at any time. Whoever sets a chunk's bit in the chunk
 * map owns it and its entry until clearing the bit again; what was found free may be another's when
 * it is claimed, and then the search starts again. A thread that stops in between leaves chunks
 * that nobody uses: lost, and counted. */
#include "emma_internal.h"

/* ---- access ---- */

/* Whether a chunk was made accessible; it stays so (I7). */
static bool emmai_chunk_is_accessible(const emma *instance, size_t chunk)
{
    const emmai_control *control = instance->control;
    return chunk < emmai_sync_get(&control->low_committed) ||
           (chunk >= instance->run_zone && chunk < emmai_sync_get(&control->run_committed));
}

/* Makes an extent of chunks that starts at `first` accessible up to `end`, and some more up to `bound`.
 * Threads that do so at once make some of it accessible twice. */
static bool extent_grow(emma *instance, uint32_t *committed, size_t first, size_t end, size_t bound)
{
    size_t from = emmai_sync_get(committed);
    if (end <= from)
        return true;
    char *start = emmai_chunk_start(instance, from);
    size_t least = end - from;
    /* What is without access needs no guards. */
    size_t ahead = EMMA_GUARD_PAGES ? 0 : (from - first) / 4;
    size_t step = emmai_max(EMMAI_COMMIT_STEP_BYTES >> EMMA_CHUNK_SHIFT, ahead);
    step = emmai_min(emmai_max(step, least), bound - from);
    if (!emmai_os_commit(start, step << EMMA_CHUNK_SHIFT)) {
        step = least;
        if (!emmai_os_commit(start, step << EMMA_CHUNK_SHIFT))
            return false;
    }
    emmai_sync_raise(committed, from + step);
    return true;
}

/* Makes chunks accessible (I7). */
static bool chunk_commit(emma *instance, size_t chunk, size_t count)
{
    emmai_control *control = instance->control;
    size_t end = chunk + count;
    size_t zone = instance->run_zone;
    if (chunk < zone &&
        !extent_grow(instance, &control->low_committed, 0, emmai_min(end, zone), zone))
        return false;
    return end <= zone ||
           extent_grow(instance, &control->run_committed, zone, end, instance->chunk_count);
}

/* ---- counting ---- */

/* Pages to be counted before these free chunks become part of the run of `run_bytes` at chunk `run`:
 * their metadata, and what the run is missing from the chunk before them on. 0 bytes: of a slab,
 * whose pages count as they are carved. */
static size_t chunk_uncounted(emma *instance, size_t chunk, size_t count, size_t run,
                              size_t run_bytes)
{
    return emmai_metadata_uncounted(instance, chunk, count) +
           emmai_metadata_marks_uncounted(instance, chunk, count) +
           emmai_run_missing(instance, run, run_bytes, emmai_max(run, chunk - 1));
}

/* Counts those pages, all or none, into *taken. More than once, since to make room for them pages
 * of the run itself may have been given back. */
static bool chunk_count_pages(emma *instance, size_t chunk, size_t count, size_t run,
                              size_t run_bytes, size_t *taken)
{
    size_t needed;
    *taken = 0;
    while ((needed = chunk_uncounted(instance, chunk, count, run, run_bytes)) > *taken) {
        if (!emmai_footprint_take(instance, needed - *taken)) {
            emmai_footprint_give(instance, *taken);
            return false;
        }
        *taken = needed;
    }
    return true;
}

/* ---- taking and giving back ---- */

/* Moves the bounds of searches so that these chunks are within. */
static void chunk_note_end(emma *instance, size_t chunk, size_t count)
{
    size_t end = chunk + count;
    size_t zone = instance->run_zone;
    if (chunk < zone)
        emmai_sync_raise(&instance->low_end, emmai_min(end, zone));
    if (end > zone)
        emmai_sync_raise(&instance->run_end, end);
}

static size_t chunk_resident(const emma *instance, size_t chunk)
{
    return emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)chunk));
}

/* Lists chunks among those that keep memory, if they do; their bits are in one word of the map. */
static void chunk_list_word(emma *instance, size_t chunk, size_t end)
{
    size_t *retained = &instance->control->retained_pages;
    size_t pages = 0;
    uint64_t keeping = 0;
    for (size_t i = chunk; i < end; i++) {
        size_t resident = chunk_resident(instance, i);
        pages += resident;
        keeping |= (uint64_t)(resident != 0) << (i - chunk);
    }
    if (!keeping)
        return;
    emmai_sync_add(retained, pages); /* first: never too few */
    uint64_t listed = emmai_bits_add(instance->retained_map, chunk, keeping);
    for (; listed; listed &= listed - 1) /* By chance in tests: a lost thread had listed them. */
        emmai_sync_sub(retained, chunk_resident(instance, chunk + (size_t)__builtin_ctzll(listed)));
}

static void chunk_list_retained(emma *instance, size_t chunk, size_t count)
{
    size_t end = chunk + count;
    for (size_t next; chunk < end; chunk = next) {
        next = emmai_bits_next(chunk, end);
        chunk_list_word(instance, chunk, next);
    }
}

/* Takes them off that list, so that what they keep is not given back. */
static void chunk_unlist_retained(emma *instance, size_t chunk, size_t count)
{
    emmai_control *control = instance->control;
    size_t pages = 0;
    for (size_t i = chunk; i < chunk + count; i++)
        pages += chunk_resident(instance, i);
    if (!pages)
        return;
    emmai_bits_clear(instance->retained_map, chunk, count);
    emmai_sync_sub(&control->retained_pages, pages);
    emmai_sync_lower_size(&control->retained_low_pages, emmai_sync_get(&control->retained_pages));
}

static void chunk_unclaim(emma *instance, size_t chunk, size_t count)
{
    chunk_list_retained(instance, chunk, count);
    emmai_bits_clear(instance->chunk_map, chunk, count);
    if (chunk < instance->run_zone)
        emmai_sync_lower(&instance->low_hint, chunk);
}

/* How taking chunks ended. */
enum chunk_result { CHUNK_TAKEN, CHUNK_LOST, CHUNK_REFUSED };

/* Claims chunks that are free, as it seemed, to become part of the run of `run_bytes` at chunk `run`,
 * or a slab (0 bytes): counts what chunk_uncounted tells and makes them accessible. Otherwise nothing
 * changes: CHUNK_LOST, another thread was faster; CHUNK_REFUSED, by the limit or the kernel. Pages count
 * before a bit is set, as the map's may be among them, and again after: others could give some back. */
static enum chunk_result chunk_claim(emma *instance, size_t chunk, size_t count, size_t run,
                                     size_t run_bytes)
{
    size_t taken;
    if (!chunk_count_pages(instance, chunk, count, run, run_bytes, &taken))
        return CHUNK_REFUSED;
    if (!chunk_commit(instance, chunk, count)) {
        emmai_footprint_give(instance, taken);
        return CHUNK_REFUSED;
    }
    taken -= emmai_metadata_count(instance, chunk, count);
    chunk_note_end(instance, chunk, count); /* first: searches must see what is claimed */
    /* By chance in tests: another thread takes them. */
    if (!emmai_bits_claim(instance->chunk_map, chunk, count)) {
        emmai_footprint_give(instance, taken);
        return CHUNK_LOST;
    }
    chunk_unlist_retained(instance, chunk, count);
    size_t of_run = emmai_run_missing(instance, run, run_bytes, emmai_max(run, chunk - 1));
    size_t missing = of_run + emmai_metadata_marks_uncounted(instance, chunk, count);
    /* By chance in tests: another thread gave pages back since they were counted. */
    if (missing > taken && !emmai_footprint_take(instance, missing - taken)) {
        emmai_footprint_give(instance, taken);
        chunk_unclaim(instance, chunk, count);
        return CHUNK_REFUSED;
    }
    size_t used = of_run + emmai_metadata_count_marks(instance, chunk, count);
    emmai_footprint_give(instance, emmai_max(taken, missing) - used);
    emmai_watch_claimed(instance, chunk, count);
    return CHUNK_TAKEN;
}

/* Claims free chunks and says what for. */
static enum chunk_result chunk_use(emma *instance, size_t chunk, size_t count, size_t run,
                                   size_t run_bytes)
{
    enum chunk_result result = chunk_claim(instance, chunk, count, run, run_bytes);
    for (size_t i = chunk; result == CHUNK_TAKEN && i < chunk + count; i++) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i);
        if (run_bytes)
            emmai_entry_begin_run(instance, entry, i == run ? run_bytes : 0);
        else
            emmai_sync_set(&entry->kind, (uint8_t)EMMAI_SLAB);
    }
    return result;
}

/* Makes a held chunk a run; false when the limit refuses its pages, which the caller then notes. */
static bool emmai_chunk_make_run(emma *instance, size_t chunk, size_t run_bytes)
{
    size_t missing = emmai_run_missing(instance, chunk, run_bytes, chunk);
    if (missing && !emmai_footprint_take(instance, missing))
        return false;
    emmai_entry_begin_run(instance, emmai_slab_of_id(instance, (ptrdiff_t)chunk), run_bytes);
    return true;
}

/* Claims free chunks all of whose pages will be in use though the chunks are free: a huge page's. */
static bool emmai_chunk_claim_whole(emma *instance, size_t chunk, size_t count)
{
    return chunk_claim(instance, chunk, count, chunk, count << EMMA_CHUNK_SHIFT) == CHUNK_TAKEN;
}

/* Whether to look again where the region is full: from the start on, since a chunk may have become free when
 * the hint was moved behind it; at last when what threads that are gone left was taken back, once. */
static bool chunk_look_again(emma *instance, uint32_t hint, bool *reclaimed)
{
    if (!instance->shared || (hint <= EMMAI_YOUNG_CHUNKS && *reclaimed))
        return false;
    *reclaimed |= hint <= EMMAI_YOUNG_CHUNKS;
    if (hint <= EMMAI_YOUNG_CHUNKS)
        emmai_adopt_reclaim(instance);
    emmai_sync_lower(&instance->low_hint, EMMAI_YOUNG_CHUNKS);
    return true;
}

/* Takes a chunk for a slab, one that keeps memory if there is one, else the lowest. Returns its
 * index, or 0 when there is none or the kernel or the limit refuses. */
static size_t emmai_chunk_take_slab(emma *instance)
{
    bool reclaimed = false;
    for (;;) {
        uint32_t hint = emmai_sync_get(&instance->low_hint);
        size_t retained = emmai_place_retained(instance, 1);
        size_t chunk = retained ? retained : emmai_place_next_free(instance, hint);
        if (chunk == instance->chunk_count && chunk_look_again(instance, hint, &reclaimed))
            continue;
        if (chunk == instance->chunk_count)
            return 0;
        if (!retained)
            emmai_huge_prepare(instance, chunk);
        enum chunk_result result = chunk_use(instance, chunk, 1, chunk, 0);
        if (result == CHUNK_REFUSED)
            return 0;
        if (result == CHUNK_LOST) /* By chance in tests: see chunk_claim. */
            continue;
        if (!retained) /* what becomes free in the zone of runs does not lower it */
            emmai_sync_replace(&instance->low_hint, &hint,
                               (uint32_t)emmai_min(chunk + 1, instance->run_zone));
        if (!chunk_resident(instance, chunk)) /* else the others are guards still */
            emmai_guard_chunk(instance, chunk, 0);
        return chunk;
    }
}

/* Keeps a chunk for the heap that used it. */
static void emmai_chunk_hold(emma *instance, size_t chunk)
{
    emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    emmai_entry_clear(entry);
    entry->kind = EMMAI_HEAP;
}

/* chunk_use for a run of its own; refused where there is no such chunk. */
static enum chunk_result run_use(emma *instance, size_t chunk, size_t count, size_t bytes)
{
    bool exists = chunk != instance->chunk_count;
    return exists ? chunk_use(instance, chunk, count, chunk, bytes) : CHUNK_REFUSED;
}

/* Takes free chunks in a row for a run of `bytes`, the first at a multiple of `alignment` bytes (a
 * power of two), with much room behind if `roomy` and there is. Its pages are counted; the caller
 * notes them in the entries. Returns as emmai_chunk_take_slab. */
static size_t emmai_chunk_take_run(emma *instance, size_t bytes, size_t alignment, bool roomy)
{
    size_t none = instance->chunk_count;
    size_t count = emmai_chunks_of(bytes);
    enum chunk_result result;
    bool reclaimed = false;
    do {
        size_t chunk = roomy ? emmai_place_roomy(instance, count) : none;
        result = run_use(instance, chunk, count, bytes);
        if (result == CHUNK_REFUSED) {
            bool near = alignment == EMMAI_CHUNK_BYTES && !EMMA_DELAYED_REUSE;
            chunk = near ? emmai_place_retained(instance, count) : 0;
            if (!chunk)
                chunk = emmai_place_run(instance, count, alignment);
            result = run_use(instance, chunk, count, bytes);
        }
        if (result == CHUNK_REFUSED) {
            uint32_t hint = emmai_sync_get(&instance->low_hint);
            chunk = emmai_place_fit(instance, hint, count, alignment);
            result = run_use(instance, chunk, count, bytes);
            if (chunk == none && count < none && chunk_look_again(instance, hint, &reclaimed))
                result = CHUNK_LOST;
        }
        if (result == CHUNK_TAKEN)
            return chunk;
    } while (result == CHUNK_LOST);
    return 0;
}

/* Takes just these chunks, behind the run at chunk `run`, if they are free, so that it can be of
 * `run_bytes`; otherwise as emmai_chunk_take_run. */
static bool emmai_chunk_extend(emma *instance, size_t chunk, size_t count, size_t run,
                               size_t run_bytes)
{
    if (count > instance->chunk_count - chunk ||
        place_find(instance, instance->chunk_map, chunk, chunk + count) - chunk < count)
        return false;
    return chunk_use(instance, chunk, count, run, run_bytes) == CHUNK_TAKEN;
}

/* Gives what stayed free for a whole period back to the kernel. In a shared instance other heaps are entered,
 * and emptied, and chunks released: the caller leaves its own in a state that does not mind. */
static void chunk_decay(emma *instance)
{
    emmai_control *control = instance->control;
    if (__atomic_add_fetch(&control->releases, 1, __ATOMIC_RELAXED) % EMMAI_DECAY_RELEASES)
        return;
    uint64_t start = emmai_sync_get(&control->decay_start_ms);
    uint64_t now = emmai_os_now_ms();
    if ((int64_t)(now - start) < control->decay_ms ||
        /* By chance in tests: another thread was faster. */
        !__atomic_compare_exchange_n(&control->decay_start_ms, &start, now, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return;
    emmai_chunk_purge(instance, emmai_sync_get(&control->retained_low_pages));
    if (instance->shared)
        emmai_adopt_decay(instance);
    emmai_sync_set(&control->retained_low_pages, emmai_sync_get(&control->retained_pages));
}

/* Makes chunks free; their memory stays with them. */
static void emmai_chunk_release(emma *instance, size_t chunk, size_t count)
{
    for (size_t i = chunk; i < chunk + count; i++) {
        emmai_entry_tag(instance, emmai_slab_of_id(instance, (ptrdiff_t)i), 0, 0);
        emmai_entry_clear(emmai_slab_of_id(instance, (ptrdiff_t)i));
    }
    chunk_unclaim(instance, chunk, count);
    chunk_decay(instance);
}

/* Makes chunks free that were claimed whole and have all their pages now. */
static void emmai_chunk_retain(emma *instance, size_t chunk, size_t count)
{
    for (size_t i = chunk; i < chunk + count; i++)
        emmai_chunk_set_resident(emmai_slab_of_id(instance, (ptrdiff_t)i), EMMAI_CHUNK_PAGES);
    chunk_unclaim(instance, chunk, count);
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
    if (!emmai_guard_lift(instance, chunk, entry->resident, pages - entry->resident)) {
        emmai_footprint_give(instance, pages - entry->resident);
        return false;
    }
    emmai_chunk_set_resident(entry, pages);
    return true;
}

/* Takes a chunk for a heap of a shared instance, of whose memory the first `bytes` count. */
static size_t emmai_chunk_take_heap(emma *instance, size_t bytes)
{
    size_t chunk = emmai_chunk_take_slab(instance);
    if (!chunk)
        return 0;
    if (!emmai_chunk_account(instance, chunk, emmai_pages_of(bytes))) {
        emmai_chunk_release(instance, chunk, 1);
        return 0;
    }
    emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    emmai_entry_tag(instance, entry, 0, 0);
    entry->kind = EMMAI_HEAP;
    return chunk;
}
