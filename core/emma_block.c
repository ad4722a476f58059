/* emma_block.c - a block's way out: from its class, or a run, through emma_malloc. emma_free.c is its way back.
 *
 * The fast path is at the end: compare, look up, pop. Whatever is rarer is one call away, by name: medium and
 * large sizes, an empty list, re-entry. The emmai_block functions do the same without the gate, for
 * callers that are inside already. */
#include "emma_internal.h"

/* ---- inside the gate ---- */

static inline void *emmai_block_of_class(emma *instance, emmai_heap *heap, unsigned size_class)
{
    void *block = heap->bins[size_class];
    if (!block)
        return emmai_hardened_fresh(instance, emmai_slab_refill(instance, heap, size_class),
                                    size_class);
    heap->bins[size_class] = emmai_link_get(instance, block);
    return emmai_hardened_fresh(instance, block, size_class);
}

static void *emmai_block_malloc(emma *instance, emmai_heap *heap, size_t bytes)
{
    if (bytes > EMMAI_SLAB_MAX_BYTES)
        return emmai_run_malloc(instance, heap, bytes, EMMAI_CHUNK_BYTES, EMMAI_RUN_PLAIN);
    return emmai_block_of_class(instance, heap, emmai_class_of(heap, bytes));
}

/* Bytes whose class is of blocks that hold `bytes` and are multiples of `alignment`, a power of two: a
 * class for a multiple of it is one too, as its step is either or divides it. */
static size_t block_aligned_bytes(size_t alignment, size_t bytes)
{
    return emmai_round_up(emmai_max(bytes, 1), alignment);
}

/* Allocates at a multiple of `alignment`, a power of two and more than a unit. Young slabs start at units
 * only; other slabs and runs at chunks. */
static void *emmai_block_aligned(emma *instance, emmai_heap *heap, size_t alignment, size_t bytes)
{
    if (bytes > EMMAI_SLAB_MAX_BYTES || alignment > EMMAI_SLAB_MAX_BYTES)
        return emmai_run_malloc(instance, heap, bytes, alignment, EMMAI_RUN_PLAIN);
    EMMAI_ASSERT(alignment > EMMAI_UNIT_BYTES);
    unsigned size_class = emmai_class_of(heap, block_aligned_bytes(alignment, bytes));
    emmai_slab_leave_young(instance, heap, size_class);
    void *block = emmai_block_of_class(instance, heap, size_class);
    if (!block || (uintptr_t)block % alignment == 0)
        return block;
    emmai_free_block(instance, heap, block);
    return emmai_run_malloc(instance, heap, bytes, alignment, EMMAI_RUN_PLAIN);
}

/* The slab or run that a block lies in; NULL, reported as misuse, when there is none. */
static emmai_slab *emmai_block_slab(const emma *instance, const void *block)
{
    size_t offset = emmai_offset(instance, block);
    if (offset >= instance->region_bytes) {
        emmai_misuse(instance, EMMA_MISUSE_FOREIGN, block);
        return NULL;
    }
    emmai_slab *slab = emmai_slab_of_offset(instance, offset);
    if (slab->size_class) /* its kind may be changing: it may be another thread's */
        return slab;
    uint8_t kind = slab->kind;
    if (kind == EMMAI_RUN)
        return slab;
    emmai_slab *young = kind == EMMAI_YOUNG ? emmai_young_find(instance, offset) : NULL;
    if (!young)
        emmai_misuse(instance, emmai_misuse_of_kind(instance, kind, block), block);
    return young;
}

static size_t emmai_block_usable(const emma *instance, const void *block)
{
    const emmai_slab *slab = emmai_block_slab(instance, block);
    return slab ? emmai_slab_usable(slab) : 0;
}

/* Enters to look at all blocks; false when the instance is busy. Of a shared instance no thread is
 * inside anyway, or the figures are of no one moment: there *heap is NULL. Where a reset was left in the middle there
 * is nothing to be looked at, until it is done again. */
static bool emmai_enter_to_look(emma *instance, emmai_heap **heap)
{
    *heap = instance->shared ? NULL : emmai_enter(instance);
    if (*heap) {
        emmai_free_drain(instance, *heap);
    } else if (instance->shared) {
        bool reset_was_left = instance->control->resetting;
        emmai_shared_mark_alone(instance, !reset_was_left);
        if (reset_was_left)
            return false;
        emmai_remote_settle(instance);
    }
    return *heap || instance->shared;
}

/* ---- the rarer ways of an allocation ---- */

/* Counts a request that the limit, the region or the kernel did not grant: not an absurd one. */
static void emmai_block_count_refusal(emma *instance, size_t bytes)
{
    if (bytes <= EMMAI_RESERVE_MAX_BYTES)
        emmai_sync_add(&instance->control->refused_count, (uint64_t)1);
}

