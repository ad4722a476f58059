/* emma_slab.c - slabs: carving blocks, the rings of the classes, and the events that a free can be.
 *
 * A slab's memory is taken into use from its start, a page at a time; blocks freed go on a LIFO
 * list of their slab. The head of a class's ring serves it: its whole list becomes the class's bin,
 * so that an allocation only pops. When it has nothing left it is FULL and outside the ring until
 * one of its blocks is freed; then it queues up at the ring's end. */
#include "emma_internal.h"

/* Much is free where it is this part of the footprint. */
#define SLAB_FREE_PART 4

/* Bytes of a block of a slab or run. */
static inline size_t emmai_slab_usable(const emmai_slab *slab)
{
    return emmai_slab_is_run(slab) ? slab->run_bytes : emmai_class_bytes(slab->size_class);
}

/* Blocks that fit into a slab. */
static size_t emmai_slab_blocks(const emma *instance, const emmai_slab *slab)
{
    size_t space = emmai_slab_is_young(instance, slab)
                       ? (size_t)slab->unit_count << EMMAI_UNIT_SHIFT
                       : EMMAI_SLAB_BYTES;
    return space / emmai_class_bytes(slab->size_class);
}

/* Whether a slab has a block out. */
static bool emmai_slab_has_out(const emmai_slab *slab)
{
    return slab->size_class && (slab->kind == EMMAI_FULL || slab->plain_frees > EMMAI_NO_BLOCK_OUT);
}

static char *emmai_slab_address(const emma *instance, const emmai_slab *slab)
{
    if (emmai_slab_is_young(instance, slab))
        return emmai_origin(instance) + ((size_t)slab->first_unit << EMMAI_UNIT_SHIFT);
    return emmai_chunk_start(instance, (size_t)emmai_id_of_slab(instance, slab));
}

/* ---- rings ---- */

static emmai_slab *ring_next(const emma *instance, const emmai_slab *slab)
{
    return emmai_slab_of_id(instance, slab->next);
}

/* Puts a slab before the head: at the end of the ring. */
static void ring_append(const emma *instance, emmai_heap *heap, emmai_slab *slab)
{
    emmai_slab **head_of = &heap->heads[slab->size_class];
    int32_t id = emmai_id_of_slab(instance, slab);
    if (*head_of == &emmai_no_slab) {
        slab->next = slab->prev = id;
        *head_of = slab;
        return;
    }
    emmai_slab *head = *head_of;
    slab->next = emmai_id_of_slab(instance, head);
    slab->prev = head->prev;
    emmai_slab_of_id(instance, head->prev)->next = id;
    head->prev = id;
}

static void ring_remove(const emma *instance, emmai_heap *heap, emmai_slab *slab)
{
    emmai_slab **head_of = &heap->heads[slab->size_class];
    emmai_slab *next = ring_next(instance, slab);
    if (next == slab)
        *head_of = (emmai_slab *)(uintptr_t)&emmai_no_slab;
    else if (*head_of == slab)
        *head_of = next;
    next->prev = slab->prev;
    emmai_slab_of_id(instance, slab->prev)->next = slab->next;
}

/* ---- carving ---- */

/* Takes the pages up to `end` bytes of a slab into use; a class with many slabs gets more of them
 * at once. */
static bool slab_account(emma *instance, const emmai_heap *heap, const emmai_slab *slab, size_t end)
{
    if (emmai_slab_is_young(instance, slab))
        return emmai_young_account(instance, ((size_t)slab->first_unit << EMMAI_UNIT_SHIFT) + end);
    size_t chunk = (size_t)emmai_id_of_slab(instance, slab);
    size_t pages = emmai_pages_of(end);
    size_t present = slab->resident;
    if (pages <= present)
        return true;
    size_t ahead = emmai_min(heap->slab_count[slab->size_class], EMMAI_POPULATE_MAX_PAGES);
    size_t batch =
        emmai_min(emmai_max(pages, present + ahead), EMMAI_SLAB_BYTES >> EMMAI_PAGE_SHIFT);
    if (batch == pages || !emmai_chunk_account(instance, chunk, batch))
        return emmai_chunk_account(instance, chunk, pages);
    emmai_os_populate(emmai_chunk_start(instance, chunk) + (present << EMMAI_PAGE_SHIFT),
                      (batch - present) << EMMAI_PAGE_SHIFT);
    return true;
}

