/* emma_rollback.c - an instance made again what it was at a level of its checkpoints.
 *
 * The kernel is asked which pages were written to, and just those are put back. What has to be wiped is zeroed
 * and left as far as the call before needed as much, so that one like it finds its pages without faults; the
 * rest goes back to the kernel. */
#include "emma_internal.h"

/* Pages that a rollback zeroes and leaves, even if none were needed before; and pages that it leaves beside them
 * although they were not needed this time. */
#define KEPT_PAGES  ((size_t)16)
#define SPARE_PAGES ((size_t)16)

typedef struct restoring {
    emma *instance;
    const emmai_level *level;
    size_t kept, keep_most;        /* the spare ones not among the latter */
    size_t spare, spare_most;      /* of those kept, not written to */
    size_t used;                   /* pages that were written to and do not count */
    size_t wipe_first, wipe_count; /* pages in a row that are to be given back */
} restoring;

static void restoring_init(restoring *state, emma *instance, const emmai_level *level)
{
    emmai_arch_zero(state, sizeof *state);
    state->instance = instance;
    state->level = level;
}

static void wipe_flush(restoring *state)
{
    char *start = emmai_page_start(state->instance, state->wipe_first);
    size_t bytes = state->wipe_count << EMMAI_PAGE_SHIFT;
    if (bytes && !emmai_os_purge(start, bytes)) {
        emmai_arch_zero(start, bytes);
        state->kept += state->wipe_count;
    }
    state->wipe_count = 0;
}

/* Takes away what a page has that does not count. */
static void wipe_page(restoring *state, size_t page)
{
    char *start = emmai_page_start(state->instance, page);
    bool used = !emmai_level_page_is(start, NULL);
    state->used += used;
    if (used ? state->kept - state->spare < state->keep_most : state->spare < state->spare_most) {
        if (used)
            emmai_arch_zero(start, EMMAI_PAGE_BYTES);
        state->spare += !used;
        state->kept++;
        return;
    }
    if (page != state->wipe_first + state->wipe_count)
        wipe_flush(state);
    if (!state->wipe_count)
        state->wipe_first = page;
    state->wipe_count++;
}

/* Makes a page that counts what it was at the level. */
static void restore_page(restoring *state, size_t page)
{
    char *now = emmai_page_start(state->instance, page);
    const char *was = emmai_level_page(state->instance, state->level, page);
    if (was)
        emmai_arch_copy(now, was, EMMAI_PAGE_BYTES);
    else
        emmai_arch_zero(now, EMMAI_PAGE_BYTES);
}

/* What did not count at the level, like a page of the region that does not. */
static void wipe_metadata(restoring *state, char *page)
{
    state->used++;
    if (state->kept < state->keep_most) {
        emmai_arch_zero(page, EMMAI_PAGE_BYTES);
        state->kept++;
    } else if (!emmai_os_purge(page, EMMAI_PAGE_BYTES))
        emmai_arch_zero(page, EMMAI_PAGE_BYTES);
}

/* Downwards: the page map, which says what to do, comes last, and its own first page last of all. */
static void restore_metadata(restoring *state)
{
    const emma *instance = state->instance;
    size_t end = emmai_level_page_0(instance);
    while ((end = emmai_bits_last(instance->page_map, 0, end)) > 0) {
        char *now = emmai_page_start(instance, --end);
        const char *was = emmai_level_page(instance, state->level, end);
        if (was)
            emmai_arch_copy(now, was, EMMAI_PAGE_BYTES);
        else
            wipe_metadata(state, now);
    }
}

/* What levels have copies of may have been given back to the kernel since: then it is no longer one of the pages
 * that differ from the image. */
static void restore_copied(restoring *state)
{
    size_t first = emmai_level_page_0(state->instance);
    for (const emmai_level *level = state->level; level; level = level->below)
        for (size_t i = level->count; i-- > 0 && level->index[i] >= first;) {
            size_t page = level->index[i];
            const char *was = emmai_level_page(state->instance, state->level, page);
            if (emmai_level_page_counts(state->instance, page) &&
                !emmai_level_page_is(emmai_page_start(state->instance, page), was))
                restore_page(state, page);
        }
}

/* Tells how many pages may be left zeroed: as many as were used last time and some to spare, which take no place
 * of those; but a part of what the limit leaves. */
