/* emma_shared.c - the heaps of a shared instance: one for each thread that allocates.
 *
 * A heap is a thread's own: only its owner is ever inside, so the heap's code needs no atomics. The
 * gate tells whether the owner is inside just now. A signal handler that finds it closed takes a
 * second heap of its thread; so does a thread whose earlier heap will never be left, because a
 * handler jumped out of it.
 *
 * `owner` names the thread, by its kernel id and the place of its thread-local word; it is changed by
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

EMMAI_LOOKS_AT_OTHERS static emmai_heap *emmai_shared_heap_of(const emma *instance,
                                                              const emmai_slab *slab)
{
    emmai_thread_heap *heap = emmai_shared_heap_at(instance, emmai_slab_owner(instance, slab));
    return heap ? &heap->heap : NULL;
}

/* Numbers are handed out from 1; one whose heap did not come about has none. */
static size_t heap_count(const emma *instance)
{
    return emmai_min(emmai_sync_get(&instance->control->heap_count), EMMAI_HEAPS_MAX);
}

static emmai_thread_heap *emmai_shared_next_heap(const emma *instance, size_t *number)
{
    emmai_thread_heap *found = NULL;
    while (!found && ++*number <= heap_count(instance))
        found = emmai_shared_heap_at(instance, *number);
    return found;
}

/* ---- forks ---- */

