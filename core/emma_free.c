/* emma_free.c - a block's way back: through emma_free into its slab.
 *
 * The fast path is at the end: compare, look up, push. Whatever is rarer is one call away, by name: an event
 * of a slab, a run, another heap's slab, re-entry. */
#include "emma_internal.h"

/* ---- inside the gate ---- */

/* Frees what is neither in a slab nor in a young one: a run, or misuse. */
static EMMAI_NOINLINE void free_run(emma *instance, emmai_heap *heap, emmai_slab *slab, void *block)
{
    uint8_t kind = slab->kind;
    if (kind == EMMAI_RUN && emmai_offset(instance, block) % EMMAI_CHUNK_BYTES == 0) {
        emmai_run_free(instance, heap, slab);
        return;
    }
    if (kind == EMMAI_FREE && !instance->shared) /* there the entry was only read */
        emmai_metadata_forget_entry(instance, slab);
    emmai_misuse(instance, emmai_misuse_of_kind(instance, kind, block), block);
}

/* The event that a free is when its chunk's `plain_frees` has just become negative. */
static EMMAI_ALWAYS_INLINE void free_unplain(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                             void *block)
{
    if (EMMAI_LIKELY(slab->size_class)) {
        emmai_slab_event(instance, heap, slab, block);
        return;
    }
    slab->plain_frees = 0;
    emmai_slab *young = NULL;
    if (EMMAI_LIKELY(slab->kind == EMMAI_YOUNG))
        young = emmai_young_find(instance, emmai_offset(instance, block));
    if (EMMAI_LIKELY(young))
        emmai_slab_free(instance, heap, young, block);
    else
        free_run(instance, heap, slab, block);
}

/* Frees a block of a slab of another heap, or a run, which is no heap's and has no class. */
static inline void free_other(emma *instance, emmai_heap *heap, emmai_slab *slab,
                              unsigned size_class, void *block)
{
    if (EMMAI_LIKELY(size_class))
        emmai_stash_free(instance, heap, size_class, block);
    else
        free_run(instance, heap, slab, block);
}

static inline void emmai_free_block(emma *instance, emmai_heap *heap, void *block)
{
    size_t offset = emmai_offset(instance, block);
    if (EMMAI_UNLIKELY(offset >= instance->region_bytes)) {
        emmai_misuse(instance, EMMA_MISUSE_FOREIGN, block);
        return;
    }
    emmai_slab *slab = emmai_slab_of_offset(instance, offset);
    if (emmai_slab_owner(instance, slab) != heap->number)
        free_other(instance, heap, slab, slab->size_class, block);
    else if (EMMAI_UNLIKELY(--slab->plain_frees < 0))
        free_unplain(instance, heap, slab, block);
    else
        emmai_slab_push(instance, slab, block);
}

/* Frees a block of the caller's, or one that was kept in its place. */
static inline void emmai_free_late(emma *instance, emmai_heap *heap, void *block)
{
    block = emmai_delay(instance, heap, block, emmai_delay_keeps(instance, block));
    if (!EMMA_DELAYED_REUSE || block)
        emmai_free_block(instance, heap, block);
}

/* ---- re-entry: a free from a signal handler is put off ---- */

