/* emma_level.c - the levels of checkpoints: what a page had at one, how one is pushed and popped.
 *
 * A level above the first holds copies of the pages that differ from what those below it have, or the image; the
 * first one of metadata only. What a page had is C3 of emma_layout_checkpoint.h. */
#include "emma_internal.h"

/* ---- what a page had ---- */

static const char *level_copy(const emmai_level *level, size_t page)
{
    size_t low = 0;
    size_t high = level->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (level->index[middle] == page)
            return level->copies + (middle << EMMAI_PAGE_SHIFT);
        if (level->index[middle] < page)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* What a page had at a level; NULL: nothing, it was fresh. */
static const char *emmai_level_page(const emma *instance, const emmai_level *level, size_t page)
{
    for (; level; level = level->below) {
        const char *copy = level_copy(level, page);
        if (copy)
            return copy;
    }
    return emmai_image_page(instance, page);
}

static bool emmai_level_page_is(const char *page, const char *other)
{
    const emmai_word *a = (const emmai_word *)(const void *)page;
    const emmai_word *b = (const emmai_word *)(const void *)other;
    for (size_t i = 0; i < EMMAI_PAGE_BYTES / sizeof *a; i++)
        if (a[i] != (b ? b[i] : 0))
            return false;
    return true;
}

static size_t emmai_level_page_0(const emma *instance)
{
    return emmai_page_of(instance, emmai_origin(instance));
}

/* Whether a page of the region counts, as the entries are now. */
static bool emmai_level_page_counts(const emma *instance, size_t page)
{
    size_t within = page - emmai_level_page_0(instance);
    size_t chunk = within / EMMAI_CHUNK_PAGES;
    return within % EMMAI_CHUNK_PAGES <
           emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)chunk));
}

/* ---- pushing a level ---- */

/* A level in the making. */
typedef struct level_draft {
    emma *instance;
    emmai_level *level;
    size_t charged; /* pages of it in the footprint */
    bool refused;   /* the limit did not allow one */
} level_draft;

static size_t level_head_pages(size_t count)
{
    return emmai_pages_of(EMMAI_LEVEL_HEAD_BYTES(count));
}

/* Pages of a level with so many copies. */
static size_t emmai_level_pages(size_t count)
{
    return level_head_pages(count) + count;
}

/* Counts the pages that a draft needs with so many copies. */
static bool draft_charge(level_draft *draft, size_t count)
{
    size_t needed = emmai_level_pages(count);
    if (needed <= draft->charged)
        return true;
    if (!emmai_footprint_take(draft->instance, needed - draft->charged))
        return false;
    draft->charged = needed;
    return true;
}

/* Adds a page if it is not what the levels below and the image have. */
static void draft_page(void *arg, size_t page)
{
    level_draft *draft = arg;
    const emma *instance = draft->instance;
    emmai_level *level = draft->level;
    const char *now = emmai_page_start(instance, page);
    if (draft->refused ||
        (page >= emmai_level_page_0(instance) && !emmai_level_page_counts(instance, page)) ||
        emmai_level_page_is(now, emmai_level_page(instance, level->below, page)))
        return;
    if (!draft_charge(draft, level->count + 1)) {
        draft->refused = true;
        return;
    }
    level->index[level->count] = page;
    emmai_arch_copy((char *)(uintptr_t)level->copies + (level->count << EMMAI_PAGE_SHIFT), now,
                    EMMAI_PAGE_BYTES);
    level->count++;
}

/* Pages of metadata that count, from the lowest. */
static void visit_metadata(const emma *instance, emmai_page_fn visit, void *arg)
{
    size_t end = emmai_level_page_0(instance);
    for (size_t page = emmai_bits_find(instance->page_map, 0, end, true); page < end;
         page = emmai_bits_find(instance->page_map, page + 1, end, true))
        visit(arg, page);
}

static void visit_chunks(const emma *instance, size_t chunk, size_t end, emmai_page_fn visit,
                         void *arg)
{
    size_t page_0 = emmai_level_page_0(instance);
    for (; chunk < end; chunk++) {
        size_t count = emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)chunk));
        for (size_t i = chunk == 0; i < count; i++)
            visit(arg, page_0 + chunk * EMMAI_CHUNK_PAGES + i);
    }
}

/* All pages of the region that count, but page 0, for a kernel that does not tell which were written. */
static void emmai_level_visit_region(const emma *instance, emmai_page_fn visit, void *arg)
{
    visit_chunks(instance, 0, instance->low_end, visit, arg);
    visit_chunks(instance, instance->run_zone, instance->run_end, visit, arg);
}

/* A page that levels have a copy of, and that was given back to the kernel and taken again, may not be one of
 * those that differ from the image: it is made one. */