static void set_most(restoring *state)
{
    const emmai_control *control = state->instance->control;
    const emmai_checkpoints *checkpoints = control->checkpoints;
    size_t used = state->level->heap_pages + checkpoints->pages - checkpoints->kept_pages;
    size_t limit = emmai_footprint_limit_pages(control);
    size_t room = (limit > used ? limit - used : 0) / 4;
    state->keep_most = emmai_min(emmai_max(KEPT_PAGES, checkpoints->used_pages), room);
    state->spare_most = emmai_min(SPARE_PAGES, room - state->keep_most);
}

/* The footprint and what else of the control page goes with the level. */
static void restore_control(emma *instance, const restoring *state)
{
    emmai_control *control = instance->control;
    emmai_checkpoints *checkpoints = control->checkpoints;
    const emmai_level *level = state->level;
    emmai_sync_count(&checkpoints->pages, state->kept - checkpoints->kept_pages);
    checkpoints->kept_pages = state->kept;
    checkpoints->used_pages = state->used;
    emmai_sync_set(&control->metadata_pages, level->metadata_pages);
    control->low_covered = level->low_covered;
    control->run_covered = level->run_covered;
    emmai_sync_set(&control->retained_pages, level->retained_pages);
    emmai_sync_set(&control->retained_low_pages, level->retained_pages);
    emmai_footprint_set(instance, level->heap_pages + checkpoints->pages);
}

static void restore_begin(restoring *state)
{
    restore_metadata(state);
    restore_page(state, emmai_level_page_0(state->instance));
}

/* Page 0, which the call itself has written to, is the first that differs: with it come the entries, which say
 * what counts. */
static void restore_dirty(void *arg, size_t page)
{
    restoring *state = arg;
    if (page == emmai_level_page_0(state->instance))
        restore_begin(state);
    else if (emmai_level_page_counts(state->instance, page))
        restore_page(state, page);
    else
        wipe_page(state, page);
}

static void zero_page(void *arg, size_t page)
{
    restoring *state = arg;
    emmai_arch_zero(emmai_page_start(state->instance, page), EMMAI_PAGE_BYTES);
}

static void restore_any(void *arg, size_t page)
{
    restore_page(arg, page);
}

/* The same where the kernel does not tell which pages differ: it forgets them all; and if it does not do that
 * either, all are copied. */
static void restore_blindly(restoring *state)
{
    const emma *instance = state->instance;
    bool has_kept = state->kept > 0;
    state->kept = state->keep_most = state->wipe_count = 0;
    bool forgotten = emmai_dirty_forget(instance);
    if (!forgotten)
        emmai_level_visit_region(instance, zero_page, state);
    restore_begin(state);
    if (has_kept) /* of the part that was done before the kernel stopped telling */
        emmai_metadata_purge_uncounted(instance);
    if (!forgotten)
        emmai_level_visit_region(instance, restore_any, state);
}

/* Makes everything what it was at the level. */
static void emmai_rollback_to(emma *instance, const emmai_level *level)
{
    restoring state;
    restoring_init(&state, instance, level);
    set_most(&state);
    if (emmai_dirty_visit(instance, restore_dirty, &state))
        wipe_flush(&state);
    else
        restore_blindly(&state);
    restore_copied(&state);
    __atomic_store_n(&instance->deferred, NULL, __ATOMIC_RELAXED);
    restore_control(instance, &state);
}

/* ---- what a rollback left ---- */

static void wipe_uncounted(void *arg, size_t page)
{
    restoring *state = arg;
    if (!emmai_level_page_counts(state->instance, page))
        wipe_page(state, page);
}

/* Gives back what the last rollback zeroed and left; returns the pages. */
static size_t emmai_rollback_trim(emma *instance)
{
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    restoring state;
    restoring_init(&state, instance, NULL);
    if (!checkpoints || !checkpoints->kept_pages)
        return 0;
    emmai_watch_pause();
    bool told = emmai_dirty_visit(instance, wipe_uncounted, &state);
    emmai_watch_resume();
    if (!told)
        return 0;
    wipe_flush(&state);
    emmai_metadata_purge_uncounted(instance);
    size_t pages = checkpoints->kept_pages - emmai_min(state.kept, checkpoints->kept_pages);
    checkpoints->kept_pages -= pages;
    emmai_sync_count(&checkpoints->pages, -pages);
    emmai_footprint_give(instance, pages);
    return pages;
}
