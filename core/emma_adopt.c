/* emma_adopt.c - heaps of a shared instance that somebody left, by emma_thread_detach or by its death: who takes
 * them, and what is taken back from those that nobody takes. Whose a heap is, and when it may be taken,
 * stands in emma_shared.c. */
#include "emma_internal.h"

/* ---- taking a heap ---- */

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
    return emmai_shared_is_idle(heap) && owner != id &&
           heap_is_left(instance, heap, owner, id, generation, self && self->forked);
}

/* Takes it then. One that turns out to be closed was had, and is just being left, by another thread: it is
 * this one's from when that is done, and not before. Were it given back, a signal handler that found it
 * open meanwhile would have this thread remember what is nobody's. */
static bool heap_take_if_left(emma *instance, emmai_thread_heap *heap, const emmai_thread *self,
                              uint64_t id, uint32_t generation)
{
    uint64_t owner = emmai_sync_get(&heap->owner);
    if (!heap_may_be_taken(instance, heap, owner, self, id, generation) ||
        !emmai_shared_is_idle(heap) || !heap_take(heap, owner, id, generation))
        return false;
    if (!owner)
        emmai_sync_sub(&instance->control->heaps_detached, (size_t)1);
    bool idle = emmai_shared_is_idle(heap);
    if (!idle && owner) /* Never in tests: a heap whose owner is gone is not entered. */
        __atomic_store_n(&heap->owner, owner, __ATOMIC_RELEASE);
    return idle;
}

/* Heaps whose owners the kernel is asked about by a thread that needs one. */
#define ADOPT_ASKS ((size_t)8)

/* A search for heaps that somebody left. */
typedef struct heap_search {
    size_t *cursor; /* where the next one begins */
    size_t seen;    /* what that was, as far as this one knows */
    size_t number;  /* of the heap looked at last */
    size_t left;    /* to be looked at */
    size_t asks;    /* owners that the kernel may still be asked about */
} heap_search;

/* Begins with the heap whose owner was asked about last: where one thread succeeds another, it has that one's,
 * and others that are left stay as they are. */
static heap_search heap_search_begin(const emma *instance, size_t *cursor, size_t asks)
{
    size_t last = emmai_sync_get(cursor);
    return (heap_search){ cursor, last, last ? last - 1 : 0, emmai_shared_heap_count(instance),
                          asks };
}

/* Uses up a question, and moves the cursor to the heap that it is about. Where another thread moved it meanwhile,
 * this one goes on behind that: were the cursor put back, those who come later would ask about owners that
 * were just found alive, and find none. A search of all heaps leaves it alone. */
static void heap_search_ask(heap_search *search)
{
    size_t here = search->number;
    if (search->asks == SIZE_MAX)
        return;
    search->asks--;
    if (emmai_sync_replace(search->cursor, &search->seen, here))
        search->seen = here;
    else
        search->number = search->seen;
}

/* The next idle heap that has no owner, or one that may be asked about; NULL when there is none. Where all
 * of many threads live, not each asks about each: the dead are found in turn. */
static emmai_thread_heap *heap_search_next(emma *instance, heap_search *search)
{
    emmai_control *control = instance->control;
    while (search->left && (search->asks || emmai_sync_get(&control->heaps_detached))) {
        search->left--;
        search->number =
            search->number < emmai_shared_heap_count(instance) ? search->number + 1 : 1;
        emmai_thread_heap *heap = emmai_shared_heap_at(instance, search->number);
        bool has_owner = heap && emmai_sync_get(&heap->owner);
        if (!heap || !emmai_shared_is_idle(heap) || (has_owner && !search->asks))
            continue;
        if (has_owner)
            heap_search_ask(search);
        return heap;
    }
    return NULL;
}

/* Takes an idle heap that somebody left: any that was detached, or a dead thread's. */
static emmai_thread_heap *emmai_adopt_heap(emma *instance, const emmai_thread *self, uint64_t id,
                                           uint32_t generation)
{
    heap_search search = heap_search_begin(instance, &instance->control->adopt_cursor, ADOPT_ASKS);
    emmai_thread_heap *heap;
    while ((heap = heap_search_next(instance, &search)))
        if (heap_take_if_left(instance, heap, self, id, generation))
            return heap;
    return NULL;
}

/* ---- taking back what is in them ---- */

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

/* Whether a heap may be the calling thread's of before a fork. What a handler forked from may be just about to
 * enter it: it can be taken for use, but not left to others. */
static bool heap_is_former(const emmai_thread_heap *heap, const emmai_thread *self, uint64_t id)
{
    return self && self->forked && (uint32_t)emmai_sync_get(&heap->owner) == (uint32_t)id;
}

/* Takes back what was freed into heaps that nobody has any more, and what these hold: all of them, or as many
 * as cost little and are cold. False when there was nothing. */
static bool reclaim_once(emma *instance, bool all)
{
    emmai_control *control = instance->control;
    emmai_thread *self = emmai_thread_self();
    uint32_t generation = emmai_shared_generation(instance);
    uint64_t id = emmai_thread_identify(self, instance);
    heap_search search = all ? heap_search_begin(instance, &control->adopt_cursor, SIZE_MAX)
                             : heap_search_begin(instance, &control->decay_cursor, ADOPT_ASKS);
    emmai_thread_heap *heap;
    bool found = false;
    while (id && (heap = heap_search_next(instance, &search))) {
        bool pending = emmai_sync_get(&heap->returned) || emmai_sync_get(&heap->stocked);
        if (!pending || heap_is_former(heap, self, id) ||
            (!all && !heap_is_cold(instance, heap, self, id, generation)) ||
            !heap_take_if_left(instance, heap, self, id, generation))
            continue;
        emmai_gate_close(&heap->heap);
        emmai_shared_leave(instance, heap, false);
        found = true;
    }
    return found;
}

/* Makes free, for when memory is short, what heaps hold and what was freed into those that nobody has any
 * more: rather than that a request is refused, all owners are asked about. Twice, since one of those heaps
 * may have kept blocks of another. */
static void emmai_adopt_reclaim(emma *instance)
{
    emmai_held_shed_all(instance);
    if (reclaim_once(instance, true))
        reclaim_once(instance, true);
}

/* Makes free what is left in heaps that were left a decay period ago or longer. By one thread at a time, so
 * that what this releases does not begin it again; if that one dies in it, another takes its place. Not
 * during a reset, which has the slabs of all heaps freed already. */
static void emmai_adopt_decay(emma *instance)
{
    emmai_control *control = instance->control;
    uint64_t by = emmai_sync_get(&control->decaying);
    uint64_t id = emmai_thread_identify(emmai_thread_self(), instance);
    /* By chance in tests: the thread cannot be told from others, or a handler comes again. */
    if (!id || control->resetting || by == id ||
        (by && emmai_os_thread_lives(emmai_sync_get(&control->process_id), (uint32_t)(by >> 32))) ||
        /* By chance in tests: another thread was faster. */
        !emmai_sync_replace(&control->decaying, &by, id))
        return;
    reclaim_once(instance, false);
    emmai_sync_set(&control->decaying, (uint64_t)0);
}
