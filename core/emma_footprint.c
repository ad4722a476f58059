/* emma_footprint.c - the gate that every page passes on its way into use: limit, spare part, soft
 * limit, peak.
 *
 * Pages are counted before they are touched (I5), so resident memory is never above the footprint,
 * nor the footprint above the limit (I6). */
#include "emma_internal.h"

/* The limit in force: without the spare part unless that is open. */
static size_t emmai_footprint_limit_pages(const emmai_control *control)
{
    size_t limit = emmai_sync_get(&control->limit_pages);
    return emmai_sync_get(&control->spare_open) ? limit : limit - control->spare_pages;
}

/* Tells the host when the soft limit was crossed, once each way. */
static void footprint_watch(emma *instance)
{
    emmai_control *control = instance->control;
    bool over = emmai_sync_get(&control->footprint_pages) > emmai_sync_get(&control->soft_pages);
    if (over == emmai_sync_get(&control->over_soft) ||
        /* By chance in tests: another thread was faster. */
        __atomic_exchange_n(&control->over_soft, over, __ATOMIC_RELAXED) == over ||
        !control->limit_handler)
        return;
    bool nested = emmai_callback_begin(instance);
    control->limit_handler(control->limit_arg, instance, over);
    emmai_callback_end(instance, nested);
}

/* Rather than that the footprint rises to a new peak, free pages go back to the kernel, if there
 * are more than some: the peak then shows need, not habit. As many as it would rise by, so that
 * what is given back is bounded by growth. */
static void footprint_flatten(emma *instance, size_t pages)
{
    emmai_control *control = instance->control;
    size_t now = emmai_sync_get(&control->footprint_pages);
    size_t peak = emmai_sync_get(&control->peak_pages);
    size_t fraction = instance->shared ? EMMAI_RETAIN_FRACTION_SHARED : EMMAI_RETAIN_FRACTION;
    size_t kept = emmai_max(EMMAI_RETAIN_BYTES >> EMMAI_PAGE_SHIFT, now / fraction);
    if (now + pages > peak && emmai_sync_get(&control->retained_pages) > kept)
        emmai_chunk_purge(instance, emmai_max(now + pages - peak, EMMAI_FLATTEN_MIN_PAGES));
}

/* How many of `pages` more the limit does not allow. */
static size_t footprint_excess(const emmai_control *control, size_t pages)
{
    size_t after = emmai_sync_get(&control->footprint_pages) + pages;
    size_t limit = emmai_footprint_limit_pages(control);
    return after > limit ? after - limit : 0;
}

/* Gives back what free chunks keep and, if that is too little, what chunks in use keep idle. Those of a
 * shared instance may be in use by another thread just now; there it is what others freed into the
 * heaps of threads that are gone. */
static void footprint_make_room(emma *instance, size_t pages)
{
    const emmai_control *control = instance->control;
    size_t excess = footprint_excess(control, pages);
    if (excess)
        emmai_chunk_purge(instance, excess);
    if (!excess || !(excess = footprint_excess(control, pages)))
        return;
    if (!instance->shared) {
        if (!emmai_rollback_trim(instance) || footprint_excess(control, pages))
            emmai_chunk_squeeze(instance);
    } else if (pages <= emmai_footprint_limit_pages(control) && !control->resetting) {
        emmai_adopt_reclaim(instance);
        emmai_chunk_purge(instance, excess);
    }
}

/* Counts pages that are about to be used; false, with nothing changed, when the limit does not
 * allow them. The limit is looked at last: giving pages back may have told the host, who may have
 * lowered it. */
static bool emmai_footprint_take(emma *instance, size_t pages)
{
    emmai_control *control = instance->control;
    footprint_make_room(instance, pages);
    footprint_flatten(instance, pages);
    size_t now = emmai_sync_get(&control->footprint_pages);
    do {
        if (now + pages > emmai_footprint_limit_pages(control))
            return false;
        /* First: it is never below the footprint, wherever a thread stops. */
        emmai_sync_raise_size(&control->peak_pages, now + pages);
        /* By chance in tests: another thread changed it. */
    } while (!emmai_sync_replace(&control->footprint_pages, &now, now + pages));
    /* Who lowers the limit looks at the footprint afterwards: one of the two sees the other.
     * By chance in tests: the limit was lowered since it was looked at above. */
    if (EMMAI_UNLIKELY(now + pages > emmai_footprint_limit_pages(control))) {
        emmai_sync_sub(&control->footprint_pages, pages);
        return false;
    }
    footprint_watch(instance);
    return true;
}

/* Uncounts pages that the kernel has back, or that were counted and then not used. */
static void emmai_footprint_give(emma *instance, size_t pages)
{
    if (!pages)
        return;
    EMMAI_ASSERT(emmai_sync_get(&instance->control->footprint_pages) >= pages);
    emmai_sync_sub(&instance->control->footprint_pages, pages);
    footprint_watch(instance);
}

