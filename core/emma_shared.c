/* emma_shared.c - the heaps of a shared instance: one for each thread that allocates.
 *
 * A heap is a thread's own: only its owner is ever inside, so the heap's code needs no atomics. The
 * gate tells whether the owner is inside just now. A signal handler that finds it closed takes a
 * second heap of its thread; so does a thread whose earlier heap will never be left, because a
 * handler jumped out of it.
 *
 * `owner` names the thread, by its kernel id and a number given to it once; it is changed by
 * compare-and-exchange only, so a heap has one owner at any time:
 *   0 -> id      by who needs a heap, or takes back what is in it, and finds it left behind (acquire: sees
 *                all that was done)
 *   id -> 0      by who leaves it: emma_thread_detach, or having taken back what was in it (release)
 *   id -> id'    by who finds that thread dead. Not while the gate is closed: such a heap stopped in
 *                the middle of a change, and is left alone for good (its blocks can still be freed).
 *
 * Fork: the child has one thread. Its kernel id differs from what its heaps bear, so other threads of
 * the child would take them for a dead one's. Therefore heaps bear the generation of processes that
 * they were made in; `fork_word` is on a page that the kernel clears in a child, which is how the
 * next generation is noticed, and only the thread that came through the fork (it finds its own id
 * changed) may take heaps of an older one. */
#include "emma_internal.h"

/* ---- all heaps of an instance ---- */

/* The heap in a chunk; NULL for chunk 0. */
static emmai_thread_heap *heap_in(const emma *instance, size_t chunk)
{
    return chunk ? (emmai_thread_heap *)(void *)emmai_chunk_start(instance, chunk) : NULL;
}

/* NULL: there is none of this number. */
static emmai_thread_heap *emmai_shared_heap_at(const emma *instance, size_t number)
{
    return heap_in(instance, __atomic_load_n(&instance->heap_chunks[number], __ATOMIC_ACQUIRE));
}

/* The number of the heap that a chunk is made for; 0: none, the chunk is held by one, or lost. What is in it says
 * which it could be, the table whether it is. */
EMMAI_LOOKS_AT_OTHERS static size_t emmai_shared_heap_number(const emma *instance, size_t chunk)
{
    const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    if (!emmai_chunk_resident(entry)) /* a guard may be there */
        return 0;
    size_t number = heap_in(instance, chunk)->heap.number;
    bool is_its = number && number <= emmai_shared_heap_count(instance) &&
                  /* By chance in tests: a chunk that was another heap's, and is just given back. */
                  emmai_sync_get(&instance->heap_chunks[number]) == chunk;
    return is_its ? number : 0;
}

EMMAI_LOOKS_AT_OTHERS static emmai_heap *emmai_shared_heap_of(const emma *instance,
                                                              const emmai_slab *slab)
{
    emmai_thread_heap *heap = emmai_shared_heap_at(instance, emmai_slab_owner(instance, slab));
    return heap ? &heap->heap : NULL;
}

/* Numbers are handed out from 1; one whose heap did not come about has none. */
static size_t emmai_shared_heap_count(const emma *instance)
{
    return emmai_min(emmai_sync_get(&instance->control->heap_count), EMMAI_HEAPS_MAX);
}

static emmai_thread_heap *emmai_shared_next_heap(const emma *instance, size_t *number)
{
    emmai_thread_heap *found = NULL;
    while (!found && ++*number <= emmai_shared_heap_count(instance))
        found = emmai_shared_heap_at(instance, *number);
    return found;
}

/* ---- forks ---- */

