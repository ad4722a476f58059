/* emma_realloc.c - changing a block's size: in place where the class or the run allows it, else by
 * moving.
 *
 * A smaller size never fails: if there is no memory to move to, the block stays where it is and is
 * larger than it need be as Lua demands. */
#include "emma_internal.h"

/* Moves the first `kept` bytes of a block of this slab or run to `target`. */
static void *realloc_move(emma *instance, emmai_heap *heap, emmai_slab *slab, void *block,
                          void *target, size_t kept)
{
    emmai_hardened_copy(target, block, kept);
    emmai_sync_add(&instance->control->moved_bytes, (uint64_t)kept);
    emmai_hardened_wipe(block, emmai_slab_usable(slab));
    if (EMMA_DELAYED_REUSE)
        emmai_free_late(instance, heap, block);
    else if (emmai_slab_is_run(slab))
        emmai_run_free(instance, heap, slab);
    else if (emmai_slab_owner(instance, slab) == heap->number)
        emmai_slab_free(instance, heap, slab, block);
    else
        emmai_stash_free(instance, heap, slab->size_class, block);
    return target;
}

static void *emmai_block_realloc(emma *instance, emmai_heap *heap, void *block, size_t bytes)
{
    emmai_slab *slab = emmai_block_slab(instance, block);
    if (!slab || bytes > PTRDIFF_MAX)
        return NULL;
    bool is_run = emmai_slab_is_run(slab);
    size_t usable = emmai_slab_usable(slab);
    void *target;
    if (bytes > EMMAI_SLAB_MAX_BYTES) {
        if (is_run && bytes <= instance->region_bytes && emmai_run_resize(instance, slab, bytes))
            return block;
        target = emmai_run_malloc(instance, heap, bytes, EMMAI_CHUNK_BYTES,
                                  bytes > usable ? EMMAI_RUN_ROOM : EMMAI_RUN_PLAIN);
    } else {
        unsigned size_class = emmai_class_of(heap, bytes);
        if (size_class == slab->size_class)
            return block;
        target = emmai_block_of_class(instance, heap, size_class);
    }
    if (target)
        return realloc_move(instance, heap, slab, block, target,
                            emmai_min(usable, emmai_round_up(bytes, EMMAI_CLASS_STEP_BYTES)));
    if (bytes > usable) {
        if (emmai_delay_retry(instance, heap, bytes))
            return emmai_block_realloc(instance, heap, block, bytes);
        emmai_block_count_refusal(instance, bytes);
        return NULL;
    }
    if (is_run)
        emmai_run_resize(instance, slab, emmai_max(bytes, 1));
    return block;
}

/* Resizes for a thread that has no heap, and no memory for one: a shrink leaves the block as it is. */
static void *realloc_heapless(const emma *instance, void *block, size_t bytes)
{
    return bytes <= emmai_block_usable(instance, block) ? block : NULL;
}

/* Resizes by a thread that has entered the heap, and leaves it. */
static void *realloc_inside(emma *instance, emmai_heap *heap, void *block, size_t bytes)
{
    emmai_free_drain(instance, heap);
    void *target = emmai_block_realloc(instance, heap, block, bytes);
    if (EMMA_AUDIT)
        emmai_check_audit(instance);
    emmai_leave(heap);
    return target;
}

static EMMAI_NOINLINE void *realloc_slow(emma *instance, void *block, size_t bytes)
{
    emmai_heap *heap = emmai_enter(instance);
    if (!heap)
        return instance->shared ? realloc_heapless(instance, block, bytes) : NULL;
    return realloc_inside(instance, heap, block, bytes);
}

/* emma_realloc_sized's own slow path: it closed the gate and found the bin empty. */
static EMMAI_NOINLINE void *realloc_refill(emma *instance, emmai_heap *heap, void *block,
                                           size_t bytes)
{
    emmai_leave(heap);
    return realloc_slow(instance, block, bytes);
}

/* The end of a move that leaves more to do than a push. */
static EMMAI_NOINLINE void *realloc_event(emma *instance, emmai_heap *heap, emmai_slab *slab,
                                          void *block, void *target)
{
    emmai_slab_event(instance, heap, slab, block);
    emmai_leave(heap);
    return target;
}

/* Small blocks move here, pop and push as in emma_malloc and emma_free. old_bytes, where it is of
 * the block's class, tells how little there is to copy; where it is not, or anything else is
 * unusual, the slow path does without it. */
static EMMAI_NOINLINE void *emmai_realloc_fast(emma *instance, void *block, size_t old_bytes,
                                               size_t last)
{
    emmai_heap *heap = &instance->heap;
    size_t old_last = old_bytes - 1;
    if (EMMA_DELAYED_REUSE || EMMA_ZERO_ON_FREE || (last | old_last) >= heap->gate)
        return realloc_slow(instance, block, last + 1);
    ptrdiff_t beyond = emmai_beyond(instance, block);
    if ((size_t)beyond <= instance->foreign_max)
        return realloc_slow(instance, block, last + 1);
    emmai_slab *slab = emmai_slab_of_beyond(instance, beyond, false);
    size_t old_step = old_last / EMMAI_CLASS_STEP_BYTES;
    size_t step = last / EMMAI_CLASS_STEP_BYTES;
    unsigned new_class = heap->class_map[step];
    if (heap->class_map[old_step] != slab->size_class) /* also when it is no slab: class 0 */
        return realloc_slow(instance, block, last + 1);
    if (new_class == slab->size_class)
        return block;
    emmai_gate_close_fast(heap, false);
    void *target = heap->bins[new_class];
    if (EMMAI_UNLIKELY(!target))
        return realloc_refill(instance, heap, block, last + 1);
    heap->bins[new_class] = emmai_link_get(instance, target);
    size_t kept = (emmai_min(old_step, step) + 1) * EMMAI_CLASS_STEP_BYTES;
    emmai_arch_copy_short(target, block, kept);
    emmai_sync_count(&instance->control->moved_bytes, kept);
    if (EMMAI_UNLIKELY(--slab->plain_frees < 0))
        return realloc_event(instance, heap, slab, block, target);
    emmai_slab_push(instance, slab, block);
    emmai_gate_open_fast(heap, false);
    return target;
}

