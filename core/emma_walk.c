/* emma_walk.c - visiting live blocks. A slab keeps no mark per block: what is carved and in no list
 * is live. */
#include "emma_internal.h"

/* ---- which blocks of a slab are out ---- */

/* The bin that holds free blocks of this slab: its class's if it is the head. */
EMMAI_LOOKS_AT_OTHERS static const void *emmai_walk_bin(const emma *instance,
                                                        const emmai_slab *slab)
{
    const emmai_heap *heap = emmai_heap_of(instance, slab);
    if (!heap)
        return NULL; /* another thread is just giving the slab back */
    const char *block = heap->heads[slab->size_class] == slab ? heap->bins[slab->size_class] : NULL;
    bool is_own = (size_t)(block - emmai_slab_address(instance, slab)) < EMMAI_CHUNK_BYTES;
    return is_own ? block : NULL; /* else it was a stash */
}

/* Blocks of a list of a slab's. Another thread's heap may change it meanwhile: then it ends early. */
EMMAI_LOOKS_AT_OTHERS static size_t walk_list_length(const emma *instance, const emmai_slab *slab,
                                                     const void *block)
{
    size_t end = slab->carved * emmai_class_bytes(slab->size_class);
    const char *start = emmai_slab_address(instance, slab);
    size_t length = 0;
    while (block && length < slab->carved) {
        size_t at = (size_t)((const char *)block - start);
        if (at >= end || at % EMMAI_CLASS_STEP_BYTES) /* of a block that was just handed out */
            break;
        length++;
        block = emmai_link_peek(instance, block);
    }
    return length;
}

/* Blocks that are neither in the slab's list nor in the bin of the class that it is the head of; none,
 * rather, where the owner is in the middle of a change. Of a shared instance's, some may be free: see
 * emma_remote.c. */
EMMAI_LOOKS_AT_OTHERS static size_t emmai_walk_out(const emma *instance, const emmai_slab *slab)
{
    if (slab->kind == EMMAI_FULL)
        return slab->carved;
    size_t out = (size_t)(slab->plain_frees + 1);
    return out - emmai_min(out, walk_list_length(instance, slab, emmai_walk_bin(instance, slab)));
}

/* The same without those that a heap keeps though they were freed. */
static size_t emmai_walk_live(const emma *instance, const emmai_slab *slab)
{
    if (EMMAI_WATCHED)
        return emmai_watch_live(instance, slab);
    size_t out = emmai_walk_out(instance, slab);
    return out - emmai_min(out, emmai_delay_count(instance, slab));
}

#define WALK_MAX_BLOCKS (EMMAI_CHUNK_BYTES / EMMAI_CLASS_STEP_BYTES)

/* Marks the blocks of a list as free; false when one is no block of the slab or marked already
 * (I3). */
static bool mark_list(const emma *instance, const emmai_slab *slab, const void *list,
                      uint64_t *marks, size_t *count)
{
    *count = 0;
    const char *start = emmai_slab_address(instance, slab);
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    for (const void *block = list; block; block = emmai_link_peek(instance, block)) {
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
        !mark_list(instance, slab, emmai_walk_bin(instance, slab), marks, binned))
        return false;
    if (instance->shared)
        emmai_remote_mark(instance, slab, marks);
    return true;
}

static bool walk_visit(const emma *instance, void *block, size_t usable, emma_walk_fn visit,
                       void *arg)
{
    if (EMMA_CHECKS && !emmai_checked_is_live(instance, block, usable, &usable))
        return true;
    return visit(arg, block, usable);
}

/* Whether a slab with lists that do not fit is a loss, not an error: its owner stopped in the middle of a change. */
static bool walk_may_pass(const emma *instance, const emmai_slab *slab)
{
    const emmai_heap *heap = emmai_heap_of(instance, slab);
    /* By chance in tests: that. */
    return instance->shared && (!heap || !emmai_sync_get(&heap->gate));
}

static bool walk_slab(const emma *instance, const emmai_slab *slab, emma_walk_fn visit, void *arg)
{
    uint64_t marks[WALK_MAX_BLOCKS / 64];
    emmai_arch_zero(marks, sizeof marks);
    size_t listed, binned;
    if (!emmai_walk_mark_free(instance, slab, marks, &listed, &binned))
        return walk_may_pass(instance, slab);
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
    else
        emmai_shared_mark_alone(instance, false);
    return whole;
}