/* The generation of processes, counted up by who first notices that the kernel cleared the word. */
static uint32_t emmai_shared_generation(emma *instance)
{
    uint32_t generation = emmai_sync_get(instance->fork_word);
    if (EMMAI_LIKELY(generation))
        return generation;
    /* Each number is used once, even if this process is stopped, and forked, right here. */
    emmai_control *control = instance->control;
    uint32_t next = __atomic_add_fetch(&control->generation, 1, __ATOMIC_RELAXED);
    uint32_t cleared = 0;
    emmai_sync_set(&control->process_id, (uint32_t)emmai_os_process_id());
    /* By chance in tests: a signal handler was faster. */
    if (!__atomic_compare_exchange_n(instance->fork_word, &cleared, next, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        return cleared;
    return next;
}

/* ---- finding a heap ---- */

static bool emmai_shared_is_idle(const emmai_thread_heap *heap)
{
    return __atomic_load_n(&heap->heap.gate, __ATOMIC_ACQUIRE) != 0;
}

/* Spreads ids over the slots. */
#define HASH_FACTOR ((uint64_t)0x9e3779b97f4a7c15u)
#define HASH_SHIFT  55

_Static_assert((uint64_t)1 << (64 - HASH_SHIFT) == EMMAI_HEAP_SLOTS, "a hash for each slot");

static uint32_t *heap_slot(const emma *instance, uint64_t id)
{
    return &instance->heap_slots[id * HASH_FACTOR >> HASH_SHIFT];
}

/* An idle heap that is the calling thread's already; the one in the lookup's slot first. */
static emmai_thread_heap *heap_find_own(emma *instance, uint64_t id)
{
    uint32_t *slot = heap_slot(instance, id);
    emmai_thread_heap *heap = heap_in(instance, __atomic_load_n(slot, __ATOMIC_ACQUIRE));
    if (heap && emmai_sync_get(&heap->owner) == id && emmai_shared_is_idle(heap))
        return heap;
    size_t number = 0;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        if (emmai_sync_get(&heap->owner) == id && emmai_shared_is_idle(heap)) {
            __atomic_store_n(slot, emmai_sync_get(&instance->heap_chunks[number]),
                             __ATOMIC_RELEASE);
            return heap;
        }
    return NULL;
}

/* Gives a new heap the first number that none has; false when there are no more, or no memory for the
 * table. Numbers are without gaps: who comes to a later one saw the one before taken. */
static bool heap_publish(emma *instance, emmai_thread_heap *heap, size_t chunk)
{
    size_t number = emmai_shared_heap_count(instance);
    for (;;) {
        uint32_t none = 0;
        if (++number > EMMAI_HEAPS_MAX ||
            !emmai_metadata_cover_page(instance, &instance->heap_chunks[number]))
            return false;
        heap->heap.number = (uint16_t)number;
        if (__atomic_compare_exchange_n(&instance->heap_chunks[number], &none, (uint32_t)chunk,
                                        false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            break;
    }
    emmai_sync_raise_size(&instance->control->heap_count, number);
    return true;
}

/* Makes a heap in a chunk of its own; NULL when the limit or the kernel refuses. */
static emmai_thread_heap *heap_create(emma *instance, uint64_t id, uint32_t generation)
{
    size_t chunk = emmai_chunk_take_heap(instance, sizeof(emmai_thread_heap));
    if (!chunk)
        return NULL;
    emmai_thread_heap *heap = (emmai_thread_heap *)(void *)emmai_chunk_start(instance, chunk);
    emmai_watch_define(heap, sizeof *heap);
    emmai_arch_zero(heap, sizeof *heap);
    emmai_heap_init(instance, &heap->heap);
    heap->instance = instance;
    heap->owner = id;
    heap->generation = generation;
    heap->stocked = true;
    if (heap_publish(instance, heap, chunk))
        return heap;
    emmai_chunk_release(instance, chunk, 1);
    return NULL;
}

/* Leaves a heap that the calling thread owns and has entered to whoever comes. The owner is gone before
 * the gate is open, so that nobody takes it while this thread is inside; in between the thread forgets
 * it, since before handlers can find it by its owner, and afterwards it may be another's. */
static void emmai_shared_leave(emma *instance, emmai_thread_heap *heap, bool stocked)
{
    emmai_thread *self = emmai_thread_self();
    emmai_stash_give_back(instance, &heap->heap);
    emmai_remote_drain(instance, &heap->heap);
    if (!stocked)
        emmai_slab_shed(instance, &heap->heap);
    emmai_sync_set(&heap->stocked, stocked);
    emmai_sync_set(&heap->looked_at, false);
    emmai_sync_add(&instance->control->heaps_detached, (size_t)1); /* first: see there */
    __atomic_store_n(&heap->owner, 0, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (self && (self->heap == heap || self->heap_before == heap))
        emmai_thread_forget(self);
    __atomic_store_n(&heap->heap.gate, EMMAI_GATE_OPEN, __ATOMIC_RELEASE);
}

/* An idle heap that is, or becomes, the calling thread's. */
static emmai_thread_heap *heap_for_thread(emma *instance, emmai_thread *self)
{
    emmai_thread_heap *heap = NULL;
    uint32_t generation = emmai_shared_generation(instance);
    if (!self || self->kernel_id)
        heap = heap_find_own(instance, emmai_thread_id(self));
    if (heap)
        return heap;
    uint64_t id = emmai_thread_identify(self, instance);
    if (!id)
        return NULL;
    heap = heap_find_own(instance, id);
    if (!heap)
        heap = emmai_adopt_heap(instance, self, id, generation);
    return heap ? heap : heap_create(instance, id, generation);
}

/* Marks that the calling thread is in what needs the instance for itself. Who jumps out of that leaves the mark, until
 * the next such call has come to its end. */
static void emmai_shared_mark_alone(const emma *instance, bool alone)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emmai_sync_set(&instance->control->alone, alone ? (uint32_t)emmai_os_thread_id() : 0);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Whether the calling thread is interrupted there, or inside a heap of its own. */
static bool emmai_shared_is_inside(const emma *instance)
{
    if (emmai_sync_get(&instance->control->alone) == (uint32_t)emmai_os_thread_id())
        return true;
    uint64_t id = emmai_thread_id(emmai_thread_self());
    emmai_thread_heap *heap;
    size_t number = 0;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        if (emmai_sync_get(&heap->owner) == id && !emmai_shared_is_idle(heap))
            return true;
    return false;
}

/* The heap that served it earlier: the one that the thread's slot names. */
static emmai_heap *emmai_shared_earlier(const emma *instance)
{
    emmai_thread *self = emmai_thread_self();
    if (!self || !self->kernel_id)
        return NULL;
    uint64_t id = emmai_thread_id(self);
    emmai_thread_heap *heap =
        heap_in(instance, __atomic_load_n(heap_slot(instance, id), __ATOMIC_ACQUIRE));
    if (!heap || emmai_sync_get(&heap->owner) != id)
        return NULL;
    emmai_thread_remember(self, instance, heap);
    return &heap->heap;
}

/* Enters an idle heap for the calling thread; NULL when there is no memory for one. */
static EMMAI_NOINLINE emmai_heap *emmai_shared_enter(emma *instance)
{
    emmai_heap *last = emmai_thread_last(instance);
    emmai_heap *heap = last;
    if (!last || !last->gate) {
        emmai_thread *self = emmai_thread_self();
        emmai_thread_heap *found = heap_for_thread(instance, self);
        if (!found)
            return NULL;
        heap = &found->heap;
        if (!last)
            emmai_thread_remember(self, instance, found);
    }
    emmai_gate_close(heap);
    return heap;
}

/* So many heaps are left with their empty slabs, for threads that come next: opening and closing a
 * slab for a few blocks is what a short-lived thread mostly does. */
#define STOCKED_MAX 4

/* Whether so many have no owner and are stocked. */
static bool enough_are_stocked(const emma *instance)
{
    emmai_thread_heap *heap;
    size_t number = 0, count = 0;
    while (count < STOCKED_MAX && (heap = emmai_shared_next_heap(instance, &number)))
        count += !emmai_sync_get(&heap->owner) && emmai_sync_get(&heap->stocked);
    return count == STOCKED_MAX;
}

void emma_thread_detach(emma *instance)
{
    emmai_thread *self = emmai_thread_self();
    if (!instance->shared || (self && self->nonce == EMMAI_NONCE_CHANGING))
        return;
    uint64_t id = emmai_thread_id(self);
    emmai_thread_heap *heap;
    size_t number = 0;
    while ((heap = emmai_shared_next_heap(instance, &number))) {
        if (emmai_sync_get(&heap->owner) != id || !emmai_shared_is_idle(heap))
            continue;
        emmai_gate_close(&heap->heap);
        emmai_shared_leave(instance, heap, !enough_are_stocked(instance));
    }
}
