/* emma_guard.c - EMMA_GUARD_PAGES: what is not in use faults when it is touched.
 *
 * I10 of emma_layout.h: a page that does not count, of a chunk that is in use or was, is a guard. So what runs
 * off the last page of a slab or run ends there; and as a run that is freed gives its pages back, so does
 * what touches it then. The last page of a slab's chunk, and the page behind a run, are never anything
 * else; nor is the young area, which lies between the table of chunks and the first block, nor the
 * page before all metadata.
 *
 * Guards are marks in the page tables (MADV_GUARD_INSTALL, Linux 6.13): no mapping is split. Where the kernel
 * has none, or memory is locked, or the region is mapped from an image, an instance does without. */
#include "emma_internal.h"

/* Makes pages of a fresh instance guards, and notes whether it has any. */
static void emmai_guard_begin(emma *instance)
{
    emmai_control *control = instance->control;
    if (!EMMA_GUARD_PAGES || control->checkpoints)
        return;
    control->guards = emmai_os_guard(emmai_origin(instance) + EMMAI_PAGE_BYTES,
                                     EMMAI_YOUNG_BYTES - EMMAI_PAGE_BYTES);
    char *front = (char *)instance->page_map - (instance->shared ? EMMAI_PAGE_BYTES : 0);
    if (control->guards)
        emmai_os_guard(control->mapping, (size_t)(front - (char *)control->mapping));
}

/* Whether what is not in use is guarded. */
static bool emmai_guard_exists(const emma *instance)
{
    return EMMA_GUARD_PAGES && instance->control->guards;
}

/* Makes pages that are about to count ordinary ones; false when the kernel refuses. */
static bool emmai_guard_lift(const emma *instance, size_t chunk, size_t first_page, size_t pages)
{
    char *start = emmai_chunk_start(instance, chunk) + (first_page << EMMAI_PAGE_SHIFT);
    return !emmai_guard_exists(instance) || emmai_os_unguard(start, pages << EMMAI_PAGE_SHIFT);
}

/* Whether pages may become guards though they may have held blocks of a slab: whoever looks at another thread's
 * lists may be just about to read a link there. Slabs are below the zone of runs, unless that is full. */
static bool guard_may_follow(const emma *instance, const char *start)
{
    return !instance->shared || start >= emmai_chunk_start(instance, instance->run_zone);
}

/* Gives pages back to the kernel that no longer count. False when it kept them: they count on. */
static bool emmai_guard_purge(const emma *instance, void *start, size_t bytes)
{
    bool guarded = emmai_guard_exists(instance) && guard_may_follow(instance, start);
    return guarded ? emmai_os_guard(start, bytes) : emmai_os_purge(start, bytes);
}

/* Makes the pages of a chunk from `first_page` on guards, which its owner has not used since it was free; what
 * then is none only misses a mistake. */
static void emmai_guard_chunk(const emma *instance, size_t chunk, size_t first_page)
{
    char *start = emmai_chunk_start(instance, chunk) + (first_page << EMMAI_PAGE_SHIFT);
    if (emmai_guard_exists(instance))
        emmai_os_guard(start, (EMMAI_CHUNK_PAGES - first_page) << EMMAI_PAGE_SHIFT);
}
