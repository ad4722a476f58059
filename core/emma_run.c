/* emma_run.c - large blocks: contiguous chunks of their own, taken into use by the page.
 *
 * A run grows in place while the chunks behind it are free; one that grew and had to move goes
 * where it has most room, so that few bytes are ever copied. Its first chunk's entry is RUN, the
 * others' are BODY; all have `plain_frees` 0, so a free of any of them leaves the fast path (I1).
 */
#include "emma_internal.h"

static size_t bytes_chunks(size_t bytes)
{
    return emmai_round_up(bytes, EMMAI_CHUNK_BYTES) >> EMMA_CHUNK_SHIFT;
}

static size_t emmai_run_chunks(const emmai_slab *run)
{
    return bytes_chunks(run->run_bytes);
}

/* Pages of the i-th chunk of a run that its first `bytes` need. */
static size_t run_chunk_pages(size_t bytes, size_t i)
{
    size_t rest = emmai_min(bytes - (i << EMMA_CHUNK_SHIFT), EMMAI_CHUNK_BYTES);
    return emmai_round_up(rest, EMMAI_PAGE_BYTES) >> EMMAI_PAGE_SHIFT;
}

/* Counts the pages of a run's first `bytes` that are not in use yet, all or none. */
static bool run_touch(emma *instance, size_t chunk, size_t bytes)
{
    size_t missing = 0;
    for (size_t i = 0; i < bytes_chunks(bytes); i++) {
        size_t wanted = run_chunk_pages(bytes, i);
        size_t resident = emmai_slab_of_id(instance, (ptrdiff_t)(chunk + i))->resident;
        missing += wanted > resident ? wanted - resident : 0;
    }
    if (missing && !emmai_footprint_take(instance, missing))
        return false;
    for (size_t i = 0; i < bytes_chunks(bytes); i++) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)(chunk + i));
        entry->resident = (uint16_t)emmai_max(entry->resident, run_chunk_pages(bytes, i));
    }
    return true;
}

/* Zeroes the pages of a run to be that were in use before; the others are zero (I5). */
static void run_zero(emma *instance, size_t chunk, size_t bytes)
{
    for (size_t i = 0; i < bytes_chunks(bytes); i++) {
        size_t resident = emmai_slab_of_id(instance, (ptrdiff_t)(chunk + i))->resident;
        size_t dirty = emmai_min(resident, run_chunk_pages(bytes, i));
        emmai_arch_zero(emmai_chunk_start(instance, chunk + i), dirty << EMMAI_PAGE_SHIFT);
    }
}

/* Allocates a large block at a multiple of `alignment`; NULL when the region, the limit or the
 * kernel refuses. */
static void *emmai_run_malloc(emma *instance, size_t bytes, size_t alignment, unsigned flags)
{
    if (bytes > instance->region_bytes || alignment > instance->region_bytes)
        return NULL;
    bytes = emmai_round_up(emmai_max(bytes, 1), EMMAI_CLASS_STEP_BYTES);
    size_t count = bytes_chunks(bytes);
    size_t chunk = emmai_chunk_take_run(instance, count, emmai_max(alignment, EMMAI_CHUNK_BYTES),
                                        (flags & EMMAI_RUN_ROOM) != 0);
    if (!chunk)
        return NULL;
    emmai_slab_of_id(instance, (ptrdiff_t)chunk)->run_bytes =
        bytes; /* before the limit handler may ask for figures */
    if (flags & EMMAI_RUN_ZERO)
        run_zero(instance, chunk, bytes);
    if (!run_touch(instance, chunk, bytes)) {
        emmai_chunk_release(instance, chunk, count);
        return NULL;
    }
    emmai_huge_advise(instance, emmai_slab_of_id(instance, (ptrdiff_t)chunk));
    return emmai_chunk_start(instance, chunk);
}

static void emmai_run_free(emma *instance, emmai_slab *run)
{
    emmai_huge_withdraw(instance, run);
    emmai_chunk_release(instance, (size_t)emmai_id_of_slab(instance, run), emmai_run_chunks(run));
}

/* Takes the pages for a longer run; false, with nothing changed, when the chunks behind are not
 * free or memory is refused. */
static bool run_grow(emma *instance, emmai_slab *run, size_t chunk, size_t bytes)
{
    size_t old_bytes = run->run_bytes;
    size_t old_count = emmai_run_chunks(run);
    size_t more = bytes_chunks(bytes) - old_count;
    if (more && !emmai_chunk_extend(instance, chunk + old_count, more))
        return false;
    run->run_bytes = bytes;
    if (!run_touch(instance, chunk, bytes)) {
        run->run_bytes = old_bytes;
        if (more)
            emmai_chunk_release(instance, chunk + old_count, more);
        return false;
    }
    if (more)
        emmai_huge_advise(instance, run);
    return true;
}

static void run_shrink(emma *instance, emmai_slab *run, size_t chunk, size_t bytes)
{
    size_t old_count = emmai_run_chunks(run);
    size_t new_count = bytes_chunks(bytes);
    if (new_count < old_count)
        emmai_huge_withdraw(instance, run);
    run->run_bytes = bytes;
    if (new_count < old_count) {
        emmai_huge_advise(instance, run);
        emmai_chunk_release(instance, chunk + new_count, old_count - new_count);
    }
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