/* Changes the footprint to what it was at a checkpoint. */
static void emmai_footprint_set(emma *instance, size_t pages)
{
    emmai_control *control = instance->control;
    emmai_sync_raise_size(&control->peak_pages, pages);
    emmai_sync_set(&control->footprint_pages, pages);
    footprint_watch(instance);
}

/* Pages that chunks in use have. */
static size_t footprint_used(const emma *instance)
{
    size_t pages = 0;
    for (size_t i = 0; i < emmai_young_entries(instance); i++)
        pages += emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)i));
    for (size_t i = emmai_place_next_used(instance, EMMAI_YOUNG_CHUNKS); i < instance->chunk_count;
         i = emmai_place_next_used(instance, i + 1))
        pages += emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)i));
    return pages;
}

/* Pages that free chunks keep; takes those off the list that keep none. */
static size_t footprint_kept(emma *instance)
{
    size_t pages = 0;
    for (size_t i = emmai_place_next_kept(instance, EMMAI_YOUNG_CHUNKS); i < instance->chunk_count;
         i = emmai_place_next_kept(instance, i + 1)) {
        size_t resident = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)i));
        if (!resident) /* By chance in tests: a thread died between the one and the other. */
            emmai_bits_clear(instance->retained_map, i, 1);
        pages += resident;
    }
    return pages;
}

/* Counts anew, as I5 says: a thread that stopped in the middle of a call may have counted pages that are nobody's,
 * or not uncounted what the kernel has back. Nobody else uses the instance. True if the count was right. */
static bool emmai_footprint_recount(emma *instance)
{
    emmai_control *control = instance->control;
    size_t counted = emmai_sync_get(&control->footprint_pages);
    size_t retained = footprint_kept(instance);
    size_t metadata = emmai_metadata_pages(instance);
    size_t pages = footprint_used(instance) + retained + metadata - 1;
    emmai_sync_set(&control->retained_pages, retained);
    emmai_sync_set(&control->metadata_pages, metadata);
    emmai_footprint_set(instance, pages);
    return pages == counted;
}

/* Changes the limit and makes room for it: by what `heap` can spare too, which is NULL in a callback,
 * when slabs are in use. */
static enum emma_status footprint_set_limit(emma *instance, emmai_heap *heap, size_t limit_pages)
{
    emmai_control *control = instance->control;
    if (limit_pages < emmai_checkpoint_needs(instance))
        return EMMA_NO_MEMORY;
    size_t before = __atomic_exchange_n(&control->limit_pages, limit_pages, __ATOMIC_SEQ_CST);
    if (footprint_excess(control, 0) && heap) {
        emmai_free_drain(instance, heap);
        emmai_slab_shed(instance, heap);
    }
    if (heap || instance->shared)
        footprint_make_room(instance, 0);
    else
        emmai_chunk_purge(instance, footprint_excess(control, 0));
    if (!footprint_excess(control, 0))
        return EMMA_OK;
    emmai_sync_replace(&control->limit_pages, &limit_pages, before);
    return EMMA_NO_MEMORY;
}

enum emma_status emma_set_limit(emma *instance, size_t limit_bytes)
{
    size_t limit_pages = limit_bytes >> EMMAI_PAGE_SHIFT;
    size_t least = (EMMA_LIMIT_MIN_BYTES >> EMMAI_PAGE_SHIFT) + instance->control->spare_pages;
    if (limit_pages < least)
        return EMMA_INVALID;
    if (instance->shared)
        return footprint_set_limit(instance, NULL, limit_pages);
    bool nested;
    emmai_heap *heap = emmai_enter_from_callback(instance, &nested);
    if (!heap)
        return EMMA_BUSY;
    enum emma_status status = footprint_set_limit(instance, nested ? NULL : heap, limit_pages);
    emmai_leave_to_callback(instance, heap, nested);
    return status;
}

enum emma_status emma_use_spare(emma *instance, bool use)
{
    bool nested = false;
    emmai_heap *heap = NULL;
    if (!instance->shared && !(heap = emmai_enter_from_callback(instance, &nested)))
        return EMMA_BUSY;
    emmai_sync_set(&instance->control->spare_open, use);
    if (heap)
        emmai_leave_to_callback(instance, heap, nested);
    return EMMA_OK;
}

enum emma_status emma_set_soft_limit(emma *instance, size_t soft_limit_bytes)
{
    if (soft_limit_bytes == 0)
        return EMMA_INVALID;
    emmai_heap *heap = instance->shared ? NULL : emmai_enter(instance);
    if (!instance->shared && !heap)
        return EMMA_BUSY;
    bool none = soft_limit_bytes == EMMA_UNLIMITED;
    emmai_sync_set(&instance->control->soft_pages,
                   none ? SIZE_MAX : soft_limit_bytes >> EMMAI_PAGE_SHIFT);
    footprint_watch(instance);
    if (heap)
        emmai_leave(heap);
    return EMMA_OK;
}