/* ---- the public functions ---- */

/* Hands a block out whose first `kept` bytes the caller has written, as far as a tool that watches
 * could tell. */
static void *realloc_out(const emma *instance, void *block, size_t bytes, unsigned label,
                         size_t kept)
{
    block = emmai_checked_out_as(instance, block, bytes, label);
    if (block)
        emmai_watch_define(block, emmai_min(bytes, kept));
    return block;
}

/* Resizes what may be no block of the caller's. What could not be resized keeps its label. */
static void *realloc_verified(emma *instance, void *block, const emmai_claim *claim, size_t bytes)
{
    emmai_asked asked;
    if (!emmai_checked_in(instance, block, claim, &asked))
        return NULL;
    emmai_watch_pause();
    emmai_canary_take(block, asked.bytes, asked.usable);
    void *target = realloc_slow(instance, block, emmai_checked_bytes(bytes));
    emmai_watch_resume();
    if (!target)
        realloc_out(instance, block, asked.bytes, asked.label, asked.bytes);
    return realloc_out(instance, target, bytes, EMMAI_LABEL_PLAIN, asked.bytes);
}

/* Copies any number of bytes; what of them is not initialised is not so there either. */
static void realloc_copy(char *target, const char *block, size_t bytes)
{
    size_t words_bytes = bytes / EMMAI_CLASS_STEP_BYTES * EMMAI_CLASS_STEP_BYTES;
    if (words_bytes)
        emmai_arch_copy(target, block, words_bytes);
    for (size_t i = words_bytes; i < bytes; i++) {
        target[i] = block[i];
        EMMAI_FENCE_LOOP();
    }
}

/* Resizes where a tool watches: always to another place, if there is one, so that who uses the old
 * one is found out. */
static void *realloc_watched(emma *instance, void *block, const emmai_claim *claim, size_t bytes)
{
    emmai_asked asked;
    if (!emmai_checked_look(instance, block, claim, &asked))
        return NULL;
    void *target = emma_malloc(instance, bytes);
    if (!target)
        return realloc_verified(instance, block, claim, bytes);
    size_t kept = emmai_min(asked.bytes, bytes);
    realloc_copy(target, block, kept);
    emmai_sync_add(&instance->control->moved_bytes, (uint64_t)kept);
    emma_free(instance, block);
    return target;
}

static EMMAI_NOINLINE void *realloc_checked(emma *instance, void *block, const emmai_claim *claim,
                                            size_t bytes)
{
    return EMMAI_WATCHED ? realloc_watched(instance, block, claim, bytes)
                         : realloc_verified(instance, block, claim, bytes);
}

static EMMAI_NOINLINE void *realloc_sized_checked(emma *instance, void *block, size_t old_bytes,
                                                  size_t bytes)
{
    size_t usable;
    if (!emmai_checked_in_fast(instance, block, old_bytes, &usable))
        return realloc_checked(instance, block, &(emmai_claim){ .bytes = old_bytes, .sized = true },
                               bytes);
    emmai_canary_take(block, old_bytes, usable);
    void *target = emmai_realloc_fast(instance, block, emmai_checked_bytes(old_bytes),
                                      emmai_checked_bytes(bytes) - 1);
    if (!target)
        emmai_checked_out(instance, block, old_bytes);
    return emmai_checked_out(instance, target, bytes);
}

void *emma_realloc(emma *instance, void *block, size_t bytes)
{
    if (!block)
        return emma_malloc(instance, bytes);
    return EMMA_CHECKS ? realloc_checked(instance, block, NULL, bytes)
                       : realloc_slow(instance, block, bytes);
}

void *emma_realloc_sized(emma *instance, void *block, size_t old_bytes, size_t bytes)
{
    if (!block)
        return emma_malloc(instance, bytes);
    return EMMA_CHECKS ? realloc_sized_checked(instance, block, old_bytes, bytes)
                       : emmai_realloc_fast(instance, block, old_bytes, bytes - 1);
}

void *emma_resize(emma *instance, void *block, size_t old_bytes, size_t bytes)
{
    size_t last;
    if (__builtin_sub_overflow(bytes, 1, &last))
        return block ? free_of_size(instance, block, old_bytes) : NULL;
    if (EMMA_CHECKS)
        return block ? realloc_sized_checked(instance, block, old_bytes, bytes)
                     : emma_malloc(instance, bytes);
    if (block)
        return emmai_realloc_fast(instance, block, old_bytes, last);
    return block_malloc_fast(instance, &instance->heap, last, bytes);
}
