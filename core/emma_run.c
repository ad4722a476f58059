/* emma_run.c - large blocks: contiguous chunks of their own, taken into use by the page.
 *
 * A run grows in place while the chunks behind it are free; one that grew and had to move goes
 * where it has most room, so that few bytes are ever copied. Its first chunk's entry is RUN, the
 * others' are BODY; all have `plain_frees` 0, so a free of any of them leaves the fast path (I1).
 */
#include "emma_internal.h"

static size_t emmai_run_chunks(const emmai_slab *run)
{
    return emmai_chunks_of(run->run_bytes);
}

/* Pages of the i-th chunk of a run that its first `bytes` need. */
static size_t run_chunk_pages(size_t bytes, size_t i)
{
    size_t before = i << EMMA_CHUNK_SHIFT;
    return bytes > before ? emmai_pages_of(emmai_min(bytes - before, EMMAI_CHUNK_BYTES)) : 0;
}

/* Pages that a run of `bytes` at chunk `run` needs and that are not in use, of the chunks from
 * `from` on. */
static size_t emmai_run_missing(const emma *instance, size_t run, size_t bytes, size_t from)
{
    size_t missing = 0;
    for (size_t i = from - run; i < emmai_chunks_of(bytes); i++) {
        size_t wanted = run_chunk_pages(bytes, i);
        size_t resident = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)(run + i)));
        missing += wanted > resident ? wanted - resident : 0;
    }
    return missing;
}

/* Notes those pages in the entries, once they are counted. */
static void run_note_pages(const emma *instance, size_t run, size_t bytes, size_t from)
{
    for (size_t i = from - run; i < emmai_chunks_of(bytes); i++) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)(run + i));
        size_t pages = emmai_max(emmai_chunk_resident(entry), run_chunk_pages(bytes, i));
        emmai_chunk_set_resident(entry, pages);
    }
}

/* Zeroes the pages of a run to be that were in use before; the others are zero (I5), unless what is there is an
 * image's (C2). */
static void run_zero(const emma *instance, size_t run, size_t bytes)
{
    bool all = emmai_image_exists(instance) || EMMA_ZERO_ON_FREE;
    emmai_watch_pause();
    for (size_t i = 0; i < emmai_chunks_of(bytes); i++) {
        size_t resident = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)(run + i)));
        size_t wanted = run_chunk_pages(bytes, i);
        size_t dirty = all ? wanted : emmai_min(resident, wanted);
        emmai_arch_zero(emmai_chunk_start(instance, run + i), dirty << EMMAI_PAGE_SHIFT);
    }
    emmai_watch_resume();
}

/* Makes a run of `bytes` of a chunk that the heap holds; 0 when there is none, or no memory for it. */
static size_t run_take_held(emma *instance, emmai_heap *heap, size_t bytes)
{
    size_t chunk = emmai_held_take(instance, heap);
    if (!chunk)
        return 0;
    if (!emmai_chunk_make_run(instance, chunk, bytes)) {
        emmai_held_give(instance, heap, chunk);
        return 0;
    }
    return chunk;
}

/* Makes what the last chunk has behind a run of `bytes` guards, unless it counts. */
static void run_guard(const emma *instance, size_t run, size_t bytes)
{
    size_t last = emmai_chunks_of(bytes) - 1;
    size_t resident = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)(run + last)));
    size_t pages = emmai_max(run_chunk_pages(bytes, last), resident);
    if (pages < EMMAI_CHUNK_PAGES)
        emmai_guard_chunk(instance, run + last, pages);
}

/* Allocates a large block at a multiple of `alignment`; NULL when the region, the limit or the
 * kernel refuses. */
static void *emmai_run_malloc(emma *instance, emmai_heap *heap, size_t bytes, size_t alignment,
                              unsigned flags)
{
    if (bytes > instance->region_bytes || alignment > instance->region_bytes)
        return NULL;
    bytes = emmai_round_up(emmai_max(bytes, 1), EMMAI_CLASS_STEP_BYTES);
    alignment = emmai_max(alignment, EMMAI_CHUNK_BYTES);
    bool roomy = flags & EMMAI_RUN_ROOM;
    bool may_be_held =
        instance->shared && !EMMA_DELAYED_REUSE && bytes <= EMMAI_SLAB_BYTES && !roomy;
    size_t chunk =
        may_be_held && alignment == EMMAI_CHUNK_BYTES ? run_take_held(instance, heap, bytes) : 0;
    if (!chunk)
        chunk = emmai_chunk_take_run(instance, bytes, alignment, roomy);
    if (!chunk)
        return NULL;
    if (!emmai_guard_lift(instance, chunk, 0, emmai_pages_of(bytes))) {
        emmai_footprint_give(instance, emmai_run_missing(instance, chunk, bytes, chunk));
        emmai_chunk_release(instance, chunk, emmai_chunks_of(bytes));
        return NULL;
    }
    run_guard(instance, chunk, bytes);
    if (flags & EMMAI_RUN_ZERO || EMMA_ZERO_ON_FREE || emmai_image_is_left(instance))
        run_zero(instance, chunk, bytes);
    run_note_pages(instance, chunk, bytes, chunk);
    emmai_huge_try(instance, emmai_slab_of_id(instance, (ptrdiff_t)chunk), 0);
    return emmai_chunk_start(instance, chunk);
}

