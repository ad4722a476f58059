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
    if (control->limit_handler)
        control->limit_handler(control->limit_arg, instance, over);
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

/* Counts pages that are about to be used; false, with nothing changed, when the limit does not
 * allow them. */
static bool emmai_footprint_take(emma *instance, size_t pages)
{
    emmai_control *control = instance->control;
    size_t after = control->footprint_pages + pages;
    if (EMMAI_UNLIKELY(after > emmai_footprint_limit_pages(control))) {
        emmai_chunk_purge(instance, after - emmai_footprint_limit_pages(control));
        after = control->footprint_pages + pages;
        if (after > emmai_footprint_limit_pages(control))
            return false;
    }
    if (after > control->peak_pages) {
        footprint_flatten(instance, after);
        after = control->footprint_pages + pages;
        control->peak_pages = emmai_max(control->peak_pages, after);
    }
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

enum emma_status emma_set_limit(emma *instance, size_t limit_bytes)
{
    emmai_control *control = instance->control;
    size_t limit_pages = limit_bytes >> EMMAI_PAGE_SHIFT;
    if (limit_bytes < EMMA_LIMIT_MIN_BYTES || limit_pages <= control->spare_pages)
        return EMMA_INVALID;
    size_t allowed = control->spare_open ? limit_pages : limit_pages - control->spare_pages;
    if (control->footprint_pages > allowed)
        emma_trim(instance);
    if (control->footprint_pages > allowed)
        return EMMA_NO_MEMORY;
    control->limit_pages = limit_pages;
    return EMMA_OK;
}

enum emma_status emma_use_spare(emma *instance, bool use)
{
    instance->control->spare_open = use;
    return EMMA_OK;
}