/* block_pop's own slow path: it closed the gate and found the bin empty. */
static EMMAI_NOINLINE void *block_malloc_refill(emma *instance, emmai_heap *heap, size_t size_class)
{
    emmai_free_drain(instance, heap);
    void *block = emmai_block_of_class(instance, heap, (unsigned)size_class);
    if (!block && emmai_delay_retry(instance, heap, 0))
        block = emmai_block_of_class(instance, heap, (unsigned)size_class);
    if (!block)
        emmai_block_count_refusal(instance, emmai_class_bytes((unsigned)size_class));
    if (EMMA_AUDIT)
        emmai_check_audit(instance);
    emmai_leave(heap);
    return block;
}

/* The same for a caller who asked for `bytes`, or when the bin's first block is not as it was left. */
static EMMAI_NOINLINE void *block_checked_refill(emma *instance, emmai_heap *heap,
                                                 size_t size_class, size_t bytes)
{
    return emmai_checked_out(instance, block_malloc_refill(instance, heap, size_class), bytes);
}

/* Allocates last + 1 bytes from a heap whose gate told that they are few, for a caller who asked for `bytes`. */
static EMMAI_ALWAYS_INLINE void *block_pop(emma *instance, emmai_heap *heap, size_t last,
                                           size_t bytes, bool shared)
{
    if (last >= EMMAI_SMALL_MAX_BYTES) /* Never in tests: the gate is not above EMMAI_GATE_OPEN. */
        __builtin_unreachable();
    emmai_gate_close_fast(heap, shared);
    size_t size_class = heap->class_map[last / EMMAI_CLASS_STEP_BYTES];
    void *block = heap->bins[size_class];
    void *next;
    if (EMMAI_UNLIKELY(!block || !emmai_hardened_is_sound(instance, block, size_class, &next)))
        return EMMA_CHECKS ? block_checked_refill(instance, heap, size_class, bytes)
                           : block_malloc_refill(instance, heap, size_class);
    heap->bins[size_class] = next;
    emmai_hardened_unlink(block);
    emmai_gate_open_fast(heap, shared);
    return emmai_checked_out_fresh(instance, block, bytes, size_class);
}

/* Allocates whatever the size from a heap that was entered, and leaves it. */
static EMMAI_ALWAYS_INLINE void *block_malloc_inside(emma *instance, emmai_heap *heap, size_t bytes)
{
    emmai_free_drain(instance, heap);
    void *block = emmai_block_malloc(instance, heap, bytes);
    if (!block && emmai_delay_retry(instance, heap, bytes))
        block = emmai_block_malloc(instance, heap, bytes);
    if (!block)
        emmai_block_count_refusal(instance, bytes);
    if (EMMA_AUDIT)
        emmai_check_audit(instance);
    emmai_leave(heap);
    return block;
}

static EMMAI_NOINLINE void *block_malloc_gated(emma *instance, size_t bytes)
{
    emmai_heap *heap = emmai_enter(instance);
    return heap ? block_malloc_inside(instance, heap, bytes) : NULL;
}

/* The same in the calling thread's heap, whose gate is open. */
static EMMAI_NOINLINE void *block_malloc_any(emma *instance, emmai_heap *heap, size_t bytes)
{
    emmai_gate_close(heap);
    return block_malloc_inside(instance, heap, bytes);
}

/* Allocates for a thread that used other instances meanwhile. */
static EMMAI_NOINLINE void *block_malloc_earlier(emma *instance, size_t needed, size_t bytes)
{
    emmai_heap *heap = emmai_shared_earlier(instance);
    if (heap && EMMAI_LIKELY(needed - 1 < heap->gate))
        return block_pop(instance, heap, needed - 1, bytes, true);
    return emmai_checked_out(instance, block_malloc_gated(instance, needed), bytes);
}

/* Where an allocation comes that the instance's own heap does not serve. */
static EMMAI_NOINLINE void *block_malloc_slow(emma *instance, size_t needed, size_t bytes)
{
    if (!instance->shared)
        return emmai_checked_out(instance, block_malloc_gated(instance, needed), bytes);
    emmai_heap *heap = emmai_thread_last(instance);
    if (EMMAI_UNLIKELY(!heap))
        return block_malloc_earlier(instance, needed, bytes);
    if (EMMAI_LIKELY(needed - 1 < heap->gate))
        return block_pop(instance, heap, needed - 1, bytes, true);
    if (heap->gate)
        return emmai_checked_out(instance, block_malloc_any(instance, heap, needed), bytes);
    return emmai_checked_out(instance, block_malloc_gated(instance, needed), bytes);
}

/* ---- the fast path ---- */

/* Allocates last + 1 bytes, 0 bytes come as SIZE_MAX, for a caller who asked for `bytes`. */
static EMMAI_ALWAYS_INLINE void *block_malloc_fast(emma *instance, emmai_heap *heap, size_t last,
                                                   size_t bytes)
{
    if (EMMAI_UNLIKELY(last >= heap->gate))
        return block_malloc_slow(instance, last + 1, bytes);
    return block_pop(instance, heap, last, bytes, false);
}

