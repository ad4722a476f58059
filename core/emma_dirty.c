/* emma_dirty.c - which pages of the region differ from the image: the kernel is asked which are anonymous. */
#include "emma_internal.h"

/* Calls `visit` for the anonymous pages from `start` to `end`, in order; false when the kernel does not tell. A visit
 * may come here again, as where there must be room for a copy: so each has an answer of its own. */
static bool dirty_visit_range(const emma *instance, int file, const char *start, const char *end,
                              emmai_page_fn visit, void *arg)
{
    emmai_scan_region regions[EMMAI_SCAN_REGIONS];
    emmai_scan scan;
    emmai_arch_zero(regions, sizeof regions);
    emmai_arch_zero(&scan, sizeof scan);
    scan.end = (uintptr_t)end;
    scan.regions = (uintptr_t)regions;
    scan.region_count = EMMAI_SCAN_REGIONS; /* where there are more, it is asked again */
    scan.walk_end = (uintptr_t)start;
    while (scan.walk_end < scan.end) {
        scan.start = scan.walk_end;
        long count = emmai_os_scan(file, &scan);
        if (count < 0)
            return false;
        for (long i = 0; i < count; i++)
            for (uint64_t at = regions[i].start; at < regions[i].end; at += EMMAI_PAGE_BYTES)
                visit(arg, emmai_page_of(instance, (const void *)(uintptr_t)at));
    }
    return true;
}

/* The highest that chunks were ever used: where anonymous pages may be. */
static void dirty_note_ends(const emma *instance)
{
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    emmai_sync_raise(&checkpoints->seen_low_end, instance->low_end);
    emmai_sync_raise(&checkpoints->seen_run_end, instance->run_end);
}

/* Calls `visit` for every page of the region that differs from the image, or lies outside it and was written
 * to. False, with some visited, when the kernel does not tell: before Linux 6.7, without /proc, or in the child of a
 * signal handler's fork in here, as what was opened before tells of the parent. */
static bool emmai_dirty_visit(const emma *instance, emmai_page_fn visit, void *arg)
{
    const emmai_checkpoints *checkpoints = instance->control->checkpoints;
    long process_id = emmai_os_process_id();
    int file = emmai_os_open_scan();
    if (file < 0)
        return false;
    dirty_note_ends(instance);
    const char *zone = emmai_chunk_start(instance, instance->run_zone);
    bool told =
        dirty_visit_range(instance, file, emmai_origin(instance),
                          emmai_chunk_start(instance, checkpoints->seen_low_end), visit, arg) &&
        dirty_visit_range(instance, file, zone,
                          emmai_chunk_start(instance, checkpoints->seen_run_end), visit, arg);
    emmai_os_close(file);
    return told && emmai_os_process_id() == process_id;
}

static bool dirty_forget_range(const emma *instance, size_t chunk, size_t pages, size_t end)
{
    char *start = emmai_chunk_start(instance, chunk) + (pages << EMMAI_PAGE_SHIFT);
    char *stop = emmai_chunk_start(instance, end);
    return start >= stop || emmai_os_purge(start, (size_t)(stop - start));
}

/* Makes all those pages what the image has, or zero, by having the kernel forget them; false, with some of it
 * done, but page 0 as it was, when it keeps one, as where memory is locked. */
static bool emmai_dirty_forget(const emma *instance)
{
    const emmai_checkpoints *checkpoints = instance->control->checkpoints;
    const emmai_image *image = &checkpoints->image;
    dirty_note_ends(instance);
    return dirty_forget_range(instance, 0, image->low_pages, checkpoints->seen_low_end) &&
           dirty_forget_range(instance, instance->run_zone, image->run_pages,
                              checkpoints->seen_run_end) &&
           (!image->run_pages || emmai_os_purge(emmai_chunk_start(instance, instance->run_zone),
                                                image->run_pages << EMMAI_PAGE_SHIFT)) &&
           emmai_os_purge(emmai_origin(instance), image->low_pages << EMMAI_PAGE_SHIFT);
}