static inline char *link_next(const emma *instance, char *block, size_t block_bytes)
{
    char *next = block + block_bytes;
    emmai_link_set(instance, block, next);
    return next;
}

static inline char *link_next_4(const emma *instance, char *block, size_t block_bytes)
{
    block = link_next(instance, link_next(instance, block, block_bytes), block_bytes);
    return link_next(instance, link_next(instance, block, block_bytes), block_bytes);
}

/* Links `count` blocks from `block` on into a list in address order; returns the first. */
static void *slab_link(const emma *instance, char *block, size_t count, size_t block_bytes)
{
    void *first = block;
    for (; count > 8; count -= 8)
        block = link_next_4(instance, link_next_4(instance, block, block_bytes), block_bytes);
    for (; count > 1; count--)
        block = link_next(instance, block, block_bytes);
    emmai_link_set(instance, block, NULL);
    return first;
}

/* Carves the blocks that end on the next page with room for one, of a slab that is not all carved, onto its
 * empty free list; false when there is no memory. */
static bool slab_carve(emma *instance, emmai_heap *heap, emmai_slab *slab)
{
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    size_t left = (size_t)slab->blocks - slab->carved;
    size_t start = slab->carved * block_bytes;
    size_t room = emmai_round_up(start + block_bytes, EMMAI_PAGE_BYTES) - start;
    size_t count = emmai_min(room / block_bytes, left);
    if (!slab_account(instance, heap, slab, start + count * block_bytes))
        return false;
    char *first = emmai_slab_address(instance, slab) + start;
    emmai_watch_pause();
    if (EMMA_ZERO_ON_FREE || EMMAI_UNLIKELY(emmai_image_is_left(instance)))
        emmai_arch_zero(first, count * block_bytes);
    emmai_watch_resume();
    slab->free = EMMA_RANDOM_ORDER
                     ? emmai_hardened_shuffle(instance, heap, first, count, block_bytes)
                     : slab_link(instance, first, count, block_bytes);
    slab->carved = (uint16_t)(slab->carved + count);
    return true;
}

/* ---- allocation, when the bin is empty ---- */

static emmai_slab *slab_init(const emma *instance, emmai_slab *slab, unsigned size_class)
{
    slab->size_class = (uint8_t)size_class;
    slab->blocks = (uint16_t)emmai_slab_blocks(instance, slab);
    slab->plain_frees = EMMAI_NO_BLOCK_OUT;
    return slab;
}

/* Whether the pages that a chunk has from an earlier use are worth more elsewhere than in the first slab of
 * its class, which may stay almost empty: not where much is free, nor where huge pages are in use. */
static bool slab_may_need_little(const emma *instance)
{
    const emmai_control *control = instance->control;
    size_t free_pages = emmai_sync_get(&control->retained_pages);
    size_t pages = emmai_sync_get(&control->footprint_pages);
    return free_pages < pages / SLAB_FREE_PART &&
           pages < EMMAI_HUGE_FOOTPRINT_BYTES >> EMMAI_PAGE_SHIFT;
}

static emmai_slab *slab_of_chunk(emma *instance, emmai_heap *heap, unsigned size_class)
{
    size_t chunk =
        instance->shared ? emmai_held_take_chunk(instance, heap) : emmai_chunk_take_slab(instance);
    if (!chunk)
        return NULL;
    if (heap->slab_count[size_class] < UINT16_MAX)
        heap->slab_count[size_class]++;
    emmai_slab *slab = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    emmai_entry_tag(instance, slab, heap->number, size_class);
    if (instance->shared && heap->slab_count[size_class] == 1 && slab_may_need_little(instance))
        emmai_chunk_cut(instance, chunk, emmai_class_bytes(size_class));
    return slab_init(instance, slab, size_class);
}