/* `heap` is the one that the caller is inside; NULL: none. */
static void emmai_run_free(emma *instance, emmai_heap *heap, emmai_slab *run)
{
    size_t chunk = (size_t)emmai_id_of_slab(instance, run);
    size_t count = emmai_run_chunks(run);
    emmai_huge_withdraw(instance, run);
    if (emmai_guard_exists(instance))
        emmai_chunk_discard(instance, chunk, count);
    if (instance->shared && !EMMA_DELAYED_REUSE && heap && count == 1)
        emmai_held_give(instance, heap, chunk);
    else
        emmai_chunk_release(instance, chunk, count);
}

/* Zeroes pages that a run grows into, where what they had from earlier uses, or an image has there (C2), is to be
 * gone. */
static void run_hide_image(const emma *instance, size_t run, size_t first_page, size_t pages)
{
    bool shows = EMMA_ZERO_ON_FREE || emmai_image_is_left(instance);
    char *start = emmai_chunk_start(instance, run) + (first_page << EMMAI_PAGE_SHIFT);
    if (shows)
        emmai_arch_zero(start, pages << EMMAI_PAGE_SHIFT);
}

/* Takes the pages for a longer run; false, with nothing changed, when the chunks behind are not
 * free or memory is refused. */
static bool run_grow(emma *instance, emmai_slab *run, size_t chunk, size_t bytes)
{
    size_t old_bytes = run->run_bytes;
    size_t end = chunk + emmai_run_chunks(run);
    size_t more = chunk + emmai_chunks_of(bytes) - end;
    if (!emmai_chunk_extend(instance, end, more, chunk, bytes))
        return false;
    size_t present = emmai_pages_of(old_bytes);
    size_t added = emmai_pages_of(bytes) - present;
    if (!emmai_guard_lift(instance, chunk, present, added)) {
        emmai_footprint_give(instance, emmai_run_missing(instance, chunk, bytes, end - 1));
        emmai_chunk_release(instance, end, more);
        return false;
    }
    run_hide_image(instance, chunk, present, added);
    run->run_bytes = bytes;
    run_note_pages(instance, chunk, bytes, end - 1);
    run_guard(instance, chunk, bytes);
    if (more)
        emmai_huge_try(instance, run, old_bytes);
    return true;
}

/* Gives back what the last chunks of a run have behind its `bytes`. */
static void run_purge_rest(emma *instance, size_t run, size_t bytes)
{
    for (size_t i = bytes >> EMMA_CHUNK_SHIFT; i < emmai_chunks_of(bytes); i++)
        emmai_chunk_cut(instance, run + i, run_chunk_pages(bytes, i) << EMMAI_PAGE_SHIFT);
}

/* Wipes the rest of the page that a run of `bytes` ends on. */
static void run_wipe_rest(const emma *instance, size_t run, size_t bytes)
{
    char *start = emmai_chunk_start(instance, run);
    emmai_hardened_wipe(start + bytes, emmai_round_up(bytes, EMMAI_PAGE_BYTES) - bytes);
}

static void run_shrink(emma *instance, emmai_slab *run, size_t chunk, size_t bytes)
{
    size_t old_count = emmai_run_chunks(run);
    size_t new_count = emmai_chunks_of(bytes);
    emmai_huge_shrink(instance, run, bytes);
    run_wipe_rest(instance, chunk, bytes);
    if (emmai_guard_exists(instance)) {
        emmai_chunk_discard(instance, chunk + new_count, old_count - new_count);
        run_purge_rest(instance, chunk, bytes);
    }
    if (new_count < old_count)
        emmai_chunk_release(instance, chunk + new_count, old_count - new_count);
}

/* Changes a run's bytes in place; false, with nothing changed, when it cannot grow there. Shrinking
 * always succeeds. */
static bool emmai_run_resize(emma *instance, emmai_slab *run, size_t bytes)
{
    size_t chunk = (size_t)emmai_id_of_slab(instance, run);
    bytes = emmai_round_up(bytes, EMMAI_CLASS_STEP_BYTES);
    if (bytes > run->run_bytes)
        return run_grow(instance, run, chunk, bytes);
    run_shrink(instance, run, chunk, bytes);
    return true;
}
