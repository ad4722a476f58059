/* emma_slab.c - slabs: carving blocks, the rings of the classes, and the events that a free can be.
 *
 * A slab's memory is taken into use from its start, a page at a time; blocks freed go on a LIFO list of their slab,
 * whose last one is the next handed out. The head of a class's ring serves it until it has nothing left; then it is
 * FULL and outside the ring until one of its blocks is freed, when it queues up at the ring's end. */
#include "emma_internal.h"

/* Bytes of the blocks that fit into a slab; carved reaches this when all are carved. */
static size_t emmai_slab_bytes(const emmai_slab *slab)
{
    size_t space = slab->unit_count ? (size_t)slab->unit_count << EMMAI_UNIT_SHIFT : EMMAI_CHUNK_BYTES;
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    return space - space % block_bytes;
}

static char *emmai_slab_start(const emma *instance, const emmai_slab *slab)
{
    if (slab->unit_count)
        return emmai_origin(instance) + ((size_t)slab->first_unit << EMMAI_UNIT_SHIFT);
    return emmai_chunk_start(instance, (size_t)emmai_id_of_slab(instance, slab));
}

/* ---- rings ---- */

static emmai_slab *ring_next(const emma *instance, const emmai_slab *slab)
{
    return emmai_slab_of_id(instance, slab->next);
}

/* Puts a slab before the head: at the end of the ring. */
static void ring_append(emma *instance, emmai_slab *slab)
{
    emmai_slab **bin = &instance->heap.bins[slab->size_class];
    int32_t id = emmai_id_of_slab(instance, slab);
    if (*bin == &emmai_no_slab) {
        slab->next = slab->prev = id;
        *bin = slab;
        return;
    }
    emmai_slab *head = *bin;
    slab->next = emmai_id_of_slab(instance, head);
    slab->prev = head->prev;
    emmai_slab_of_id(instance, head->prev)->next = id;
    head->prev = id;
}

static void ring_remove(emma *instance, emmai_slab *slab)
{
    emmai_slab **bin = &instance->heap.bins[slab->size_class];
    emmai_slab *next = ring_next(instance, slab);
    if (next == slab)
        *bin = (emmai_slab *)(uintptr_t)&emmai_no_slab;
    else if (*bin == slab)
        *bin = next;
    next->prev = slab->prev;
    emmai_slab_of_id(instance, slab->prev)->next = slab->next;
}

/* ---- carving ---- */

/* Takes the pages up to `end` bytes of a slab into use; a class with many slabs gets more of them at once. */
static bool slab_touch(emma *instance, const emmai_slab *slab, size_t end)
{
    if (slab->unit_count) {
        end += (size_t)slab->first_unit << EMMAI_UNIT_SHIFT;
        return emmai_chunk_touch(instance, 0, emmai_round_up(end, EMMAI_PAGE_BYTES) >> EMMAI_PAGE_SHIFT);
    }
    size_t chunk = (size_t)emmai_id_of_slab(instance, slab);
    size_t pages = emmai_round_up(end, EMMAI_PAGE_BYTES) >> EMMAI_PAGE_SHIFT;
    size_t present = slab->resident;
    if (pages <= present)
        return true;
    size_t ahead = emmai_min(instance->heap.slab_count[slab->size_class], EMMAI_POPULATE_MAX_PAGES);
    size_t batch = emmai_min(emmai_max(pages, present + ahead), EMMAI_CHUNK_PAGES);
    if (batch == pages || !emmai_chunk_touch(instance, chunk, batch))
        return emmai_chunk_touch(instance, chunk, pages);
    emmai_os_populate(emmai_chunk_start(instance, chunk) + (present << EMMAI_PAGE_SHIFT),
                      (batch - present) << EMMAI_PAGE_SHIFT);
    return true;
}

/* Links the blocks from `block` to `end` into a list in address order. */
static void slab_link(emma *instance, emmai_slab *slab, char *block, const char *end, size_t block_bytes)
{
    slab->free = block;
    for (;;) {
        if (EMMA_CHECKS)
            emmai_checked_carve(instance, block, block_bytes);
        char *next = block + block_bytes;
        if (next == end)
            break;
        *(void **)(void *)block = next;
        block = next;
    }
    *(void **)(void *)block = NULL;
}

