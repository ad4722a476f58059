/* emma_checkpoint.c - checkpoints of a local instance: pushed, rolled back to, dropped; what they take, and what a
 * limit must leave them. See emma_layout_checkpoint.h. */
#include "emma_internal.h"

_Static_assert(sizeof(emmai_control) + sizeof(emmai_checkpoints) <= EMMAI_PAGE_BYTES,
               "both lie on the control page");

/* Enters so that a free by a signal handler does nothing: what it would write to could just be copied. */
static emmai_heap *checkpoint_enter(emma *instance)
{
    emmai_heap *heap = emmai_enter(instance);
    if (heap) {
        emmai_sync_set(&instance->control->resetting, true);
        emmai_watch_pause();
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return heap;
}

static void checkpoint_leave(const emma *instance, emmai_heap *heap)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emmai_watch_resume();
    emmai_sync_set(&instance->control->resetting, false);
    emmai_leave(heap);
}

/* Memory that is free is of no use in an image. */
static void checkpoint_tidy(emma *instance, emmai_heap *heap)
{
    emmai_free_drain(instance, heap);
    if (!instance->control->checkpoints->top)
        emmai_slab_shed(instance, heap);
    emmai_chunk_purge(instance, SIZE_MAX);
    if (!instance->control->checkpoints->top)
        emmai_chunk_squeeze(instance);
}

/* Makes the image, if after it there is room for the first level, which has copies of metadata and of page 0. */
static bool checkpoint_make_image(emma *instance)
{
    size_t pages = emmai_level_pages(instance->control->metadata_pages + 1);
    if (!emmai_footprint_take(instance, pages))
        return false;
    bool made = emmai_image_create(instance);
    emmai_footprint_give(instance, pages);
    return made;
}

/* Pushes a level, and makes the image for the first. */
static enum emma_status checkpoint_push(emma *instance)
{
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    bool first = !checkpoints->top;
    if (first && checkpoints->image.view && !emmai_image_dissolve(instance))
        return EMMA_NO_MEMORY; /* what is left of one before */
    if (first && !checkpoint_make_image(instance))
        return EMMA_NO_MEMORY;
    if (emmai_level_push(instance))
        return EMMA_OK;
    if (first)
        emmai_image_dissolve(instance);
    return EMMA_NO_MEMORY;
}

enum emma_status emma_checkpoint(emma *instance, unsigned *level)
{
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    if (!checkpoints)
        return EMMA_UNSUPPORTED;
    emmai_heap *heap = checkpoint_enter(instance);
    if (!heap)
        return EMMA_BUSY;
    checkpoint_tidy(instance, heap);
    enum emma_status status = checkpoint_push(instance);
    if (status == EMMA_OK)
        *level = checkpoints->last_number;
    checkpoint_leave(instance, heap);
    return status;
}

/* Enters to do something with a level; a status other than EMMA_OK: it is not entered. */
static enum emma_status checkpoint_enter_for(emma *instance, unsigned number, emmai_heap **heap,
                                             const emmai_level **level)
{
    if (!instance->control->checkpoints)
        return EMMA_UNSUPPORTED;
    *heap = checkpoint_enter(instance);
    if (!*heap)
        return EMMA_BUSY;
    *level = emmai_level_find(instance, number);
    if (*level)
        return EMMA_OK;
    checkpoint_leave(instance, *heap);
    return EMMA_INVALID;
}

enum emma_status emma_rollback(emma *instance, unsigned level)
{
    emmai_heap *heap;
    const emmai_level *target;
    enum emma_status status = checkpoint_enter_for(instance, level, &heap, &target);
    if (status != EMMA_OK)
        return status;
    while (instance->control->checkpoints->top != target)
        emmai_level_pop(instance); /* first: with them the limit may not allow what comes back */
    emmai_watched before;
    if (EMMAI_WATCHED)
        emmai_watch_note(instance, &before);
    emmai_rollback_to(instance, target);
    if (EMMAI_WATCHED)
        emmai_watch_rolled_back(instance, &before);
    checkpoint_leave(instance, heap);
    return EMMA_OK;
}

/* Drops levels from the last one to this, NULL: to the first; after that, the image is of no use. */
static void emmai_checkpoint_forget(emma *instance, const emmai_level *level)
{
    const emmai_checkpoints *checkpoints = instance->control->checkpoints;
    const emmai_level *below = level ? level->below : NULL;
    while (checkpoints && checkpoints->top != below)
        emmai_level_pop(instance);
    if (!below && emmai_image_exists(instance))
        emmai_image_dissolve(instance);
    if (!below)
        emmai_rollback_trim(instance);
}

enum emma_status emma_checkpoint_drop(emma *instance, unsigned level)
{
    emmai_heap *heap;
    const emmai_level *target;
    enum emma_status status = checkpoint_enter_for(instance, level, &heap, &target);
    if (status != EMMA_OK)
        return status;
    emmai_checkpoint_forget(instance, target);
    checkpoint_leave(instance, heap);
    return EMMA_OK;
}

/* The least limit under which every level can still be rolled back to; later ones are dropped by that. */
static size_t emmai_checkpoint_needs(const emma *instance)
{
    const emmai_checkpoints *checkpoints = instance->control->checkpoints;
    const emmai_level *level = checkpoints ? checkpoints->top : NULL;
    size_t pages = level ? checkpoints->pages - checkpoints->kept_pages : 0;
    size_t most = 0;
    for (; level; level = level->below) {
        most = emmai_max(most, level->heap_pages + pages);
        pages -= level->pages;
    }
    return most;
}

/* Whether what levels and image count is what they are, and the levels are in order. */
static bool emmai_checkpoint_is_sound(const emmai_control *control)
{
    const emmai_checkpoints *checkpoints = control->checkpoints;
    if (!checkpoints)
        return true;
    size_t pages = checkpoints->image.view_pages + checkpoints->kept_pages;
    for (const emmai_level *level = checkpoints->top; level; level = level->below) {
        pages += level->pages;
        for (size_t i = 1; i < level->count; i++)
            if (level->index[i - 1] >= level->index[i])
                return false;
        if (level->below && level->below->number >= level->number)
            return false;
    }
    return pages == checkpoints->pages &&
           checkpoints->image.low_pages + checkpoints->image.run_pages <=
               checkpoints->image.view_pages;
}

/* Mappings beside those that the instance would have, at most. */
static size_t emmai_checkpoint_mappings(const emmai_control *control)
{
    const emmai_checkpoints *checkpoints = control->checkpoints;
    if (!checkpoints)
        return 0;
    size_t count = checkpoints->pieces;
    if (checkpoints->image.view)
        count += checkpoints->image.run_pages ? 4 : 3;
    for (const emmai_level *level = checkpoints->top; level; level = level->below)
        count += level->mapping_bytes != 0;
    return count;
}

/* Unmaps what lies outside the instance's mapping. Each is forgotten before it is gone: one who jumps out in between
 * loses it, rather than that the next emma_destroy unmaps what may be another's by then. */
static void emmai_checkpoint_release(const emma *instance)
{
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    const emmai_level *level;
    while (checkpoints && (level = checkpoints->top)) {
        checkpoints->top = level->below;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (level->mapping_bytes)
            emmai_os_release((void *)(uintptr_t)level, level->mapping_bytes);
    }
    const char *view = checkpoints ? checkpoints->image.view : NULL;
    if (!view)
        return;
    checkpoints->image.view = NULL;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emmai_os_release((void *)(uintptr_t)view, checkpoints->image.view_pages << EMMAI_PAGE_SHIFT);
}
