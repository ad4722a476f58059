/* emma_internal.h - what the core's files offer each other, and the gate that each call passes.
 * The core is one translation unit (emma.c), so everything but the public interface is static. */
#ifndef EMMA_INTERNAL_H
#define EMMA_INTERNAL_H

#include "emma_internal_checked.h"
#include "emma_internal_checkpoint.h"
#include "emma_internal_shared.h"
#include "emma_link.h"

/* ---- emma_class.c ---- */

static const uint8_t emmai_class_map[2][EMMAI_SMALL_STEPS];
static inline size_t emmai_class_bytes(unsigned size_class);
static inline unsigned emmai_class_of(const emmai_heap *heap, size_t bytes);

/* ---- emma_os.c ---- */

static void *emmai_os_reserve(size_t bytes);
static void *emmai_os_memory(size_t bytes);
static void emmai_os_release(void *start, size_t bytes);
static bool emmai_os_commit(void *start, size_t bytes);
static bool emmai_os_purge(void *start, size_t bytes);
static bool emmai_os_guard(void *start, size_t bytes);
static bool emmai_os_unguard(void *start, size_t bytes);
static bool emmai_os_small_pages(void *start, size_t bytes);
static void emmai_os_huge_pages(void *start, size_t bytes);
static void emmai_os_populate(void *start, size_t bytes);
static bool emmai_os_overcommits(void);
static void emmai_os_name(void *start, size_t bytes, const char *name);
static uint64_t emmai_os_now_ms(void);
static uint64_t emmai_os_now_us(void);
static long emmai_os_thread_id(void);
static long emmai_os_process_id(void);
static bool emmai_os_thread_lives(uint32_t process_id, uint32_t kernel_id);
static bool emmai_os_clear_on_fork(void *start, size_t bytes);
static uint64_t emmai_os_random(const void *fallback);
static void emmai_os_print(const char *text, size_t bytes);

/* ---- emma_bits.c ---- */

static bool emmai_bits_get(const uint64_t *map, size_t bit);
static void emmai_bits_set(uint64_t *map, size_t first, size_t count);
static void emmai_bits_clear(uint64_t *map, size_t first, size_t count);
static uint64_t emmai_bits_add(uint64_t *map, size_t bit, uint64_t bits);
static bool emmai_bits_claim(uint64_t *map, size_t first, size_t count);
static size_t emmai_bits_next(size_t bit, size_t end);
static size_t emmai_bits_find(const uint64_t *map, size_t bit, size_t end, bool value);
static size_t emmai_bits_last(const uint64_t *map, size_t start, size_t end);

/* ---- emma_footprint.c ---- */

static bool emmai_footprint_take(emma *instance, size_t pages);
static void emmai_footprint_give(emma *instance, size_t pages);
static void emmai_footprint_set(emma *instance, size_t pages);
static bool emmai_footprint_recount(emma *instance);
static size_t emmai_footprint_limit_pages(const emmai_control *control);

/* ---- emma_place.c ---- */

static size_t emmai_place_next_used(const emma *instance, size_t chunk);
static size_t emmai_place_next_kept(const emma *instance, size_t chunk);
static size_t emmai_place_next_free(const emma *instance, size_t chunk);
static size_t emmai_place_fit(const emma *instance, size_t from, size_t count, size_t alignment);
static size_t emmai_place_run(emma *instance, size_t count, size_t alignment);
static size_t emmai_place_retained(const emma *instance, size_t count);
static size_t emmai_place_roomy(const emma *instance, size_t count);

/* ---- emma_entry.c ---- */

static void emmai_entry_tag(const emma *instance, const emmai_slab *entry, uint16_t owner,
                            unsigned size_class);
static void emmai_entry_begin_run(const emma *instance, emmai_slab *entry, size_t run_bytes);
static void emmai_entry_clear(emmai_slab *entry);

/* ---- emma_chunk.c ---- */

static bool emmai_chunk_is_accessible(const emma *instance, size_t chunk);
static size_t emmai_chunk_take_slab(emma *instance);
static size_t emmai_chunk_take_run(emma *instance, size_t bytes, size_t alignment, bool roomy);
static bool emmai_chunk_claim_whole(emma *instance, size_t chunk, size_t count);
static void emmai_chunk_retain(emma *instance, size_t chunk, size_t count);
static bool emmai_chunk_extend(emma *instance, size_t chunk, size_t count, size_t run,
                               size_t run_bytes);
static void emmai_chunk_release(emma *instance, size_t chunk, size_t count);
static bool emmai_chunk_account(emma *instance, size_t chunk, size_t pages);
static size_t emmai_chunk_take_heap(emma *instance, size_t bytes);
static void emmai_chunk_hold(emma *instance, size_t chunk);
static bool emmai_chunk_make_run(emma *instance, size_t chunk, size_t run_bytes);

/* ---- emma_metadata.c ---- */