/* Carves the blocks that end on the next page with room for one; false when there are none left or no memory. */
static bool slab_carve(emma *instance, emmai_slab *slab)
{
    if (slab == &emmai_no_slab)
        return false;
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    size_t all = emmai_slab_bytes(slab);
    size_t carved = slab->carved;
    if (carved == all)
        return false;
    size_t room = emmai_round_up(carved + block_bytes, EMMAI_PAGE_BYTES) - carved;
    size_t end = emmai_min(carved + room - room % block_bytes, all);
    if (!slab_touch(instance, slab, end))
        return false;
    char *start = emmai_slab_start(instance, slab);
    slab_link(instance, slab, start + carved, start + end, block_bytes);
    slab->carved = (uint32_t)end;
    return true;
}

/* ---- allocation, when the head of the ring has no free block ---- */

static emmai_slab *slab_open(emma *instance, unsigned size_class)
{
    emmai_slab *slab = emmai_young_open(instance, size_class);
    if (!slab) {
        size_t chunk = emmai_chunk_take_slab(instance);
        if (!chunk)
            return NULL;
        slab = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
        if (instance->heap.slab_count[size_class] < UINT16_MAX)
            instance->heap.slab_count[size_class]++;
    }
    slab->size_class = (uint8_t)size_class;
    slab->plain_frees = EMMAI_NO_BLOCK_OUT;
    return slab;
}

/* Takes an empty slab out of its ring and gives its chunk back; a young one stays. */
static void slab_close(emma *instance, emmai_slab *slab)
{
    if (slab->unit_count)
        return;
    ring_remove(instance, slab);
    if (instance->heap.slab_count[slab->size_class] < UINT16_MAX)
        instance->heap.slab_count[slab->size_class]--;
    emmai_chunk_release(instance, (size_t)emmai_id_of_slab(instance, slab), 1);
}

static void *slab_pop(emmai_slab *slab)
{
    void *block = slab->free;
    slab->free = *(void **)block;
    slab->plain_frees++;
    return block;
}

/* Makes the next slab of the ring that has a free block its head; false if none has. */
static bool slab_rotate(emma *instance, unsigned size_class)
{
    emmai_slab *head = instance->heap.bins[size_class];
    for (emmai_slab *slab = ring_next(instance, head); slab != head; slab = ring_next(instance, slab))
        if (slab->free) {
            instance->heap.bins[size_class] = slab;
            return true;
        }
    return false;
}

/* Allocates a block of a class whose head has none ready; NULL when the limit or the kernel refuses. */
static void *emmai_slab_malloc(emma *instance, unsigned size_class)
{
    emmai_slab **bin = &instance->heap.bins[size_class];
    for (;;) {
        emmai_slab *slab = *bin;
        if (slab->free || slab_carve(instance, slab))
            return slab_pop(slab);
        if (slab == &emmai_no_slab) {
            slab = slab_open(instance, size_class);
            if (!slab)
                return NULL;
            ring_append(instance, slab);
        } else if (slab->carved == emmai_slab_bytes(slab)) {
            ring_remove(instance, slab);
            slab->kind = EMMAI_FULL;
            slab->plain_frees = 0;
        } else if (!slab_rotate(instance, size_class)) {
            if (slab->plain_frees == EMMAI_NO_BLOCK_OUT)
                slab_close(instance, slab);
            return NULL;
        }
    }
}

/* ---- frees that are more than a push ---- */

static void slab_push(emmai_slab *slab, void *block)
{
    *(void **)block = slab->free;
    slab->free = block;
}

/* Frees a block of a slab or young slab whose `plain_frees` has just become negative: a FULL slab has something to offer
 * again, or a slab is empty and goes back to the region, unless it is the head, which the next allocation will want. */
static void emmai_slab_event(emma *instance, emmai_slab *slab, void *block)
{
    if (slab->kind == EMMAI_FULL) {
        slab->kind = EMMAI_SLAB;
        slab->plain_frees = (int32_t)(slab->carved / emmai_class_bytes(slab->size_class)) - 2;
        ring_append(instance, slab);
    } else if (slab->plain_frees < EMMAI_NO_BLOCK_OUT) {
        slab->plain_frees = EMMAI_NO_BLOCK_OUT;
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
        return;
    }
    slab_push(slab, block);
    if (slab->plain_frees == EMMAI_NO_BLOCK_OUT && instance->heap.bins[slab->size_class] != slab)
        slab_close(instance, slab);
}

/* Gives the chunks of empty slabs back, the heads' too. */
static void emmai_slab_shed(emma *instance)
{
    for (unsigned i = 0; i < EMMAI_CLASS_COUNT; i++) {
        emmai_slab *slab = instance->heap.bins[i];
        if (slab != &emmai_no_slab && slab->plain_frees == EMMAI_NO_BLOCK_OUT)
            slab_close(instance, slab);
    }
}
