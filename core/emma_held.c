/* emma_held.c - empty chunks that a heap of a shared instance holds, for its next slabs and short runs: opening
 * and closing slabs then touches nothing that other threads write.
 *
 * They are linked by their entries' `next` from `held`, which only the owner adds to (release), and which
 * whoever is short of memory takes whole (acquire). The owner takes one off by taking all and putting the
 * rest back; a thread that stops in between loses them. */
#include "emma_internal.h"

/* Whether a heap may hold one more chunk: no more than is its share of the footprint. */
static bool held_has_room(const emma *instance, emmai_thread_heap *heap)
{
    if (!emmai_sync_get(&heap->held))
        heap->held_count = 0; /* others have taken them */
    size_t chunks = emmai_sync_get(&instance->control->footprint_pages) / EMMAI_CHUNK_PAGES;
    size_t heaps = emmai_sync_get(&instance->control->heap_count);
    return heap->held_count < EMMAI_HELD_MAX && heap->held_count * heaps <= chunks;
}

static void held_add(emma *instance, emmai_thread_heap *heap, size_t chunk)
{
    emmai_chunk_hold(instance, chunk);
    uint32_t first = emmai_sync_get(&heap->held);
    do
        emmai_slab_of_id(instance, (ptrdiff_t)chunk)->next = (int32_t)first;
    /* By chance in tests: another thread took all that was held. */
    while (!__atomic_compare_exchange_n(&heap->held, &first, (uint32_t)chunk, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    heap->held_count++;
}

/* Takes a chunk that the heap holds; 0 when it holds none. */
static size_t emmai_held_take(const emma *instance, emmai_heap *heap)
{
    emmai_thread_heap *owner = emmai_thread_heap_of(heap);
    if (!emmai_sync_get(&owner->held))
        return 0;
    uint32_t chunk = __atomic_exchange_n(&owner->held, 0, __ATOMIC_ACQUIRE);
    if (!chunk) /* By chance in tests: another thread took them meanwhile. */
        return 0;
    int32_t rest = emmai_slab_of_id(instance, (ptrdiff_t)chunk)->next;
    __atomic_store_n(&owner->held, (uint32_t)rest, __ATOMIC_RELEASE);
    owner->held_count--;
    return chunk;
}

/* Gives the chunks that a heap holds to all; any thread. */
static void emmai_held_shed(emma *instance, emmai_heap *heap)
{
    emmai_thread_heap *owner = emmai_thread_heap_of(heap);
    uint32_t chunk = __atomic_exchange_n(&owner->held, 0, __ATOMIC_ACQUIRE);
    while (chunk) {
        int32_t next = emmai_slab_of_id(instance, (ptrdiff_t)chunk)->next;
        emmai_chunk_release(instance, chunk, 1);
        chunk = (uint32_t)next;
    }
}

/* Gives what any heap holds to all. */
static void emmai_held_shed_all(emma *instance)
{
    size_t number = 0;
    emmai_thread_heap *heap;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        if (emmai_sync_get(&heap->held))
            emmai_held_shed(instance, &heap->heap);
}

/* Takes a chunk for a slab of this heap: one that it holds, or a free one. */
static size_t emmai_held_take_chunk(emma *instance, emmai_heap *heap)
{
    size_t chunk = emmai_held_take(instance, heap);
    if (!chunk)
        return emmai_chunk_take_slab(instance);
    emmai_slab_of_id(instance, (ptrdiff_t)chunk)->kind = EMMAI_SLAB;
    return chunk;
}

/* Gives one back: to be held, or to all. */
static void emmai_held_give(emma *instance, emmai_heap *heap, size_t chunk)
{
    emmai_thread_heap *owner = emmai_thread_heap_of(heap);
    if (held_has_room(instance, owner))
        held_add(instance, owner, chunk);
    else
        emmai_chunk_release(instance, chunk, 1);
}
