/* emma_abandoned.c - what threads of a shared instance left in the middle of a call, by their death or by a longjmp
 * out of a signal handler: heaps that stay closed, with their slabs, and chunks that were claimed and are nobody's.
 * Only emma_reset makes them useful again.
 *
 * They are looked for when somebody asks, and nothing is noted before. That a heap is closed says nothing while
 * its owner lives, which may be inside: what a living thread jumped out of is found when that thread asks,
 * and when it is gone. A chunk without a use may just be on its way from one to the other, in another thread. */
#include "emma_internal.h"

/* Whose heaps are asked about, and what was answered last: slabs of one heap lie together. */
typedef struct abandoned_search {
    uint32_t kernel_id; /* of the calling thread */
    size_t number;      /* 0: none yet */
    bool answer;
} abandoned_search;

/* Whether nobody will ever open a heap that is closed. Asked twice whether it is: the owner may have opened it
 * before it died, and then another thread may have closed it. */
static bool heap_is_abandoned(const emma *instance, const emmai_thread_heap *heap,
                              uint32_t kernel_id)
{
    uint64_t owner = emmai_sync_get(&heap->owner);
    uint32_t owner_id = (uint32_t)(owner >> 32);
    if (emmai_shared_is_idle(heap) || /* By chance in tests: who lives is just inside. */
        (owner && owner_id != kernel_id &&
         emmai_os_thread_lives(emmai_sync_get(&instance->control->process_id), owner_id)))
        return false;
    /* By chance in tests: it has just left, or another has come. */
    return !emmai_shared_is_idle(heap) && emmai_sync_get(&heap->owner) == owner;
}

static bool number_is_abandoned(const emma *instance, size_t number, abandoned_search *search)
{
    if (number != search->number) {
        const emmai_thread_heap *heap = emmai_shared_heap_at(instance, number);
        /* By chance in tests: the heap is just made. */
        search->answer = !heap || heap_is_abandoned(instance, heap, search->kernel_id);
        search->number = number;
    }
    return search->answer;
}

/* The number of the heap that a chunk in use belongs to, as its own or for a slab; 0: none. */
EMMAI_LOOKS_AT_OTHERS static size_t chunk_heap_number(const emma *instance, size_t chunk)
{
    const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    if (entry->kind == EMMAI_HEAP)
        return emmai_shared_heap_number(instance, chunk);
    return entry->size_class ? emmai_slab_owner(instance, entry) : 0;
}

/* Pages of the chunks that a heap holds: anybody who is short of memory takes them. Their list may change
 * meanwhile. */
EMMAI_LOOKS_AT_OTHERS static size_t held_pages(const emma *instance, const emmai_thread_heap *heap)
{
    size_t pages = 0;
    size_t chunk = emmai_sync_get(&heap->held);
    /* By chance in tests: the list is just changing. */
    for (size_t i = 0; i < EMMAI_HELD_MAX && chunk && chunk < instance->chunk_count; i++) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
        pages += emmai_chunk_resident(entry);
        chunk = (uint32_t)entry->next;
    }
    return pages;
}

/* Pages of a shared instance that nobody will use again. */
EMMAI_LOOKS_AT_OTHERS static size_t emmai_abandoned_pages(const emma *instance)
{
    if (!instance->shared)
        return 0;
    abandoned_search search;
    search.kernel_id = (uint32_t)emmai_os_thread_id();
    search.number = 0;
    search.answer = false;
    size_t pages = 0, held = 0, number = 0;
    size_t chunk = emmai_place_next_used(instance, EMMAI_YOUNG_CHUNKS);
    while (chunk < instance->chunk_count) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
        size_t count = 1;
        if (entry->kind == EMMAI_RUN) {
            count = emmai_max(emmai_chunks_of(entry->run_bytes), 1); /* it may just be freed */
        } else {
            size_t owner = chunk_heap_number(instance, chunk);
            if (!owner || number_is_abandoned(instance, owner, &search))
                pages += emmai_chunk_resident(entry);
        }
        chunk = emmai_place_next_used(instance, chunk + count);
    }
    const emmai_thread_heap *heap;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        held += held_pages(instance, heap);
    return pages - emmai_min(pages, held);
}

/* Opens the heaps that were left closed; they are empty, and nobody else uses the instance. */
static void emmai_abandoned_open(const emma *instance)
{
    emmai_thread_heap *heap;
    size_t number = 0;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        emmai_leave(&heap->heap);
}
