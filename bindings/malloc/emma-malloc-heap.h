/* emma-malloc-heap.h - allocation in the process's instance, through a
 * pointer to the thread's heap.
 *
 * The core is compiled into the one file of a library that includes this, so that the shortest ways
 * can be shorter than emma_malloc and emma_free in a shared instance, which first find out whose
 * heap it is: here there is one instance, and a thread-local pointer to the thread's heap in it,
 * own_heap, which most callers name. What is unusual goes to functions of the library's own, which
 * are the ends of the fast paths. */
#ifndef EMMA_MALLOC_HEAP_H
#define EMMA_MALLOC_HEAP_H

struct emmai_heap;
static void follow_heap(struct emmai_heap *heap);
#define EMMAI_FOLLOW_HEAP(heap) follow_heap(heap)
#include "../../core/emma.c"

#include "emma-malloc.h"

/* ---- the thread's heap ---- */

/* Whether the C library is to tell when the calling thread ends. */
static __thread enum { NOT_MET, MET, LEAVING } meeting EMMA_TLS_MODEL;

/* Stands in for the heap of a thread that has none: its gate is never open, so the slow way is
 * taken, as by a signal handler that finds its thread's heap closed. */
static emmai_thread_heap no_heap;

/* The heap that the core remembers for the thread. */
static __thread emmai_heap *own_heap EMMA_TLS_MODEL = &no_heap.heap;

static void follow_heap(emmai_heap *heap)
{
    emmai_sync_set(&own_heap, heap ? heap : &no_heap.heap);
}

/* Not met again by a signal handler in between. */
void emmai_malloc_leave_heap(emma *instance)
{
    meeting = LEAVING;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emma_thread_detach(instance);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    meeting = NOT_MET;
}

/* After the core has served the thread, which may have a heap now. */
static inline void heap_meet(emma *instance)
{
    if (MALLOC_LIKELY(meeting != NOT_MET) || own_heap == &no_heap.heap)
        return;
    meeting = MET; /* before what may allocate */
    emmai_malloc_meet_thread(instance);
}

/* ---- allocation; NULL, with errno untouched, when there is no memory ---- */

typedef void *heap_slowly_fn(emmai_heap *heap, size_t bytes);
typedef void *heap_refill_fn(emmai_heap *heap, size_t size_class);

/* Of any size, for a thread that may have no heap yet. */
static MALLOC_NOINLINE void *heap_allocate_slowly(emmai_heap *heap, size_t bytes)
{
    if (!EMMA_CHECKS && MALLOC_LIKELY(heap->gate))
        return block_malloc_any(malloc_instance_if_made(), heap, bytes);
    emma *instance = emmai_malloc_instance();
    if (!instance)
        return NULL;
    void *block = emma_malloc(instance, bytes);
    heap_meet(instance);
    return block;
}

/* A block of a class whose bin is empty; the gate is closed. */
static MALLOC_NOINLINE void *heap_refill(emmai_heap *heap, size_t size_class)
{
    return block_malloc_refill(malloc_instance_if_made(), heap, size_class);
}

/* Pops a block as emma_malloc does in a local instance. */
static EMMAI_ALWAYS_INLINE void *heap_allocate(emmai_heap *heap, size_t bytes,
                                               heap_slowly_fn *slowly, heap_refill_fn *refill)
{
    const size_t last = bytes - 1;
    if (EMMA_CHECKS || MALLOC_UNLIKELY(last >= heap->gate))
        return slowly(heap, bytes);
    if (last >= EMMAI_SMALL_MAX_BYTES)
        __builtin_unreachable(); /* the gate is never above EMMAI_GATE_OPEN */
    emmai_gate_close_fast(heap, true);
    const size_t size_class = heap->class_map[last / EMMAI_CLASS_STEP_BYTES];
    void *block = heap->bins[size_class];
    if (MALLOC_UNLIKELY(!block))
        return refill(heap, size_class);
    heap->bins[size_class] = emmai_link_get(emmai_thread_heap_of(heap)->instance, block);
    emmai_gate_open_fast(heap, true);
    return block;
}

/* What a library with the fast paths above does for a calloc that is small. */
static inline void *heap_zero(void *block, size_t bytes)
{
    if (MALLOC_LIKELY(block))
        emmai_arch_zero(block, emmai_round_up(bytes, EMMAI_CLASS_STEP_BYTES));
    return block;
}

