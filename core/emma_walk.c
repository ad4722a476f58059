/* emma_walk.c - visiting live blocks. A slab keeps no mark per block: what is carved and in no list
 * is live. */
#include "emma_internal.h"

#define WALK_MAX_BLOCKS (EMMAI_CHUNK_BYTES / EMMAI_CLASS_STEP_BYTES)

/* Marks the blocks of a list as free; false when one is no block of the slab or marked already
 * (I3). */
static bool mark_list(const emma *instance, const emmai_slab *slab, const void *list,
                      uint64_t *marks, size_t *count)
{
    *count = 0;
    const char *start = emmai_slab_address(instance, slab);
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    for (const void *block = list; block; block = *(void *const *)block) {
        size_t offset = (size_t)((const char *)block - start);
        size_t index = offset / block_bytes;
        if (index >= slab->carved || offset % block_bytes || emmai_bits_get(marks, index))
            return false;
        emmai_bits_set(marks, index, 1);
        ++*count;
    }
    return true;
}

/* Marks a slab's free blocks; counts its list's and its bin's. */
static bool emmai_walk_mark_free(const emma *instance, const emmai_slab *slab, uint64_t *marks,
                                 size_t *listed, size_t *binned)
{
    if (!mark_list(instance, slab, slab->free, marks, listed) ||
        !mark_list(instance, slab, emmai_slab_bin(instance, slab), marks, binned))
        return false;
    if (instance->shared)
        emmai_remote_mark(instance, slab, marks);
    return true;
}

static bool walk_visit(const emma *instance, void *block, size_t usable, emma_walk_fn visit,
                       void *arg)
{
    if (EMMA_CHECKS && !emmai_checked_is_live(instance, block, &usable))
        return true;
    return visit(arg, block, usable);
}

static bool walk_slab(const emma *instance, const emmai_slab *slab, emma_walk_fn visit, void *arg)
{
    uint64_t marks[WALK_MAX_BLOCKS / 64];
    emmai_arch_zero(marks, sizeof marks);
    size_t listed, binned;
    if (!emmai_walk_mark_free(instance, slab, marks, &listed, &binned))
        return false;
    char *start = emmai_slab_address(instance, slab);
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    for (size_t i = 0; i < slab->carved; i++)
        if (!emmai_bits_get(marks, i) &&
            !walk_visit(instance, start + i * block_bytes, block_bytes, visit, arg))
            return false;
    return true;
}

static bool walk_all(const emma *instance, emma_walk_fn visit, void *arg)
{
    for (unsigned i = 0; i < instance->young_count; i++)
        if (!walk_slab(instance, &instance->young[i], visit, arg))
            return false;
    size_t chunk = emmai_place_next_used(instance, EMMAI_YOUNG_CHUNKS);
    while (chunk < instance->chunk_count) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
        size_t count = 1;
        if (entry->kind == EMMAI_RUN) {
            count = emmai_run_chunks(entry);
            if (!walk_visit(instance, emmai_chunk_start(instance, chunk), entry->run_bytes, visit,
                            arg))
                return false;
        } else if (entry->size_class && !walk_slab(instance, entry, visit, arg)) {
            return false;
        }
        chunk = emmai_place_next_used(instance, chunk + count);
    }
    return true;
}

bool emma_walk(emma *instance, emma_walk_fn visit, void *arg)
{
    emmai_heap *heap;
    if (!emmai_enter_to_look(instance, &heap))
        return false;
    bool nested = emmai_callback_begin(instance);
    bool whole = walk_all(instance, visit, arg);
    emmai_callback_end(instance, nested);
    if (heap)
        emmai_leave(heap);
    return whole;
}
