/* emma_realloc.c - changing a block's size: in place where the class or the run allows it, else by moving.
 *
 * A smaller size never fails: if there is no memory to move to, the block stays where it is and is larger than it need
 * be (P6). */
#include "emma_internal.h"

/* Moves a block to a new one of `bytes`, copying what fits; NULL, with the block intact, when there is no memory. */
static void *realloc_move(emma *instance, void *block, size_t usable, size_t bytes)
{
    void *target;
    if (bytes > EMMAI_SLAB_MAX_BYTES)
        target = emmai_run_malloc(instance, bytes, EMMAI_CHUNK_BYTES, bytes > usable ? EMMAI_RUN_ROOM : EMMAI_RUN_PLAIN);
    else
        target = emmai_slab_malloc(instance, emmai_class_of(instance, bytes));
    if (!target)
        return NULL;
    size_t kept = emmai_min(usable, emmai_round_up(bytes, EMMAI_CLASS_STEP_BYTES));
    emmai_arch_copy(target, block, kept);
    instance->control->moved_bytes += kept;
    emmai_block_free(instance, block);
    return target;
}

static void *emmai_block_realloc(emma *instance, void *block, size_t bytes)
{
    emmai_slab *slab = emmai_block_slab(instance, block);
    if (!slab || bytes > PTRDIFF_MAX)
        return NULL;
    bool is_run = slab->kind == EMMAI_RUN;
    size_t usable = is_run ? slab->run_bytes : emmai_class_bytes(slab->size_class);
    if (bytes > EMMAI_SLAB_MAX_BYTES) {
        if (is_run && bytes <= instance->region_bytes && emmai_run_resize(instance, slab, bytes))
            return block;
    } else if (!is_run && emmai_class_of(instance, bytes) == slab->size_class) {
        return block;
    }
    void *target = realloc_move(instance, block, usable, bytes);
    if (target || bytes > usable)
        return target;
    if (is_run)
        emmai_run_resize(instance, slab, emmai_max(bytes, 1));
    return block;
}

static EMMAI_NOINLINE void *realloc_sized(emma *instance, void *block, const size_t *old_bytes, size_t bytes)
{
    if (!emmai_enter(instance))
        return NULL;
    emmai_block_drain(instance);
    void *target = EMMA_CHECKS ? emmai_checked_realloc(instance, block, old_bytes, bytes)
                               : emmai_block_realloc(instance, block, bytes);
    if (!target)
        emmai_block_count_refusal(instance, bytes);
    emmai_leave(instance);
    return target;
}

void *emma_realloc(emma *instance, void *block, size_t bytes)
{
    return block ? realloc_sized(instance, block, NULL, bytes) : emma_malloc(instance, bytes);
}

void *emma_realloc_sized(emma *instance, void *block, size_t old_bytes, size_t bytes)
{
    if (!block)
        return emma_malloc(instance, bytes);
    return realloc_sized(instance, block, EMMA_CHECKS ? &old_bytes : NULL, bytes);
}