/* ---- the public functions ---- */

void *emma_malloc(emma *instance, size_t bytes)
{
    return block_malloc_fast(instance, &instance->heap, emmai_checked_bytes(bytes) - 1, bytes);
}

/* Large blocks come from pages that mostly are zero already: only the others are zeroed. */
static EMMAI_NOINLINE void *block_calloc_large(emma *instance, size_t bytes)
{
    emmai_heap *heap = emmai_enter(instance);
    if (!heap)
        return NULL;
    emmai_free_drain(instance, heap);
    void *block = emmai_run_malloc(instance, heap, bytes, EMMAI_CHUNK_BYTES, EMMAI_RUN_ZERO);
    if (!block && emmai_delay_retry(instance, heap, bytes))
        block = emmai_run_malloc(instance, heap, bytes, EMMAI_CHUNK_BYTES, EMMAI_RUN_ZERO);
    if (!block)
        emmai_block_count_refusal(instance, bytes);
    emmai_leave(heap);
    return block;
}

void *emma_calloc(emma *instance, size_t count, size_t bytes)
{
    size_t product;
    if (__builtin_mul_overflow(count, bytes, &product))
        return NULL;
    size_t needed = emmai_checked_bytes(product);
    if (needed > EMMAI_SLAB_MAX_BYTES) {
        void *large = block_calloc_large(instance, needed);
        large = emmai_checked_out(instance, large, product);
        if (EMMAI_WATCHED && large)
            emmai_watch_define(large, product);
        return large;
    }
    void *block = block_malloc_fast(instance, &instance->heap, needed - 1, product);
    if (block && (EMMA_CANARIES || EMMAI_WATCHED))
        emmai_checked_zero(block, product);
    else if (block)
        emmai_arch_zero(block, emmai_round_up(product, EMMAI_CLASS_STEP_BYTES));
    return block;
}

/* Whether all blocks of a class are aligned so whose size is a multiple of it. */
static inline bool block_is_aligned_by_class(const emma *instance, size_t alignment)
{
    return alignment <= (instance->shared ? EMMAI_SLAB_MAX_BYTES : EMMAI_UNIT_BYTES);
}

/* Alignments that few slabs have. */
static EMMAI_NOINLINE void *block_aligned_slow(emma *instance, size_t alignment, size_t bytes)
{
    emmai_heap *heap = emmai_enter(instance);
    if (!heap)
        return NULL;
    emmai_free_drain(instance, heap);
    void *block = emmai_block_aligned(instance, heap, alignment, bytes);
    if (!block && emmai_delay_retry(instance, heap, bytes))
        block = emmai_block_aligned(instance, heap, alignment, bytes);
    if (!block)
        emmai_block_count_refusal(instance, emmai_max(bytes, alignment));
    emmai_leave(heap);
    return block;
}

void *emma_aligned_alloc(emma *instance, size_t alignment, size_t bytes)
{
    if (!alignment || (alignment & (alignment - 1)) || bytes > PTRDIFF_MAX)
        return NULL;
    size_t needed = emmai_checked_bytes(bytes);
    if (block_is_aligned_by_class(instance, alignment))
        return block_malloc_fast(instance, &instance->heap,
                                 block_aligned_bytes(alignment, needed) - 1, bytes);
    return emmai_checked_out(instance, block_aligned_slow(instance, alignment, needed), bytes);
}

/* Allocates a block with a label; `alignment`, a power of two, counts if the label has one. In a build with
 * EMMA_CHECKS. */
EMMAI_FOR_LIBRARIES void *emmai_block_labelled(emma *instance, size_t alignment, size_t bytes,
                                               unsigned label)
{
    if (bytes > PTRDIFF_MAX)
        return NULL;
    if (label >> EMMAI_LABEL_SHIFT == 0) {
        void *block = emma_malloc(instance, bytes);
        if (block)
            emmai_checked_label(instance, block, label);
        return block;
    }
    size_t needed = emmai_checked_bytes(bytes);
    alignment = emmai_max(alignment, EMMAI_PAIR_BYTES);
    void *block = block_is_aligned_by_class(instance, alignment)
                      ? block_malloc_gated(instance, block_aligned_bytes(alignment, needed))
                      : block_aligned_slow(instance, alignment, needed);
    return emmai_checked_out_as(instance, block, bytes, label);
}

size_t emma_usable_size(const emma *instance, const void *block)
{
    if (!block)
        return 0;
    bool nested = emmai_outside_begin(instance);
    size_t bytes =
        EMMA_CHECKS ? emmai_checked_usable(instance, block) : emmai_block_usable(instance, block);
    emmai_outside_end(instance, nested);
    return bytes;
}

bool emma_owns(const emma *instance, const void *address)
{
    return emmai_offset(instance, address) < instance->region_bytes;
}