static void touch_restored(const emma *instance, const emmai_level *below)
{
    size_t page_0 = emmai_level_page_0(instance);
    for (const emmai_level *level = below; level; level = level->below)
        for (size_t i = level->count; i-- > 0 && level->index[i] >= page_0;) {
            volatile char *now = emmai_page_start(instance, level->index[i]);
            if (emmai_level_page_counts(instance, level->index[i]) &&
                !emmai_level_page_is((const char *)now,
                                     emmai_level_page(instance, below, level->index[i])))
                *now = *now;
        }
}

/* Fills a draft; once more if, to make room for it, pages were given back meanwhile. */
static bool draft_fill(level_draft *draft)
{
    emma *instance = draft->instance;
    uint64_t returned;
    do {
        returned = emmai_sync_get(&instance->control->returned_bytes);
        draft->level->count = 0;
        draft->refused = !draft_charge(draft, 0);
        visit_metadata(instance, draft_page, draft);
        if (!draft->level->below)
            draft_page(draft, emmai_level_page_0(instance)); /* changed since it was imaged */
        touch_restored(instance, draft->level->below);
        if (draft->level->below && !emmai_dirty_visit(instance, draft_page, draft)) {
            draft->level->count = 0;
            visit_metadata(instance, draft_page, draft);
            draft_page(draft, emmai_level_page_0(instance));
            emmai_level_visit_region(instance, draft_page, draft);
        }
    } while (!draft->refused && returned != emmai_sync_get(&instance->control->returned_bytes));
    return !draft->refused;
}

/* Address space for a level: the first one's is in the instance's mapping, with room for copies of all metadata,
 * the others have their own, with room for all that counts. NULL when the kernel refuses. */
static emmai_level *level_begin(const emma *instance)
{
    const emmai_checkpoints *checkpoints = instance->control->checkpoints;
    size_t most = checkpoints->top ? emmai_sync_get(&instance->control->footprint_pages)
                                   : checkpoints->first_most;
    size_t bytes = emmai_level_pages(most) << EMMAI_PAGE_SHIFT;
    emmai_level *level = checkpoints->top ? emmai_os_memory(bytes) : checkpoints->first;
    if (!level)
        return NULL;
    level->below = checkpoints->top;
    level->copies = (char *)level + (level_head_pages(most) << EMMAI_PAGE_SHIFT);
    level->mapping_bytes = level->below ? bytes : 0;
    if (level->below)
        emmai_os_small_pages(level, bytes);
    return level;
}

static size_t level_bytes(const emmai_level *level)
{
    return (size_t)(level->copies - (const char *)level) + (level->count << EMMAI_PAGE_SHIFT);
}

static void level_release(emmai_level *level)
{
    if (level->mapping_bytes)
        emmai_os_release(level, level->mapping_bytes);
    else
        emmai_os_purge(level, level_bytes(level));
}

/* Gives back the address space that the copies did not need: there is some, as the footprint that it was
 * for has the image in it, which is not copied. */
static void level_cut(emmai_level *level)
{
    if (!level->mapping_bytes)
        return;
    size_t bytes = level_bytes(level);
    emmai_os_release((char *)level + bytes, level->mapping_bytes - bytes);
    level->mapping_bytes = bytes;
}

/* Notes what goes with the level but is on the control page. */
static void level_note(emma *instance, emmai_level *level, size_t pages)
{
    emmai_control *control = instance->control;
    emmai_checkpoints *checkpoints = control->checkpoints;
    emmai_sync_count(&checkpoints->pages, pages);
    level->pages = pages;
    level->heap_pages = emmai_sync_get(&control->footprint_pages) - checkpoints->pages;
    level->metadata_pages = control->metadata_pages;
    level->retained_pages = control->retained_pages;
    level->low_covered = control->low_covered;
    level->run_covered = control->run_covered;
    level->number = ++checkpoints->last_number;
}

/* Pushes a level of what is now; false, with nothing changed, when memory is refused. */
static bool emmai_level_push(emma *instance)
{
    emmai_control *control = instance->control;
    emmai_level *level = level_begin(instance);
    if (!level)
        return false;
    level_draft draft;
    draft.instance = instance;
    draft.level = level;
    draft.charged = 0;
    if (!draft_fill(&draft)) {
        level_release(level);
        emmai_footprint_give(instance, draft.charged);
        return false;
    }
    level_cut(level);
    level_note(instance, level, draft.charged);
    if (level->mapping_bytes) /* C1 */
        emmai_os_protect(level, level->mapping_bytes);
    control->checkpoints->top = level;
    return true;
}

/* Takes the last level off. */
static void emmai_level_pop(emma *instance)
{
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    emmai_level *level = (emmai_level *)(uintptr_t)checkpoints->top;
    size_t pages = level->pages;
    checkpoints->top = level->below;
    level_release(level);
    emmai_sync_count(&checkpoints->pages, -pages);
    emmai_footprint_give(instance, pages);
}

static const emmai_level *emmai_level_find(const emma *instance, unsigned number)
{
    const emmai_level *level = instance->control->checkpoints->top;
    while (level && level->number != number)
        level = level->below;
    return level;
}
