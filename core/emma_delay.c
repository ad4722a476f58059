/* emma_delay.c - EMMA_DELAYED_REUSE: a block that is freed is not the next that is handed out.
 *
 * A heap keeps some of the blocks that its thread freed, in places drawn at random: one that is
 * freed takes the place of another, which then goes back to its slab. Until then it is out for the
 * slab (I1), has no mark (I9), and is zero, if EMMA_ZERO_ON_FREE. When memory is short, all go
 * back. Runs are not kept: where they were, the next one is not (emma_place.c). Where a tool
 * watches, which should find blocks free for as long as can be, they are a list by age, and many:
 * whoever wants to know how many blocks of a slab are live counts marks instead. */
#include "emma_internal.h"

/* Whether the caller's block is to be kept: one of a slab is. */
static inline bool emmai_delay_keeps(const emma *instance, const void *block)
{
    if (!EMMA_DELAYED_REUSE)
        return false;
    const emmai_slab *slab = emmai_slab_of_offset(instance, emmai_offset(instance, block));
    return slab->size_class || slab->kind == EMMAI_YOUNG;
}

/* Whether a kept block is as it was left. */
static bool delay_is_sound(const emma *instance, const void *block)
{
    if (!EMMA_ZERO_ON_FREE)
        return true;
    emmai_watch_pause();
    bool sound = *(const uint64_t *)block == 0 &&
                 emmai_hardened_is_wiped(block, emmai_block_usable(instance, block));
    emmai_watch_resume();
    return sound;
}

/* ---- where a tool watches: a list from the oldest block to the last one that was freed ---- */

/* Of `delayed`, which has no more words than one in a build without. */
enum delayed_word {
    DELAYED_OLDEST,
    DELAYED_LAST = EMMAI_WATCHED,
    DELAYED_BYTES = 2 * EMMAI_WATCHED
};

static void queue_add_bytes(emmai_heap *heap, size_t bytes)
{
    void **word = &heap->delayed[DELAYED_BYTES];
    *word = (void *)((uintptr_t)*word + bytes);
}

static void queue_append(const emma *instance, emmai_heap *heap, void *block)
{
    emmai_link_set(instance, block, NULL);
    if (heap->delayed[DELAYED_OLDEST])
        emmai_link_set(instance, heap->delayed[DELAYED_LAST], block);
    else
        heap->delayed[DELAYED_OLDEST] = block;
    heap->delayed[DELAYED_LAST] = block;
    queue_add_bytes(heap, emmai_block_usable(instance, block));
}

/* The oldest block, which is no longer kept; NULL: none. */
static void *queue_remove(const emma *instance, emmai_heap *heap)
{
    void *block = heap->delayed[DELAYED_OLDEST];
    if (!block)
        return NULL;
    heap->delayed[DELAYED_OLDEST] = emmai_link_get(instance, block);
    queue_add_bytes(heap, -emmai_block_usable(instance, block));
    return block;
}

/* Whether a heap keeps more than it may; other threads cannot make it give that back. */
static bool queue_is_long(const emma *instance, const emmai_heap *heap)
{
    size_t heaps = instance->shared ? emmai_max(emmai_shared_heap_count(instance), 1) : 1;
    size_t most = emmai_footprint_limit_pages(instance->control) / EMMAI_DELAYED_PART / heaps;
    return (uintptr_t)heap->delayed[DELAYED_BYTES] >
           emmai_min(EMMAI_DELAYED_BYTES >> EMMAI_PAGE_SHIFT, most) << EMMAI_PAGE_SHIFT;
}

/* ---- keeping them ---- */

/* Reports a block that was written to while it was kept; the rest of it is looked at when it is handed out. */
static EMMAI_NOINLINE void delay_written(const emma *instance, void *block)
{
    emmai_misuse(instance, EMMA_MISUSE_AFTER_FREE, block);
}

/* What is to be freed of a place: looks at the first word, where a link will be. */
static EMMAI_ALWAYS_INLINE void *delay_released(const emma *instance, void *block)
{
    if (EMMA_ZERO_ON_FREE && block && EMMAI_UNLIKELY(*(const uint64_t *)block))
        delay_written(instance, block);
    return block;
}

/* Keeps a block of the caller's, who is inside the heap, if emmai_delay_keeps it; returns another that is to be
 * freed, NULL: none. */
static EMMAI_ALWAYS_INLINE void *emmai_delay(emma *instance, emmai_heap *heap, void *block,
                                             bool keeps)
{
    if (!EMMA_DELAYED_REUSE || !keeps)
        return block;
    if (EMMAI_WATCHED) {
        queue_append(instance, heap, block);
        while (queue_is_long(instance, heap))
            emmai_free_block(instance, heap, queue_remove(instance, heap));
        return NULL;
    }
    void **place = &heap->delayed[emmai_hardened_random(heap, EMMAI_DELAYED_COUNT)];
    void *released = *place;
    *place = block;
    return delay_released(instance, released);
}

/* Frees all that a heap keeps; false: nothing. */
static bool emmai_delay_flush(emma *instance, emmai_heap *heap)
{
    bool found = false;
    for (void *block; EMMAI_WATCHED && (block = queue_remove(instance, heap)); found = true)
        emmai_free_block(instance, heap, block);
    for (size_t i = 0; EMMA_DELAYED_REUSE && !EMMAI_WATCHED && i < EMMAI_DELAYED_COUNT; i++) {
        void *block = delay_released(instance, heap->delayed[i]);
        heap->delayed[i] = NULL;
        if (block)
            emmai_free_block(instance, heap, block);
        found = found || block;
    }
    return found;
}

/* The same for an allocation of so many bytes that was refused: whether to try it once more. */
static bool emmai_delay_retry(emma *instance, emmai_heap *heap, size_t bytes)
{
    return EMMA_DELAYED_REUSE && bytes <= instance->region_bytes &&
           emmai_delay_flush(instance, heap);
}

/* ---- looking at them ---- */

/* How many blocks of a slab are kept, by whichever heap. */
EMMAI_LOOKS_AT_OTHERS static size_t emmai_delay_count(const emma *instance, const emmai_slab *slab)
{
    size_t count = 0;
    size_t cursor = 0;
    const emmai_heap *heap;
    if (!EMMA_DELAYED_REUSE)
        return 0;
    const char *start = emmai_slab_address(instance, slab);
    size_t bytes = slab->carved * emmai_class_bytes(slab->size_class);
    while ((heap = emmai_heap_next(instance, &cursor)))
        for (size_t i = 0; i < EMMAI_DELAYED_COUNT; i++)
            count += (size_t)((const char *)heap->delayed[i] - start) < bytes;
    return count;
}

/* Whether no kept block was written to. */
static bool emmai_delay_check(const emma *instance)
{
    size_t cursor = 0;
    const emmai_heap *heap;
    while (EMMA_DELAYED_REUSE && !EMMAI_WATCHED && (heap = emmai_heap_next(instance, &cursor)))
        for (size_t i = 0; i < EMMAI_DELAYED_COUNT; i++)
            if (heap->delayed[i] && !delay_is_sound(instance, heap->delayed[i]))
                return false;
    return true;
}