/* Of any size, zeroed. */
static MALLOC_NOINLINE void *heap_calloc_slowly(size_t count, size_t bytes)
{
    emma *instance = emmai_malloc_instance();
    if (MALLOC_UNLIKELY(!instance))
        return NULL;
    void *block = emma_calloc(instance, count, bytes);
    heap_meet(instance);
    return block;
}

/* Of any size, with a label; `alignment` is a power of two. In a build with EMMA_CHECKS. */
static inline void *heap_allocate_labelled(size_t alignment, size_t bytes, unsigned label)
{
    emma *instance = emmai_malloc_instance();
    if (!instance)
        return NULL;
    void *block = emmai_block_labelled(instance, alignment, bytes, label);
    heap_meet(instance);
    return block;
}

/* ---- frees and resizes ---- */

/* What a function says of a block's label; `mask` of it has to be right, unless mismatches are not to be reported. */
static inline emmai_claim heap_claim(unsigned label, unsigned mask)
{
    return (emmai_claim){ .label = (uint16_t)label,
                          .label_mask =
                              (uint16_t)(EMMAI_LABELS && emmai_malloc_asked.mismatch ? mask : 0) };
}

/* What free and realloc say: they take any alignment. */
static inline emmai_claim heap_claim_plain(bool resizes)
{
    emmai_claim claim = heap_claim(EMMAI_LABEL_PLAIN, EMMAI_LABEL_FAMILY);
    claim.resizes = resizes;
    return claim;
}

/* Whether the address is outside the instance; NULL is. */
static EMMAI_ALWAYS_INLINE bool heap_is_foreign(const emma *instance, ptrdiff_t beyond)
{
    return MALLOC_UNLIKELY((size_t)beyond <= instance->foreign_max);
}

/* Frees into the heap as emma_free does in a local instance; a block of another's slab into the
 * stash, if that is meant. False, with nothing done: the block is foreign, or another's, or there
 * is no heap, or somebody is inside it. */
static EMMAI_ALWAYS_INLINE bool heap_free_if(emmai_heap *heap, void *block, bool also_others)
{
    if (EMMA_CHECKS || MALLOC_UNLIKELY(!heap->gate))
        return false;
    emma *instance = emmai_thread_heap_of(heap)->instance;
    const ptrdiff_t beyond = emmai_beyond(instance, block);
    if (heap_is_foreign(instance, beyond))
        return false;
    emmai_slab *slab = emmai_slab_of_beyond(instance, beyond, true);
    const emmai_tag *tag = emmai_tag_of_beyond(instance, beyond);
    if (MALLOC_LIKELY(tag->owner == heap->number))
        free_push(instance, heap, slab, block, true);
    else if (also_others)
        free_remote(instance, heap, slab, tag->size_class, block);
    else
        return false;
    return true;
}

static EMMAI_ALWAYS_INLINE bool heap_free(emmai_heap *heap, void *block)
{
    return heap_free_if(heap, block, true);
}

/* Whether a block may stay where it is when it is to have `bytes`, since its class does not
 * change. */
static EMMAI_ALWAYS_INLINE bool heap_keeps(emmai_heap *heap, const void *block, size_t bytes)
{
    const size_t last = bytes - 1;
    if (EMMA_CHECKS || MALLOC_UNLIKELY(last >= heap->gate))
        return false;
    const emma *instance = emmai_thread_heap_of(heap)->instance;
    const ptrdiff_t beyond = emmai_beyond(instance, block);
    return !heap_is_foreign(instance, beyond) &&
           heap->class_map[last / EMMAI_CLASS_STEP_BYTES] ==
               emmai_sync_get(&emmai_tag_of_beyond(instance, beyond)->size_class);
}

/* Of a block of the instance's, or NULL, to any size. */
static inline void *heap_realloc_slowly(emmai_heap *heap, void *block, size_t bytes)
{
    if (!EMMA_CHECKS && block && MALLOC_LIKELY(heap->gate)) {
        emmai_gate_close(heap);
        return realloc_inside(malloc_instance_if_made(), heap, block, bytes);
    }
    emma *instance = emmai_malloc_instance();
    if (MALLOC_UNLIKELY(!instance))
        return NULL;
    const emmai_claim claim = heap_claim_plain(true);
    void *target = EMMA_CHECKS && block ? realloc_checked(instance, block, &claim, bytes)
                                        : emma_realloc(instance, block, bytes);
    heap_meet(instance);
    return target;
}

#endif