/* Whether the heap is so large that speed matters more than what a page for each class takes. */
static bool slab_has_outgrown_young(const emma *instance)
{
    return instance->shared || EMMA_GUARD_PAGES || EMMAI_WATCHED ||
           emmai_sync_get(&instance->control->footprint_pages) > EMMAI_YOUNG_LEAVE_BYTES >>
               EMMAI_PAGE_SHIFT;
}

static emmai_slab *slab_open(emma *instance, emmai_heap *heap, unsigned size_class)
{
    emmai_slab *young =
        slab_has_outgrown_young(instance) ? NULL : emmai_young_open(instance, size_class);
    return young ? slab_init(instance, young, size_class)
                 : slab_of_chunk(instance, heap, size_class);
}

/* Takes an empty slab out of its ring and gives its chunk back; a young one stays. */
static void slab_close(emma *instance, emmai_heap *heap, emmai_slab *slab)
{
    if (emmai_slab_is_young(instance, slab))
        return;
    ring_remove(instance, heap, slab);
    if (heap->slab_count[slab->size_class] < UINT16_MAX)
        heap->slab_count[slab->size_class]--;
    size_t chunk = (size_t)emmai_id_of_slab(instance, slab);
    if (instance->shared)
        emmai_held_give(instance, heap, chunk);
    else
        emmai_chunk_release(instance, chunk, 1);
}

/* Moves the head's free list, of at least one block, into the bin and pops a block. */
static inline void *slab_serve(const emma *instance, emmai_heap *heap, emmai_slab *slab)
{
    void *block = slab->free;
    heap->bins[slab->size_class] = emmai_link_get(instance, block);
    slab->free = NULL;
    slab->plain_frees = (int32_t)slab->carved - 1;
    return block;
}

/* Makes the next slab of the ring that has a free block its head; false if none has. */
static bool slab_rotate(const emma *instance, emmai_heap *heap, unsigned size_class)
{
    emmai_slab *head = heap->heads[size_class];
    for (emmai_slab *slab = ring_next(instance, head); slab != head;
         slab = ring_next(instance, slab))
        if (slab->free) {
            heap->heads[size_class] = slab;
            return true;
        }
    return false;
}

/* Allocates from the heap's own slabs; NULL when the limit or the kernel refuses. */
static EMMAI_NOINLINE void *slab_refill(emma *instance, emmai_heap *heap, unsigned size_class)
{
    if (!instance->shared && emmai_slab_is_young(instance, heap->heads[size_class]) &&
        slab_has_outgrown_young(instance))
        emmai_slab_leave_young(instance, heap, size_class);
    for (;;) {
        emmai_slab *slab = heap->heads[size_class];
        bool is_carved = slab->carved == slab->blocks;
        if (slab->free || (!is_carved && slab_carve(instance, heap, slab)))
            return slab_serve(instance, heap, slab);
        if (slab == &emmai_no_slab) {
            slab = slab_open(instance, heap, size_class);
            if (!slab)
                return NULL;
            ring_append(instance, heap, slab);
        } else if (is_carved) {
            ring_remove(instance, heap, slab);
            slab->kind = EMMAI_FULL;
            slab->plain_frees = 0;
        } else if (!slab_rotate(instance, heap, size_class)) {
            if (slab->plain_frees == EMMAI_NO_BLOCK_OUT)
                slab_close(instance, heap, slab);
            return NULL;
        }
    }
}

/* Allocates a block of a class whose bin is empty; NULL when the limit or the kernel refuses. */
static inline void *emmai_slab_refill(emma *instance, emmai_heap *heap, unsigned size_class)
{
    void *block = instance->shared ? emmai_stash_refill(instance, heap, size_class) : NULL;
    if (EMMAI_UNLIKELY(block))
        return block;
    emmai_slab *head = heap->heads[size_class];
    if (head->free && (instance->shared || !emmai_slab_is_young(instance, head)))
        return slab_serve(instance, heap, head);
    block = slab_refill(instance, heap, size_class);
    return block || !instance->shared ? block : emmai_stash_take(instance, heap, size_class);
}