static size_t emmai_metadata_uncounted(emma *instance, size_t chunk, size_t count);
static size_t emmai_metadata_count(emma *instance, size_t chunk, size_t count);
static bool emmai_metadata_cover_page(emma *instance, const void *metadata);
static void emmai_metadata_forget_entry(emma *instance, const emmai_slab *entry);
static size_t emmai_metadata_pages(const emma *instance);
static void emmai_metadata_purge_uncounted(const emma *instance);
static size_t emmai_metadata_marks_uncounted(emma *instance, size_t chunk, size_t count);
static size_t emmai_metadata_count_marks(emma *instance, size_t chunk, size_t count);
static size_t emmai_metadata_purge_marks(emma *instance, size_t first, size_t last);

/* ---- emma_purge.c ---- */

static size_t emmai_chunk_purge(emma *instance, size_t pages);
static size_t emmai_chunk_squeeze(emma *instance);
static void emmai_chunk_purge_uncounted(const emma *instance);
static void emmai_chunk_discard(emma *instance, size_t chunk, size_t count);
static void emmai_chunk_wipe(const emma *instance);
static void emmai_chunk_cut(emma *instance, size_t chunk, size_t bytes);

/* ---- emma_huge.c ---- */

static void emmai_huge_prepare(emma *instance, size_t chunk);
static void emmai_huge_try(const emma *instance, emmai_slab *run, size_t old_bytes);
static void emmai_huge_withdraw(const emma *instance, emmai_slab *run);
static void emmai_huge_shrink(const emma *instance, emmai_slab *run, size_t bytes);

/* ---- emma_young.c ---- */

static emmai_slab *emmai_young_open(emma *instance, unsigned size_class);
static bool emmai_young_account(emma *instance, size_t end);
static emmai_slab *emmai_young_find(const emma *instance, size_t offset);

/* ---- emma_slab.c ---- */

static inline void *emmai_slab_refill(emma *instance, emmai_heap *heap, unsigned size_class);
static void emmai_slab_event(emma *instance, emmai_heap *heap, emmai_slab *slab, void *block);
static inline void emmai_slab_push(const emma *instance, emmai_slab *slab, void *block);
static inline void emmai_slab_free(emma *instance, emmai_heap *heap, emmai_slab *slab, void *block);
static void emmai_slab_shed(emma *instance, emmai_heap *heap);
static void emmai_slab_leave_young(emma *instance, emmai_heap *heap, unsigned size_class);
static inline size_t emmai_slab_usable(const emmai_slab *slab);
static size_t emmai_slab_blocks(const emma *instance, const emmai_slab *slab);
static bool emmai_slab_has_out(const emmai_slab *slab);
static char *emmai_slab_address(const emma *instance, const emmai_slab *slab);

/* ---- emma_run.c ---- */

/* How a run is wanted, or-ed. Room: where it can grow, as it has before; at a multiple of a chunk then. */
enum emmai_run_flags { EMMAI_RUN_PLAIN = 0, EMMAI_RUN_ROOM = 1, EMMAI_RUN_ZERO = 2 };

static void *emmai_run_malloc(emma *instance, emmai_heap *heap, size_t bytes, size_t alignment,
                              unsigned flags);
static void emmai_run_free(emma *instance, emmai_heap *heap, emmai_slab *run);
static bool emmai_run_resize(emma *instance, emmai_slab *run, size_t bytes);
static size_t emmai_run_chunks(const emmai_slab *run);
static size_t emmai_run_missing(const emma *instance, size_t run, size_t bytes, size_t from);

/* ---- emma_block.c: allocation without the gate ---- */

static inline void *emmai_block_of_class(emma *instance, emmai_heap *heap, unsigned size_class);
static void *emmai_block_malloc(emma *instance, emmai_heap *heap, size_t bytes);
static void *emmai_block_aligned(emma *instance, emmai_heap *heap, size_t alignment, size_t bytes);
static emmai_slab *emmai_block_slab(const emma *instance, const void *block);
static size_t emmai_block_usable(const emma *instance, const void *block);
static bool emmai_enter_to_look(emma *instance, emmai_heap **heap);
static void emmai_block_count_refusal(emma *instance, size_t bytes);

/* ---- emma_free.c ---- */

static inline void emmai_free_block(emma *instance, emmai_heap *heap, void *block);
static inline void emmai_free_late(emma *instance, emmai_heap *heap, void *block);
static inline void emmai_free_drain(emma *instance, emmai_heap *heap);

/* ---- emma_realloc.c ---- */

static void *emmai_block_realloc(emma *instance, emmai_heap *heap, void *block, size_t bytes);
static void *emmai_realloc_fast(emma *instance, void *block, size_t old_bytes, size_t last);

/* ---- emma_misuse.c ---- */

static void emmai_misuse(const emma *instance, enum emma_misuse crime, const void *address);
static void emmai_misuse_size(const emma *instance, const void *block, size_t bytes, size_t given);
static void emmai_misuse_label(const emma *instance, const void *block, unsigned label,
                               const emmai_claim *claim);
static enum emma_misuse emmai_misuse_of_kind(const emma *instance, uint8_t kind, const void *block);

/* ---- emma_walk.c ---- */