static EMMAI_NOINLINE void free_defer(emma *instance, void *block)
{
    if (instance->control->resetting)
        return;
    bool nested = emmai_outside_begin(instance);
    bool is_block = emmai_block_slab(instance, block) != NULL;
    emmai_outside_end(instance, nested);
    if (!is_block)
        return;
    void *first = __atomic_load_n(&instance->deferred, __ATOMIC_RELAXED);
    do
        emmai_link_set(instance, block, first);
    /* By chance in tests: a handler that interrupts this one frees, too. */
    while (!__atomic_compare_exchange_n(&instance->deferred, &first, block, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
}

static EMMAI_NOINLINE void free_drain_deferred(emma *instance, emmai_heap *heap)
{
    void *block = __atomic_exchange_n(&instance->deferred, NULL, __ATOMIC_ACQUIRE);
    while (block) {
        void *next = emmai_link_get(instance, block);
        if (EMMA_DELAYED_REUSE) {
            emmai_watch_pause();
            *(void **)block = NULL;
            emmai_watch_resume();
        }
        emmai_free_late(instance, heap, block);
        block = next;
    }
}

/* Frees what signal handlers could not, or other threads did. */
static inline void emmai_free_drain(emma *instance, emmai_heap *heap)
{
    if (instance->shared)
        emmai_remote_drain(instance, heap);
    else if (__atomic_load_n(&instance->deferred, __ATOMIC_RELAXED))
        free_drain_deferred(instance, heap);
}

/* ---- the rarer ways of a free; they return NULL so that emma_resize can end in a jump to them
 * ---- */

static EMMAI_NOINLINE void *free_event(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                       void *block)
{
    free_unplain(instance, heap, slab, block);
    if (EMMA_AUDIT)
        emmai_check_audit(instance);
    emmai_leave(heap);
    return emmai_arch_null();
}

static EMMAI_NOINLINE void *free_foreign(emma *instance, void *block)
{
    emmai_misuse(instance, EMMA_MISUSE_FOREIGN, block);
    return emmai_arch_null();
}

/* Frees a block of a slab of this heap, whose gate is open. */
static EMMAI_ALWAYS_INLINE void *free_push(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                           void *block, bool shared)
{
    emmai_gate_close_fast(heap, shared);
    if (EMMAI_UNLIKELY(--slab->plain_frees < 0))
        return free_event(instance, heap, slab, block);
    emmai_slab_push(instance, slab, block);
    emmai_gate_open_fast(heap, shared);
    return NULL;
}

/* Frees without a heap, as if the block were another's. */
static void free_alone(emma *instance, emmai_slab *slab, void *block)
{
    if (EMMAI_LIKELY(slab->size_class))
        emmai_remote_free_alone(instance, slab, block);
    else
        free_run(instance, NULL, slab, block);
}

/* Frees for a thread that has no heap, and no memory for one. */
static void free_heapless(emma *instance, void *block)
{
    emmai_slab *slab = emmai_block_slab(instance, block);
    if (slab)
        free_alone(instance, slab, block);
}

static EMMAI_NOINLINE void *free_gated(emma *instance, void *block)
{
    emmai_heap *heap = emmai_enter(instance);
    if (!heap) {
        if (instance->shared)
            free_heapless(instance, block);
        else
            free_defer(instance, block);
        return emmai_arch_null();
    }
    emmai_free_late(instance, heap, block);
    emmai_leave(heap);
    return emmai_arch_null();
}

/* Frees a block of a slab of another heap than this one, whose gate is open; or a run. */
static EMMAI_NOINLINE void *free_remote(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                        unsigned size_class, void *block)
{
    emmai_gate_close_fast(heap, true);
    free_other(instance, heap, slab, size_class, block);
    emmai_gate_open_fast(heap, true);
    return emmai_arch_null();
}

/* Frees for a thread that used other instances meanwhile, has no heap here, or is interrupted in it. */
static EMMAI_NOINLINE void *free_away(emma *instance, emmai_slab *slab, void *block)
{
    emmai_heap *heap = emmai_thread_last(instance);
    if (!heap)
        heap = emmai_shared_earlier(instance);
    if (!heap && emmai_thread_wants_heap()) {
        free_gated(instance, block);
        return emmai_arch_null();
    }
    if (!heap || !emmai_sync_get(&heap->gate))
        free_alone(instance, slab, block);
    else if (emmai_slab_owner(instance, slab) == heap->number)
        free_push(instance, heap, slab, block, true);
    else
        free_remote(instance, heap, slab, slab->size_class, block);
    return emmai_arch_null();
}

/* Where a free comes when the instance's own heap is closed. In a shared instance: into the thread's
 * heap if that owns the slab and is not what this call interrupted. */
static EMMAI_NOINLINE void *free_slow(emma *instance, void *block)
{
    if (EMMA_DELAYED_REUSE || !instance->shared)
        return free_gated(instance, block);
    ptrdiff_t beyond = emmai_beyond(instance, block);
    if (EMMAI_UNLIKELY((size_t)beyond <= instance->foreign_max))
        return free_foreign(instance, block);
    emmai_slab *slab = emmai_slab_of_beyond(instance, beyond, true);
    emmai_heap *heap = emmai_thread_last(instance);
    if (EMMAI_UNLIKELY(!heap || !emmai_sync_get(&heap->gate)))
        return free_away(instance, slab, block);
    const emmai_tag *tag = emmai_tag_of_beyond(instance, beyond);
    if (EMMAI_LIKELY(tag->owner == heap->number))
        return free_push(instance, heap, slab, block, true);
    return free_remote(instance, heap, slab, tag->size_class, block);
}

/* ---- the fast path, and the public functions ---- */

/* `keeps` tells whether the block is one that emmai_delay_keeps. */
static EMMAI_ALWAYS_INLINE void *free_fast(emma *instance, emmai_heap *heap, void *block,
                                           bool keeps)
{
    if (EMMAI_UNLIKELY(heap->gate == 0))
        return free_slow(instance, block);
    if (EMMA_DELAYED_REUSE) {
        emmai_gate_close_fast(heap, false);
        block = emmai_delay(instance, heap, block, keeps);
        if (!block) {
            emmai_gate_open_fast(heap, false);
            return NULL;
        }
    }
    ptrdiff_t beyond = emmai_beyond(instance, block);
    if (!EMMA_DELAYED_REUSE && EMMAI_UNLIKELY((size_t)beyond <= instance->foreign_max))
        return free_foreign(instance, block);
    return free_push(instance, heap, emmai_slab_of_beyond(instance, beyond, false), block, false);
}

/* Leaves nothing in a block of the caller's that the next owner is not to read. */
static EMMAI_ALWAYS_INLINE void free_wipe(void *block, size_t bytes, size_t usable)
{
    if (!EMMA_ZERO_ON_FREE)
        emmai_canary_take(block, bytes, usable);
    emmai_hardened_wipe(block, usable);
}

/* Frees what may be no block of the caller's. */
static EMMAI_NOINLINE void *free_checked(emma *instance, void *block, const emmai_claim *claim)
{
    emmai_asked asked;
    if (!emmai_checked_in(instance, block, claim, &asked))
        return emmai_arch_null();
    free_wipe(block, asked.bytes, asked.usable);
    return free_fast(instance, &instance->heap, block, emmai_delay_keeps(instance, block));
}

static EMMAI_NOINLINE void *free_checked_sized(emma *instance, void *block, size_t bytes)
{
    return free_checked(instance, block, &(emmai_claim){ .bytes = bytes, .sized = true });
}

static EMMAI_ALWAYS_INLINE void *free_of_size(emma *instance, void *block, size_t bytes)
{
    size_t usable = 0;
    if (EMMA_CHECKS && EMMAI_UNLIKELY(!emmai_checked_in_fast(instance, block, bytes, &usable)))
        return free_checked_sized(instance, block, bytes);
    free_wipe(block, bytes, usable);
    return free_fast(instance, &instance->heap, block, true);
}

void emma_free(emma *instance, void *block)
{
    if (EMMA_CHECKS && block)
        free_checked(instance, block, NULL);
    else if (block)
        free_fast(instance, &instance->heap, block, true);
}

void emma_free_sized(emma *instance, void *block, size_t bytes)
{
    if (block)
        free_of_size(instance, block, bytes);
}
