/* emma_map.c - visiting the region chunk by chunk: what each one that has memory is used for. */
#include "emma_internal.h"

EMMAI_LOOKS_AT_OTHERS static void map_add_slab(const emma *instance, const emmai_slab *slab,
                                               emma_chunk_stats *out)
{
    const size_t carved = *(const volatile uint16_t *)&slab->carved; /* once: it may change */
    size_t live = emmai_min(emmai_walk_live(instance, slab), carved);
    out->live_blocks += live;
    out->free_blocks += carved - live;
    out->live_bytes += live * emmai_class_bytes(slab->size_class);
}

/* Page 0, which belongs to the first chunk, is counted with the metadata. */
EMMAI_LOOKS_AT_OTHERS static void map_young(const emma *instance, emma_chunk_stats *out)
{
    size_t pages = 0;
    for (size_t i = 0; i < emmai_young_entries(instance); i++)
        pages += emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)i));
    out->kind = EMMA_CHUNK_YOUNG;
    out->bytes = EMMAI_YOUNG_BYTES;
    out->resident_bytes = (pages - 1) << EMMAI_PAGE_SHIFT;
    for (unsigned i = 0; i < instance->young_count; i++)
        map_add_slab(instance, &instance->young[i], out);
}

/* As long as its chunks say that they belong to it: of a shared instance's it may just be freed. */
EMMAI_LOOKS_AT_OTHERS static void map_run(const emma *instance, size_t chunk, size_t run_bytes,
                                          emma_chunk_stats *out)
{
    size_t end = emmai_min(emmai_chunks_of(run_bytes), instance->chunk_count - chunk);
    size_t pages = 0, count = 0;
    do {
        pages += emmai_chunk_resident(emmai_slab_of_id(instance, (ptrdiff_t)(chunk + count)));
        count++;
    } while (count < end &&
             /* By chance in tests: another thread is just freeing it. */
             emmai_slab_of_id(instance, (ptrdiff_t)(chunk + count))->kind == EMMAI_BODY);
    out->kind = EMMA_CHUNK_RUN;
    out->bytes = count << EMMA_CHUNK_SHIFT;
    out->block_bytes = out->live_bytes = run_bytes;
    out->live_blocks = 1;
    out->resident_bytes = pages << EMMAI_PAGE_SHIFT;
}

EMMAI_LOOKS_AT_OTHERS static void map_chunk(const emma *instance, size_t chunk, bool used,
                                            emma_chunk_stats *out)
{
    const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    out->bytes = EMMAI_CHUNK_BYTES;
    out->resident_bytes = emmai_chunk_resident(entry) << EMMAI_PAGE_SHIFT;
    if (!used)
        return;
    out->kind = EMMA_CHUNK_HEAP;
    if (entry->kind == EMMAI_RUN) {
        map_run(instance, chunk, entry->run_bytes, out);
    } else if (entry->size_class) {
        out->kind = EMMA_CHUNK_SLAB;
        out->block_bytes = emmai_class_bytes(entry->size_class);
        map_add_slab(instance, entry, out);
    }
}

static bool map_visit(const emma *instance, emma_walk_chunks_fn visit, void *arg)
{
    emma_chunk_stats stats;
    emmai_arch_zero(&stats, sizeof stats);
    stats.struct_bytes = sizeof stats;
    map_young(instance, &stats);
    size_t chunk = EMMAI_YOUNG_CHUNKS;
    size_t used = emmai_place_next_used(instance, chunk);
    size_t kept = emmai_place_next_kept(instance, chunk);
    while (visit(arg, &stats)) {
        if (used < chunk)
            used = emmai_place_next_used(instance, chunk);
        if (kept < chunk)
            kept = emmai_place_next_kept(instance, chunk);
        chunk = emmai_min(used, kept);
        if (chunk >= instance->chunk_count)
            return true;
        emmai_arch_zero(&stats, sizeof stats);
        stats.struct_bytes = sizeof stats;
        stats.offset_bytes = chunk << EMMA_CHUNK_SHIFT;
        map_chunk(instance, chunk, chunk == used, &stats);
        chunk += stats.bytes >> EMMA_CHUNK_SHIFT;
    }
    return false;
}

bool emma_walk_chunks(const emma *instance, emma_walk_chunks_fn visit, void *arg)
{
    if (instance->shared)
        return map_visit(instance, visit, arg);
    emma *owner = (emma *)(uintptr_t)instance;
    bool nested;
    emmai_heap *heap = emmai_enter_from_callback(owner, &nested);
    if (!heap)
        return false;
    emmai_callback_begin(instance);
    bool whole = map_visit(instance, visit, arg);
    emmai_callback_end(instance, false);
    emmai_leave_to_callback(owner, heap, nested);
    return whole;
}
