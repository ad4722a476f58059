/* emma_block.c - the way of a block: out of emma_malloc and back through emma_free.
 *
 * The public functions at the end are the fast paths: compare, look up, pop or push. Whatever is
 * rarer is one call away, by name: medium and large sizes, an empty list, an event of a slab,
 * re-entry. The emmai_block functions do the same without the gate, for callers that are inside
 * already. */
#include "emma_internal.h"

/* ---- inside the gate ---- */

static inline void *emmai_block_of_class(emma *instance, emmai_heap *heap, unsigned size_class)
{
    void *block = heap->bins[size_class];
    if (!block)
        return emmai_slab_refill(instance, heap, size_class);
    heap->bins[size_class] = *(void **)block;
    return block;
}

static void *emmai_block_malloc(emma *instance, emmai_heap *heap, size_t bytes)
{
    if (bytes > EMMAI_SLAB_MAX_BYTES)
        return emmai_run_malloc(instance, heap, bytes, EMMAI_CHUNK_BYTES, EMMAI_RUN_PLAIN);
    return emmai_block_of_class(instance, heap, emmai_class_of(heap, bytes));
}

/* The least class whose blocks hold `bytes` and are multiples of `alignment`; both at most
 * EMMAI_SLAB_MAX_BYTES. */
static unsigned block_aligned_class(const emmai_heap *heap, size_t alignment, size_t bytes)
{
    unsigned size_class = emmai_class_of(heap, emmai_max(bytes, alignment));
    while (emmai_class_bytes(size_class) % alignment)
        size_class++;
    return size_class;
}

/* Allocates at a multiple of `alignment`, a power of two. Young slabs start at units only; other
 * slabs and runs at chunks. */
static void *emmai_block_aligned(emma *instance, emmai_heap *heap, size_t alignment, size_t bytes)
{
    if (bytes > EMMAI_SLAB_MAX_BYTES || alignment > EMMAI_SLAB_MAX_BYTES)
        return emmai_run_malloc(instance, heap, bytes, alignment, EMMAI_RUN_PLAIN);
    unsigned size_class = block_aligned_class(heap, alignment, bytes);
    if (alignment > EMMAI_UNIT_BYTES)
        emmai_slab_leave_young(instance, heap, size_class);
    void *block = emmai_block_of_class(instance, heap, size_class);
    if (!block || (uintptr_t)block % alignment == 0)
        return block;
    emmai_block_free(instance, heap, block);
    return emmai_run_malloc(instance, heap, bytes, alignment, EMMAI_RUN_PLAIN);
}

/* What a block is guilty of that lies in a chunk of a kind that holds no block there. */
static enum emma_misuse block_crime(uint8_t kind)
{
    return kind == EMMAI_FREE || kind == EMMAI_HEAP ? EMMA_MISUSE_DOUBLE_FREE
           : kind == EMMAI_YOUNG                    ? EMMA_MISUSE_MISALIGNED
                                                    : EMMA_MISUSE_INTERIOR;
}

/* Frees what is neither in a slab nor in a young one: a run, or misuse. */
static EMMAI_NOINLINE void block_event_run(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                           void *block)
{
    uint8_t kind = slab->kind;
    if (kind == EMMAI_RUN && emmai_offset(instance, block) % EMMAI_CHUNK_BYTES == 0) {
        emmai_run_free(instance, heap, slab);
        return;
    }
    if (kind == EMMAI_FREE && !instance->shared) /* there the entry was only read */
        emmai_metadata_forget_entry(instance, slab);
    emmai_misuse(instance, block_crime(kind), block);
}

/* The event that a free is when its chunk's `plain_frees` has just become negative. */
static EMMAI_ALWAYS_INLINE void block_event(emma *instance, emmai_heap *heap, emmai_slab *slab,
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
        block_event_run(instance, heap, slab, block);
}

/* Frees a block of a slab of another heap, or a run, which is no heap's. */
static void block_free_other(emma *instance, emmai_heap *heap, emmai_slab *slab, void *block)
{
    if (EMMAI_LIKELY(slab->size_class))
        emmai_remote_free(instance, heap, slab->size_class, block);
    else
        block_event_run(instance, heap, slab, block);
}

static inline void emmai_block_free(emma *instance, emmai_heap *heap, void *block)
{
    size_t offset = emmai_offset(instance, block);
    if (EMMAI_UNLIKELY(offset >= instance->region_bytes)) {
        emmai_misuse(instance, EMMA_MISUSE_FOREIGN, block);
        return;
    }
    emmai_slab *slab = emmai_slab_of_offset(instance, offset);
    if (emmai_slab_owner(instance, slab) != heap->number)
        block_free_other(instance, heap, slab, block);
    else if (EMMAI_UNLIKELY(--slab->plain_frees < 0))
        block_event(instance, heap, slab, block);
    else
        emmai_slab_push(slab, block);
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
        emmai_misuse(instance, block_crime(kind), block);
    return young;
}