/* The generation of processes, counted up by who first notices that the kernel cleared the word. */
static uint32_t shared_generation(emma *instance)
{
    uint32_t generation = emmai_sync_get(instance->fork_word);
    if (EMMAI_LIKELY(generation))
        return generation;
    /* Each number is used once, even if this process is stopped, and forked, right here. */
    emmai_control *control = instance->control;
    uint32_t next = __atomic_add_fetch(&control->generation, 1, __ATOMIC_RELAXED);
    uint32_t cleared = 0;
    emmai_sync_set(&control->process_id, (uint32_t)emmai_os_process_id());
    if (!__atomic_compare_exchange_n(instance->fork_word, &cleared, next, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        return cleared;
    return next;
}

/* ---- finding a heap ---- */

static bool heap_is_idle(const emmai_thread_heap *heap)
{
    return __atomic_load_n(&heap->heap.gate, __ATOMIC_ACQUIRE) != 0;
}

static bool heap_take(emmai_thread_heap *heap, uint64_t owner, uint64_t id, uint32_t generation)
{
    if (!__atomic_compare_exchange_n(&heap->owner, &owner, id, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return false;
    emmai_sync_set(&heap->generation, generation);
    emmai_sync_set(&heap->stocked, true);
    emmai_sync_set(&heap->looked_at, false);
    return true;
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
    if (heap && emmai_sync_get(&heap->owner) == id && heap_is_idle(heap))
        return heap;
    size_t number = 0;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        if (emmai_sync_get(&heap->owner) == id && heap_is_idle(heap)) {
            __atomic_store_n(slot, emmai_sync_get(&instance->heap_chunks[number]),
                             __ATOMIC_RELEASE);
            return heap;
        }
    return NULL;
}

/* Whether nobody will ever enter this heap again unless it is taken. */
static bool heap_is_left(const emma *instance, const emmai_thread_heap *heap, uint64_t owner,
                         uint64_t id, uint32_t generation, bool forked)
{
    if (!owner)
        return true;
    if (emmai_sync_get(&heap->generation) != generation && !forked)
        return false;
    uint32_t kernel_id = (uint32_t)(owner >> 32);
    if (kernel_id == (uint32_t)(id >> 32))
        return owner != id;
    return !emmai_os_thread_lives(emmai_sync_get(&instance->control->process_id), kernel_id);
}

/* Whether the calling thread may take a heap that has this owner: it is idle and somebody left it. */
static bool heap_may_be_taken(const emma *instance, const emmai_thread_heap *heap, uint64_t owner,
                              const emmai_thread *self, uint64_t id, uint32_t generation)
{
    return heap_is_idle(heap) && owner != id &&
           heap_is_left(instance, heap, owner, id, generation, self && self->forked);
}

/* Takes it then. One that turns out to be closed was had, and is just being left, by another thread: it
 * stays nobody's. */
static bool heap_take_if_left(emma *instance, emmai_thread_heap *heap, const emmai_thread *self,
                              uint64_t id, uint32_t generation)
{
    uint64_t owner = emmai_sync_get(&heap->owner);
    if (!heap_may_be_taken(instance, heap, owner, self, id, generation) || !heap_is_idle(heap) ||
        !heap_take(heap, owner, id, generation))
        return false;
    if (!heap_is_idle(heap)) {
        __atomic_store_n(&heap->owner, owner, __ATOMIC_RELEASE);
        return false;
    }
    if (!owner)
        emmai_sync_sub(&instance->control->heaps_detached, (size_t)1);
    return true;
}

/* Heaps whose owners the kernel is asked about by a thread that needs one. */
#define ADOPT_ASKS ((size_t)8)

/* A search for heaps that somebody left. */
typedef struct heap_search {
    size_t *cursor; /* where the next one begins */
    size_t number;  /* of the heap looked at last */
    size_t left;    /* to be looked at */
    size_t asks;    /* owners that the kernel may still be asked about */
} heap_search;

/* Begins with the heap whose owner was asked about last: where one thread succeeds another, it has that one's,
 * and others that are left stay as they are. */
static heap_search heap_search_begin(const emma *instance, size_t *cursor, size_t asks)
{
    size_t last = emmai_sync_get(cursor);
    return (heap_search){ cursor, last ? last - 1 : 0, heap_count(instance), asks };
}

/* The next idle heap that has no owner, or one that may be asked about; NULL when there is none. Where all
 * of many threads live, not each asks about each: the dead are found in turn. */
static emmai_thread_heap *heap_search_next(emma *instance, heap_search *search)
{
    emmai_control *control = instance->control;
    while (search->left && (search->asks || emmai_sync_get(&control->heaps_detached))) {
        search->left--;
        search->number = search->number < heap_count(instance) ? search->number + 1 : 1;
        emmai_thread_heap *heap = emmai_shared_heap_at(instance, search->number);
        bool has_owner = heap && emmai_sync_get(&heap->owner);
        if (!heap || !heap_is_idle(heap) || (has_owner && !search->asks))
            continue;
        if (has_owner) {
            search->asks--;
            emmai_sync_set(search->cursor, search->number);
        }
        return heap;
    }
    return NULL;
}

/* Takes an idle heap that somebody left: any that was detached, or a dead thread's. */
static emmai_thread_heap *heap_adopt(emma *instance, const emmai_thread *self, uint64_t id,
                                     uint32_t generation)
{
    heap_search search = heap_search_begin(instance, &instance->control->adopt_cursor, ADOPT_ASKS);
    emmai_thread_heap *heap;
    while ((heap = heap_search_next(instance, &search)))
        if (heap_take_if_left(instance, heap, self, id, generation))
            return heap;
    return NULL;
}

/* Gives a new heap the first number that none has; false when there are no more, or no memory for the
 * table. Numbers are without gaps: who comes to a later one saw the one before taken. */
static bool heap_publish(emma *instance, emmai_thread_heap *heap, size_t chunk)
{
    size_t number = heap_count(instance);
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
static void heap_leave_for_good(emma *instance, emmai_thread_heap *heap, bool stocked)
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

/* Whether somebody left a heap, and already had when this was asked last. */
static bool heap_is_cold(const emma *instance, emmai_thread_heap *heap, const emmai_thread *self,
                         uint64_t id, uint32_t generation)
{
    uint64_t owner = emmai_sync_get(&heap->owner);
    if (!heap_may_be_taken(instance, heap, owner, self, id, generation))
        return false;
    bool looked_at = emmai_sync_get(&heap->looked_at);
    emmai_sync_set(&heap->looked_at, true);
    return looked_at;
}

/* Takes back what was freed into heaps that nobody has any more, and what these hold: all of them, or as many
 * as cost little and are cold. False when there was nothing. */
static bool reclaim_once(emma *instance, bool all)
{
    emmai_control *control = instance->control;
    emmai_thread *self = emmai_thread_self();
    uint32_t generation = shared_generation(instance);
    uint64_t id = emmai_thread_identify(self, instance);
    heap_search search = all ? heap_search_begin(instance, &control->adopt_cursor, SIZE_MAX)
                             : heap_search_begin(instance, &control->decay_cursor, ADOPT_ASKS);
    emmai_thread_heap *heap;
    bool found = false;
    while (id && (heap = heap_search_next(instance, &search))) {
        bool pending = emmai_sync_get(&heap->returned) || emmai_sync_get(&heap->stocked);
        if (!pending || (!all && !heap_is_cold(instance, heap, self, id, generation)) ||
            !heap_take_if_left(instance, heap, self, id, generation))
            continue;
        emmai_gate_close(&heap->heap);
        heap_leave_for_good(instance, heap, false);
        found = true;
    }
    return found;
}

/* Makes free, for when memory is short, what heaps hold and what was freed into those that nobody has any
 * more: rather than that a request is refused, all owners are asked about. Twice, since one of those heaps
 * may have kept blocks of another. */
static void emmai_shared_reclaim(emma *instance)
{
    emmai_held_shed_all(instance);
    if (reclaim_once(instance, true))
        reclaim_once(instance, true);
}

/* Makes free what is left in heaps that were left a decay period ago or longer. By one thread at a time, so
 * that what this releases does not begin it again; if that one dies in it, another takes its place. Not
 * during a reset, which has the slabs of all heaps freed already. */
static void emmai_shared_decay(emma *instance)
{
    emmai_control *control = instance->control;
    uint64_t id = emmai_thread_id(emmai_thread_self());
    uint64_t by = emmai_sync_get(&control->decaying);
    if (control->resetting || by == id ||
        (by && emmai_os_thread_lives(emmai_sync_get(&control->process_id), (uint32_t)(by >> 32))) ||
        !emmai_sync_replace(&control->decaying, &by, id))
        return;
    reclaim_once(instance, false);
    emmai_sync_set(&control->decaying, (uint64_t)0);
}

/* An idle heap that is, or becomes, the calling thread's. */
static emmai_thread_heap *heap_for_thread(emma *instance, emmai_thread *self)
{
    emmai_thread_heap *heap = NULL;
    uint32_t generation = shared_generation(instance);
    if (!self || self->kernel_id)
        heap = heap_find_own(instance, emmai_thread_id(self));
    if (heap)
        return heap;
    uint64_t id = emmai_thread_identify(self, instance);
    if (!id)
        return NULL;
    heap = heap_find_own(instance, id);
    if (!heap)
        heap = heap_adopt(instance, self, id, generation);
    return heap ? heap : heap_create(instance, id, generation);
}

/* Whether the calling thread is interrupted inside a heap of its own. */
static bool emmai_shared_is_inside(const emma *instance)
{
    uint64_t id = emmai_thread_id(emmai_thread_self());
    emmai_thread_heap *heap;
    size_t number = 0;
    while ((heap = emmai_shared_next_heap(instance, &number)))
        if (emmai_sync_get(&heap->owner) == id && !heap_is_idle(heap))
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
        if (emmai_sync_get(&heap->owner) != id || !heap_is_idle(heap))
            continue;
        emmai_gate_close(&heap->heap);
        heap_leave_for_good(instance, heap, !enough_are_stocked(instance));
    }
}
