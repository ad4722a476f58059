/* emma_footprint.c - the gate that every page passes on its way into use: limit, spare part, soft
 * limit, peak.
 *
 * Pages are counted before they are touched (I5), so resident memory is never above the footprint,
 * nor the footprint above the limit (I6). */
#include "emma_internal.h"

/* The limit in force: without the spare part unless that is open. */
static size_t emmai_footprint_limit_pages(const emmai_control *control)
{
    return control->spare_open ? control->limit_pages : control->limit_pages - control->spare_pages;
}

/* Tells the host when the soft limit was crossed, once each way. */
static void footprint_watch(emma *instance)
{
    emmai_control *control = instance->control;
    bool over = control->footprint_pages > control->soft_pages;
    if (over == control->over_soft)
        return;
    control->over_soft = over;
    if (!control->limit_handler)
        return;
    bool nested = emmai_callback_begin(instance);
    control->limit_handler(control->limit_arg, instance, over);
    emmai_callback_end(instance, nested);
}

/* Rather than that the footprint rises to a new peak, free pages go back to the kernel, if there
 * are more than some: the peak then shows need, not habit. As many as it would rise by, so that
 * what is given back is bounded by growth. */
static void footprint_flatten(emma *instance, size_t after)
{
    emmai_control *control = instance->control;
    size_t kept = emmai_max(EMMAI_RETAIN_BYTES >> EMMAI_PAGE_SHIFT,
                            control->footprint_pages / EMMAI_RETAIN_FRACTION);
    if (control->retained_pages > kept)
        emmai_chunk_purge(instance,
                          emmai_max(after - control->peak_pages, EMMAI_FLATTEN_MIN_PAGES));
}

/* Gives back what free chunks keep and, if that is too little, what chunks in use keep idle. */
static void footprint_make_room(emma *instance, size_t pages)
{
    const emmai_control *control = instance->control;
    size_t after = control->footprint_pages + pages;
    emmai_chunk_purge(instance, after - emmai_footprint_limit_pages(control));
    after = control->footprint_pages + pages;
    if (after > emmai_footprint_limit_pages(control))
        emmai_chunk_squeeze(instance);
}

/* Counts pages that are about to be used; false, with nothing changed, when the limit does not
 * allow them. The limit is looked at last: giving pages back may have told the host, who may have
 * lowered it. */
static bool emmai_footprint_take(emma *instance, size_t pages)
{
    emmai_control *control = instance->control;
    size_t after = control->footprint_pages + pages;
    if (EMMAI_UNLIKELY(after > emmai_footprint_limit_pages(control)))
        footprint_make_room(instance, pages);
    if (control->footprint_pages + pages > control->peak_pages)
        footprint_flatten(instance, control->footprint_pages + pages);
    after = control->footprint_pages + pages;
    if (after > emmai_footprint_limit_pages(control))
        return false;
    control->peak_pages = emmai_max(control->peak_pages, after);
    control->footprint_pages = after;
    footprint_watch(instance);
    return true;
}

/* Uncounts pages that the kernel has back, or that were counted and then not used. */
static void emmai_footprint_give(emma *instance, size_t pages)
{
    EMMAI_ASSERT(instance->control->footprint_pages >= pages);
    instance->control->footprint_pages -= pages;
    footprint_watch(instance);
}

/* Changes the limit from inside the gate. In a callback slabs are in use, so that only free chunks
 * can make room. */
static enum emma_status footprint_set_limit(emma *instance, size_t limit_pages, bool in_callback)
{
    emmai_control *control = instance->control;
    size_t allowed = control->spare_open ? limit_pages : limit_pages - control->spare_pages;
    if (control->footprint_pages > allowed && !in_callback) {
        emmai_block_drain(instance);
        emmai_slab_shed(instance);
    }
    if (control->footprint_pages > allowed)
        emmai_chunk_purge(instance, control->footprint_pages - allowed);
    if (control->footprint_pages > allowed && !in_callback)
        emmai_chunk_squeeze(instance);
    if (control->footprint_pages > allowed)
        return EMMA_NO_MEMORY;
    control->limit_pages = limit_pages;
    return EMMA_OK;
}

enum emma_status emma_set_limit(emma *instance, size_t limit_bytes)
{
    size_t limit_pages = limit_bytes >> EMMAI_PAGE_SHIFT;
    size_t least = (EMMA_LIMIT_MIN_BYTES >> EMMAI_PAGE_SHIFT) + instance->control->spare_pages;
    if (limit_pages < least)
        return EMMA_INVALID;
    bool nested;
    if (!emmai_enter_from_callback(instance, &nested))
        return EMMA_BUSY;
    enum emma_status status = footprint_set_limit(instance, limit_pages, nested);
    emmai_leave_to_callback(instance, nested);
    return status;
}

enum emma_status emma_use_spare(emma *instance, bool use)
{
    bool nested;
    if (!emmai_enter_from_callback(instance, &nested))
        return EMMA_BUSY;
    instance->control->spare_open = use;
    emmai_leave_to_callback(instance, nested);
    return EMMA_OK;
}