/* ---- frees that are more than a push ---- */

static inline void emmai_slab_push(const emma *instance, emmai_slab *slab, void *block)
{
    emmai_link_set(instance, block, slab->free);
    slab->free = block;
}

/* Frees a block of a slab or young slab. */
static inline void emmai_slab_free(emma *instance, emmai_heap *heap, emmai_slab *slab, void *block)
{
    if (EMMAI_UNLIKELY(--slab->plain_frees < 0))
        emmai_slab_event(instance, heap, slab, block);
    else
        emmai_slab_push(instance, slab, block);
}

/* Frees a block of a slab or young slab whose `plain_frees` has just become negative: a FULL slab
 * has something to offer again, or a slab is empty and goes back to the region, unless it is the
 * head, which the next allocation will want. */
static void emmai_slab_event(emma *instance, emmai_heap *heap, emmai_slab *slab, void *block)
{
    if (slab->kind == EMMAI_FULL) {
        slab->kind = EMMAI_SLAB;
        slab->plain_frees = (int32_t)slab->carved - 2;
        ring_append(instance, heap, slab);
    } else if (slab->plain_frees < EMMAI_NO_BLOCK_OUT) {
        slab->plain_frees = EMMAI_NO_BLOCK_OUT;
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
        return;
    }
    emmai_slab_push(instance, slab, block);
    if (slab->plain_frees == EMMAI_NO_BLOCK_OUT && heap->heads[slab->size_class] != slab)
        slab_close(instance, heap, slab);
}

/* Gives the head the blocks of its bin back. */
static void slab_take_back(const emma *instance, emmai_heap *heap, emmai_slab *head)
{
    void **bin = &heap->bins[head->size_class];
    while (*bin) {
        void *block = *bin;
        *bin = emmai_link_get(instance, block);
        emmai_slab_push(instance, head, block);
        head->plain_frees--;
    }
}

/* The first slab of a class's ring that is a chunk; NULL if none is. */
static emmai_slab *ring_chunk(const emma *instance, const emmai_heap *heap, unsigned size_class)
{
    emmai_slab *head = heap->heads[size_class];
    if (head == &emmai_no_slab)
        return NULL;
    emmai_slab *slab = head;
    do {
        if (!emmai_slab_is_young(instance, slab))
            return slab;
        slab = ring_next(instance, slab);
    } while (slab != head);
    return NULL;
}

/* Makes a slab that is a chunk the head of a class's ring: for alignments that a young slab cannot
 * give, and in a large heap since frees are shorter there. Leaves the ring as it is when there is
 * no memory for one. */
static void emmai_slab_leave_young(emma *instance, emmai_heap *heap, unsigned size_class)
{
    emmai_slab **head_of = &heap->heads[size_class];
    emmai_slab *slab = ring_chunk(instance, heap, size_class);
    if (!slab) {
        slab = slab_of_chunk(instance, heap, size_class);
        if (!slab)
            return;
        ring_append(instance, heap, slab);
    }
    if (*head_of == slab)
        return;
    slab_take_back(instance, heap, *head_of);
    *head_of = slab;
}

/* Gives the chunks of empty slabs back, the heads' too, and what else the heap need not keep. */
static void emmai_slab_shed(emma *instance, emmai_heap *heap)
{
    /* There until memory is short. By chance in tests: of a shared instance. */
    if (!EMMAI_WATCHED || instance->shared)
        emmai_delay_flush(instance, heap);
    if (instance->shared)
        emmai_stash_give_back(instance, heap);
    for (unsigned i = 0; i < EMMAI_CLASS_COUNT; i++) {
        emmai_slab *slab = heap->heads[i];
        if (slab == &emmai_no_slab || emmai_slab_is_young(instance, slab) ||
            emmai_walk_out(instance, slab))
            continue;
        heap->bins[i] = NULL;
        slab_close(instance, heap, slab);
    }
    if (instance->shared)
        emmai_held_shed(instance, heap);
}
