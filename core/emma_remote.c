/* emma_remote.c - blocks that are freed by a thread that does not own their slab.
 *
 * They go on a list of the slab's, in its `remote` word: how many there are, and where the last one
 * lies. The first word of each block tells where the one before it lies. Who puts the first one
 * there also puts the slab on its heap's list of returned slabs, linked through that block's word;
 * so each slab is listed once, however many blocks come back, and the owner, who takes the whole
 * list when one of its bins is empty, finds also the slabs that it no longer looks at.
 *
 *   remote    any thread adds (release), the owner takes all (acquire); no block of the list is handed
 *             out meanwhile, so a word that looks unchanged is
 *   returned  the same; a thread that stops between the two steps leaves one slab unlisted: what is
 *             freed into it by others stays there, as long as the instance lives */
#include "emma_internal.h"

#define PLACE_BITS 16
#define PLACE_MASK (((uint32_t)1 << PLACE_BITS) - 1)
#define COUNT_ONE  ((uint32_t)1 << PLACE_BITS)
#define LINK_SHIFT 32

_Static_assert(EMMAI_CHUNK_BYTES / EMMAI_CLASS_STEP_BYTES < PLACE_MASK, "a place fits");

/* Blocks of a slab that were freed and not taken back. */
static size_t emmai_remote_count(const emma *instance, const emmai_slab *slab)
{
    if (emmai_slab_is_young(instance, slab))
        return 0;
    return emmai_sync_get(&slab->remote) >> PLACE_BITS;
}

/* Where a block lies in its slab, from 1. */
static uint32_t remote_place(const emma *instance, const emmai_slab *slab, const void *block)
{
    size_t offset = (size_t)((const char *)block - emmai_slab_address(instance, slab));
    return (uint32_t)(offset / EMMAI_CLASS_STEP_BYTES) + 1;
}

static uint64_t *remote_block(const emma *instance, const emmai_slab *slab, uint32_t place)
{
    char *start = emmai_slab_address(instance, slab);
    return (uint64_t *)(void *)(start + (place - 1) * EMMAI_CLASS_STEP_BYTES);
}

/* The blocks of a slab's list, from the last one freed: NULL when there are no more. Only while
 * nobody frees. */
static const void *emmai_remote_next(const emma *instance, const emmai_slab *slab,
                                     const void *block)
{
    uint32_t place = block ? (uint32_t) * (const uint64_t *)block : emmai_sync_get(&slab->remote);
    place &= PLACE_MASK;
    return place ? remote_block(instance, slab, place) : NULL;
}

static void remote_list_slab(const emma *instance, const emmai_slab *slab, uint64_t *block)
{
    emmai_thread_heap *heap = (emmai_thread_heap *)(void *)emmai_heap_of(instance, slab);
    uint32_t first = emmai_sync_get(&heap->returned);
    do
        *block = (uint64_t)first << LINK_SHIFT;
    while (!__atomic_compare_exchange_n(&heap->returned, &first,
                                        (uint32_t)emmai_id_of_slab(instance, slab), true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* Frees a block of another heap's slab. */
static void emmai_remote_free(const emma *instance, emmai_slab *slab, void *block)
{
    uint64_t *word = block;
    uint32_t place = remote_place(instance, slab, block);
    uint32_t now = emmai_sync_get(&slab->remote);
    do
        *word = now & PLACE_MASK;
    while (!__atomic_compare_exchange_n(&slab->remote, &now,
                                        ((now & ~PLACE_MASK) + COUNT_ONE) | place, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (!now)
        remote_list_slab(instance, slab, word);
}

/* Takes the blocks of one slab back; returns the next returned slab's id. */
static uint32_t remote_take_back(emma *instance, emmai_heap *heap, emmai_slab *slab)
{
    uint32_t place = __atomic_exchange_n(&slab->remote, 0, __ATOMIC_ACQUIRE) & PLACE_MASK;
    uint64_t word = 0;
    while (place) {
        uint64_t *block = remote_block(instance, slab, place);
        word = *block;
        place = (uint32_t)word & PLACE_MASK;
        emmai_slab_free(instance, heap, slab, block);
    }
    return (uint32_t)(word >> LINK_SHIFT);
}

/* Takes back what other threads freed; the caller is inside the heap. */
static void emmai_remote_drain(emma *instance, emmai_heap *heap)
{
    uint32_t *returned = &((emmai_thread_heap *)(void *)heap)->returned;
    if (!emmai_sync_get(returned))
        return;
    uint32_t id = __atomic_exchange_n(returned, 0, __ATOMIC_ACQUIRE);
    while (id)
        id = remote_take_back(instance, heap, emmai_slab_of_id(instance, (ptrdiff_t)id));
}