static size_t emmai_block_usable(const emma *instance, const void *block)
{
    const emmai_slab *slab = emmai_block_slab(instance, block);
    if (!slab)
        return 0;
    return emmai_slab_is_run(slab) ? slab->run_bytes : emmai_class_bytes(slab->size_class);
}

/* ---- re-entry: a free from a signal handler is put off ---- */

static EMMAI_NOINLINE void block_defer(emma *instance, void *block, const size_t *size)
{
    if (instance->control->resetting)
        return;
    bool nested = emmai_outside_begin(instance);
    bool is_block = EMMA_CHECKS ? emmai_checked_retire(instance, block, size)
                                : emmai_block_slab(instance, block) != NULL;
    emmai_outside_end(instance, nested);
    if (!is_block)
        return;
    void *first = __atomic_load_n(&instance->deferred, __ATOMIC_RELAXED);
    do
        *(void **)block = first;
    while (!__atomic_compare_exchange_n(&instance->deferred, &first, block, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
}

static EMMAI_NOINLINE void block_drain_deferred(emma *instance, emmai_heap *heap)
{
    void *block = __atomic_exchange_n(&instance->deferred, NULL, __ATOMIC_ACQUIRE);
    while (block) {
        void *next = *(void **)block;
        emmai_block_free(instance, heap, block);
        block = next;
    }
}

/* Frees what signal handlers could not, or other threads did. */
static inline void emmai_block_drain(emma *instance, emmai_heap *heap)
{
    if (instance->shared)
        emmai_remote_drain(instance, heap);
    else if (__atomic_load_n(&instance->deferred, __ATOMIC_RELAXED))
        block_drain_deferred(instance, heap);
}

/* Enters to look at all blocks; false when the instance is busy. Of a shared instance no thread is
 * inside anyway, or the figures are of no one moment: there *heap is NULL. */
static bool emmai_enter_to_look(emma *instance, emmai_heap **heap)
{
    *heap = instance->shared ? NULL : emmai_enter(instance);
    if (*heap)
        emmai_block_drain(instance, *heap);
    else if (instance->shared)
        emmai_remote_settle(instance);
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
    emmai_block_drain(instance, heap);
    void *block = emmai_block_of_class(instance, heap, (unsigned)size_class);
    if (!block)
        emmai_block_count_refusal(instance, emmai_class_bytes((unsigned)size_class));
    if (EMMA_AUDIT)
        emmai_check_audit(instance);
    emmai_leave(heap);
    return block;
}

/* Allocates last + 1 bytes from a heap whose gate told that they are few. */
static EMMAI_ALWAYS_INLINE void *block_pop(emma *instance, emmai_heap *heap, size_t last,
                                           bool shared)
{
    if (last >= EMMAI_SMALL_MAX_BYTES)
        __builtin_unreachable(); /* the gate is never above EMMAI_GATE_OPEN */
    emmai_gate_close_fast(heap, shared);
    size_t size_class = heap->class_map[last / EMMAI_CLASS_STEP_BYTES];
    void *block = heap->bins[size_class];
    if (EMMAI_UNLIKELY(!block))
        return block_malloc_refill(instance, heap, size_class);
    heap->bins[size_class] = *(void **)block;
    emmai_gate_open_fast(heap, shared);
    return block;
}

static void *block_allocate(emma *instance, emmai_heap *heap, size_t bytes)
{
    if (bytes > PTRDIFF_MAX)
        return NULL;
    return EMMA_CHECKS ? emmai_checked_malloc(instance, heap, bytes, 1)
                       : emmai_block_malloc(instance, heap, bytes);
}

/* Allocates from behind the gate, whatever the size. */
static EMMAI_NOINLINE void *block_malloc_gated(emma *instance, size_t bytes)
{
    emmai_heap *heap = emmai_enter(instance);
    if (!heap)
        return NULL;
    emmai_block_drain(instance, heap);
    void *block = block_allocate(instance, heap, bytes);
    if (!block)
        emmai_block_count_refusal(instance, bytes);
    if (EMMA_AUDIT)
        emmai_check_audit(instance);
    emmai_leave(heap);
    return block;
}

/* Allocates for a thread that used other instances meanwhile. */
static EMMAI_NOINLINE void *block_malloc_earlier(emma *instance, size_t bytes)
{
    emmai_heap *heap = emmai_shared_earlier(instance);
    if (heap && EMMAI_LIKELY(bytes - 1 < heap->gate))
        return block_pop(instance, heap, bytes - 1, true);
    return block_malloc_gated(instance, bytes);
}

/* Where an allocation comes that the instance's own heap does not serve. */
static EMMAI_NOINLINE void *block_malloc_slow(emma *instance, size_t bytes)
{
    if (EMMA_CHECKS || !instance->shared)
        return block_malloc_gated(instance, bytes);
    emmai_heap *heap = emmai_thread_last(instance);
    if (EMMAI_UNLIKELY(!heap))
        return block_malloc_earlier(instance, bytes);
    if (EMMAI_LIKELY(bytes - 1 < heap->gate))
        return block_pop(instance, heap, bytes - 1, true);
    return block_malloc_gated(instance, bytes);
}

/* ---- the rarer ways of a free; they return NULL so that emma_resize can end in a jump to them
 * ---- */

static EMMAI_NOINLINE void *block_free_event(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                             void *block)
{
    block_event(instance, heap, slab, block);
    if (EMMA_AUDIT)
        emmai_check_audit(instance);
    emmai_leave(heap);
    return emmai_arch_null();
}

static EMMAI_NOINLINE void *block_free_foreign(emma *instance, void *block)
{
    emmai_misuse(instance, EMMA_MISUSE_FOREIGN, block);
    return emmai_arch_null();
}

/* Frees a block of a slab of this heap, whose gate is open. */
static EMMAI_ALWAYS_INLINE void *block_push(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                            void *block, bool shared)
{
    emmai_gate_close_fast(heap, shared);
    if (EMMAI_UNLIKELY(--slab->plain_frees < 0))
        return block_free_event(instance, heap, slab, block);
    emmai_slab_push(slab, block);
    emmai_gate_open_fast(heap, shared);
    return NULL;
}

/* Frees without a heap, as if the block were another's. */
static void block_free_alone(emma *instance, emmai_slab *slab, void *block)
{
    if (EMMAI_LIKELY(slab->size_class))
        emmai_remote_free_alone(instance, slab, block);
    else
        block_event_run(instance, NULL, slab, block);
}

/* Frees for a thread that has no heap, and no memory for one. */
static void block_free_heapless(emma *instance, void *block, const size_t *size)
{
    if (EMMA_CHECKS && !emmai_checked_retire(instance, block, size))
        return;
    emmai_slab *slab = emmai_block_slab(instance, block);
    if (slab)
        block_free_alone(instance, slab, block);
}

static EMMAI_NOINLINE void *block_free_gated(emma *instance, void *block, const size_t *size)
{
    emmai_heap *heap = emmai_enter(instance);
    if (!heap) {
        if (instance->shared)
            block_free_heapless(instance, block, size);
        else
            block_defer(instance, block, size);
        return emmai_arch_null();
    }
    if (EMMA_CHECKS)
        emmai_checked_free(instance, heap, block, size);
    else
        emmai_block_free(instance, heap, block);
    emmai_leave(heap);
    return emmai_arch_null();
}

/* Frees a block of a slab of another heap than this one, whose gate is open; or a run. */
static EMMAI_NOINLINE void *block_free_remote(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                              unsigned size_class, void *block)
{
    emmai_gate_close_fast(heap, true);
    if (EMMAI_LIKELY(size_class))
        emmai_remote_free(instance, heap, size_class, block);
    else
        block_event_run(instance, heap, slab, block);
    emmai_gate_open_fast(heap, true);
    return emmai_arch_null();
}

/* Frees for a thread that used other instances meanwhile, has no heap here, or is interrupted in it. */
static EMMAI_NOINLINE void *block_free_away(emma *instance, emmai_slab *slab, void *block)
{
    emmai_heap *heap = emmai_thread_last(instance);
    if (!heap)
        heap = emmai_shared_earlier(instance);
    if (!heap && emmai_thread_wants_heap()) {
        block_free_gated(instance, block, NULL);
        return emmai_arch_null();
    }
    if (!heap || !emmai_sync_get(&heap->gate))
        block_free_alone(instance, slab, block);
    else if (emmai_slab_owner(instance, slab) == heap->number)
        block_push(instance, heap, slab, block, true);
    else
        block_free_remote(instance, heap, slab, slab->size_class, block);
    return emmai_arch_null();
}

/* Where a free comes when the instance's own heap is closed. In a shared instance: into the thread's
 * heap if that owns the slab and is not what this call interrupted. */
static EMMAI_NOINLINE void *block_free_slow(emma *instance, void *block, const size_t *size)
{
    if (EMMA_CHECKS || !instance->shared)
        return block_free_gated(instance, block, size);
    ptrdiff_t beyond = emmai_beyond(instance, block);
    if (EMMAI_UNLIKELY((size_t)beyond <= instance->foreign_max))
        return block_free_foreign(instance, block);
    emmai_slab *slab = emmai_slab_of_beyond(instance, beyond);
    emmai_heap *heap = emmai_thread_last(instance);
    if (EMMAI_UNLIKELY(!heap || !emmai_sync_get(&heap->gate)))
        return block_free_away(instance, slab, block);
    const emmai_tag *tag = emmai_tag_of_beyond(instance, beyond);
    if (EMMAI_LIKELY(tag->owner == heap->number))
        return block_push(instance, heap, slab, block, true);
    return block_free_remote(instance, heap, slab, tag->size_class, block);
}

/* ---- the fast paths ---- */

/* Allocates last + 1 bytes; 0 bytes come as SIZE_MAX. */
static EMMAI_ALWAYS_INLINE void *block_malloc_fast(emma *instance, emmai_heap *heap, size_t last)
{
    if (EMMA_CHECKS || EMMAI_UNLIKELY(last >= heap->gate))
        return block_malloc_slow(instance, last + 1);
    return block_pop(instance, heap, last, false);
}

static EMMAI_ALWAYS_INLINE void *block_free_fast(emma *instance, emmai_heap *heap, void *block,
                                                 const size_t *size)
{
    if (EMMA_CHECKS || EMMAI_UNLIKELY(heap->gate == 0))
        return block_free_slow(instance, block, size);
    ptrdiff_t beyond = emmai_beyond(instance, block);
    if (EMMAI_UNLIKELY((size_t)beyond <= instance->foreign_max))
        return block_free_foreign(instance, block);
    return block_push(instance, heap, emmai_slab_of_beyond(instance, beyond), block, false);
}

/* ---- the public functions ---- */

void *emma_malloc(emma *instance, size_t bytes)
{
    return block_malloc_fast(instance, &instance->heap, bytes - 1);
}

void emma_free(emma *instance, void *block)
{
    if (block)
        block_free_fast(instance, &instance->heap, block, NULL);
}

void emma_free_sized(emma *instance, void *block, size_t bytes)
{
    if (block)
        block_free_fast(instance, &instance->heap, block, EMMA_CHECKS ? &bytes : NULL);
}

void *emma_resize(emma *instance, void *block, size_t old_bytes, size_t bytes)
{
    size_t last;
    if (__builtin_sub_overflow(bytes, 1, &last))
        return block ? block_free_fast(instance, &instance->heap, block,
                                       EMMA_CHECKS ? &old_bytes : NULL)
                     : NULL;
    if (block)
        return emmai_realloc_fast(instance, block, old_bytes, last);
    return block_malloc_fast(instance, &instance->heap, last);
}

/* Large blocks come from pages that mostly are zero already: only the others are zeroed. */
static EMMAI_NOINLINE void *block_calloc_large(emma *instance, size_t bytes)
{
    emmai_heap *heap = emmai_enter(instance);
    if (!heap)
        return NULL;
    emmai_block_drain(instance, heap);
    void *block = emmai_run_malloc(instance, heap, bytes, EMMAI_CHUNK_BYTES, EMMAI_RUN_ZERO);
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
    if (!EMMA_CHECKS && product > EMMAI_SLAB_MAX_BYTES)
        return block_calloc_large(instance, product);
    void *block = emma_malloc(instance, product);
    if (block && EMMA_CHECKS)
        emmai_checked_zero(instance, block, product);
    else if (block)
        emmai_arch_zero(block, emmai_round_up(product, EMMAI_CLASS_STEP_BYTES));
    return block;
}

void *emma_aligned_alloc(emma *instance, size_t alignment, size_t bytes)
{
    if (!alignment || (alignment & (alignment - 1)) || bytes > PTRDIFF_MAX)
        return NULL;
    emmai_heap *heap = emmai_enter(instance);
    if (!heap)
        return NULL;
    emmai_block_drain(instance, heap);
    void *block = EMMA_CHECKS ? emmai_checked_malloc(instance, heap, bytes, alignment)
                              : emmai_block_aligned(instance, heap, alignment, bytes);
    if (!block)
        emmai_block_count_refusal(instance, emmai_max(bytes, alignment));
    emmai_leave(heap);
    return block;
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