static size_t emmai_walk_out(const emma *instance, const emmai_slab *slab);
static size_t emmai_walk_live(const emma *instance, const emmai_slab *slab);
static const void *emmai_walk_bin(const emma *instance, const emmai_slab *slab);
static bool emmai_walk_mark_free(const emma *instance, const emmai_slab *slab, uint64_t *marks,
                                 size_t *listed, size_t *binned);

/* ---- emma_check.c ---- */

static void emmai_check_audit(emma *instance);

/* Tells that a call is inside. */
static EMMAI_ALWAYS_INLINE void emmai_gate_close(emmai_heap *heap)
{
    emmai_sync_set(&heap->gate, (size_t)0);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Both for the fast paths: the gate of a local heap is no other thread's business, and compilers find
 * shorter code for a plain store. */
static EMMAI_ALWAYS_INLINE void emmai_gate_close_fast(emmai_heap *heap, bool shared)
{
    if (shared)
        emmai_sync_set(&heap->gate, (size_t)0);
    else
        heap->gate = 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static EMMAI_ALWAYS_INLINE void emmai_gate_open_fast(emmai_heap *heap, bool shared)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (shared)
        __atomic_store_n(&heap->gate, EMMAI_GATE_OPEN, __ATOMIC_RELEASE);
    else
        heap->gate = EMMAI_GATE_OPEN;
}

/* ---- heaps, and entering them ---- */

static void emmai_heap_init(const emma *instance, emmai_heap *heap);

/* A shared instance's heap with what only such a one has. */
static inline emmai_thread_heap *emmai_thread_heap_of(emmai_heap *heap)
{
    return (emmai_thread_heap *)(void *)heap;
}

/* The instance's heaps one after the other, from a *cursor of 0; NULL behind the last. */
static inline emmai_heap *emmai_heap_next(const emma *instance, size_t *cursor)
{
    if (instance->shared) {
        emmai_thread_heap *heap = emmai_shared_next_heap(instance, cursor);
        return heap ? &heap->heap : NULL;
    }
    return (*cursor)++ ? NULL : (emmai_heap *)(uintptr_t)&instance->heap;
}

/* The heap that a slab belongs to. */
EMMAI_LOOKS_AT_OTHERS static inline emmai_heap *emmai_heap_of(const emma *instance,
                                                              const emmai_slab *slab)
{
    if (instance->shared)
        return emmai_shared_heap_of(instance, slab);
    return (emmai_heap *)(uintptr_t)&instance->heap;
}

/* Enters the heap that the calling thread allocates from; NULL when the code that this call
 * interrupted is inside already, or for want of memory for one. The gate of a shared instance's own
 * heap is never open: that is how the fast paths learn to look for the thread's. */
static inline emmai_heap *emmai_enter(emma *instance)
{
    emmai_heap *heap = &instance->heap;
    if (EMMAI_UNLIKELY(heap->gate == 0)) {
        if (instance->shared)
            return emmai_shared_enter(instance);
        __atomic_fetch_add(&instance->control->reentered_count, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    emmai_gate_close(heap);
    return heap;
}

static inline void emmai_leave(emmai_heap *heap)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&heap->gate, EMMAI_GATE_OPEN, __ATOMIC_RELEASE);
}

/* Marks that the host's code runs while the gate is closed: on a consistent state, so that it may
 * ask for figures and change the limit, as a signal handler may not. Returns the mark there was. */
static inline bool emmai_callback_begin(const emma *instance)
{
    bool nested = emmai_sync_get(&instance->control->in_callback);
    emmai_sync_set(&instance->control->in_callback, true);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return nested;
}

static inline void emmai_callback_end(const emma *instance, bool nested)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emmai_sync_set(&instance->control->in_callback, nested);
}

/* Marks that what runs now only looks at a block, and has not entered: if the gate is closed, it is
 * by the code that this interrupted, and the state is not consistent. Returns the mark there was. */
static inline bool emmai_outside_begin(const emma *instance)
{
    bool nested = emmai_sync_get(&instance->control->outside);
    emmai_sync_set(&instance->control->outside, true);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return nested;
}

static inline void emmai_outside_end(const emma *instance, bool nested)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    emmai_sync_set(&instance->control->outside, nested);
}

/* emmai_enter for what callbacks may call too; sets *nested when it is one that does. The mark is
 * off while such a call is inside: a signal handler that interrupts it is none. */
static inline emmai_heap *emmai_enter_from_callback(emma *instance, bool *nested)
{
    *nested = instance->heap.gate == 0 && instance->control->in_callback;
    if (!*nested)
        return emmai_enter(instance);
    emmai_callback_end(instance, false);
    return &instance->heap;
}

static inline void emmai_leave_to_callback(emma *instance, emmai_heap *heap, bool nested)
{
    if (nested)
        emmai_callback_begin(instance);
    else
        emmai_leave(heap);
}

/* How many chunks of the young area say that they are: as many as have entries on page 0. A shared instance
 * has nothing in the others. */
static inline size_t emmai_young_entries(const emma *instance)
{
    size_t entries = EMMAI_HEAD_BYTES >> instance->entry_shift;
    return entries < EMMAI_YOUNG_CHUNKS ? entries : EMMAI_YOUNG_CHUNKS;
}

static inline size_t emmai_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t emmai_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
