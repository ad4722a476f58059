/* emma_stats.c - the figures of an instance. Those of blocks are summed up from the slabs when asked for:
 * nothing is counted per call. The others are words of the control page, each read by itself. */
#include "emma_internal.h"

/* What the slabs of one class, or all slabs and runs, come to. */
typedef struct stats_sum {
    size_t slabs;
    size_t live_blocks;
    size_t live_bytes;
    size_t carved_blocks;
    size_t footprint_bytes;
    size_t large_blocks;
    size_t large_bytes;
    size_t huge_runs;
} stats_sum;

EMMAI_LOOKS_AT_OTHERS static void sum_slab(const emma *instance, const emmai_slab *slab,
                                           stats_sum *sum)
{
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    size_t live = emmai_walk_live(instance, slab);
    sum->slabs++;
    sum->live_blocks += live;
    sum->live_bytes += live * block_bytes;
    sum->carved_blocks += slab->carved;
    sum->footprint_bytes += emmai_slab_is_young(instance, slab)
                                ? slab->carved * block_bytes
                                : (size_t)slab->resident << EMMAI_PAGE_SHIFT;
}

/* Takes off what is free, though for its slab it is out, of a class or all. */
EMMAI_LOOKS_AT_OTHERS static void subtract_remote(const emma *instance, unsigned size_class,
                                                  stats_sum *sum)
{
    size_t counts[EMMAI_CLASS_COUNT];
    emmai_arch_zero(counts, sizeof counts);
    emmai_remote_count(instance, counts);
    for (unsigned i = 1; i < EMMAI_CLASS_COUNT; i++) {
        if (size_class != EMMAI_CLASS_COUNT && i != size_class)
            continue;
        sum->live_blocks -= emmai_min(sum->live_blocks, counts[i]);
        sum->live_bytes -= emmai_min(sum->live_bytes, counts[i] * emmai_class_bytes(i));
    }
}

/* Sums up the slabs of a class, or with EMMAI_CLASS_COUNT those of all classes, and the runs. */
EMMAI_LOOKS_AT_OTHERS static void stats_collect(const emma *instance, unsigned size_class,
                                                stats_sum *sum)
{
    bool all = size_class == EMMAI_CLASS_COUNT;
    emmai_arch_zero(sum, sizeof *sum);
    for (unsigned i = 0; i < instance->young_count; i++)
        if (all || instance->young[i].size_class == size_class)
            sum_slab(instance, &instance->young[i], sum);
    size_t chunk = emmai_place_next_used(instance, EMMAI_YOUNG_CHUNKS);
    while (chunk < instance->chunk_count) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
        size_t count = 1;
        if (entry->kind == EMMAI_RUN) {
            size_t bytes = entry->run_bytes;
            count = emmai_max(emmai_chunks_of(bytes), 1); /* it may just be freed */
            sum->large_blocks++;
            sum->large_bytes += bytes;
            sum->huge_runs += entry->huge_advised;
        } else if (entry->size_class && (all || entry->size_class == size_class)) {
            sum_slab(instance, entry, sum);
        }
        chunk = emmai_place_next_used(instance, chunk + count);
    }
    if (instance->shared && !EMMAI_WATCHED) /* there the blocks that are live were counted */
        subtract_remote(instance, size_class, sum);
}

/* Sums up, if the heap can be looked at: not from a signal handler that interrupted a call, unless
 * a callback of it. The heaps of a shared instance may change meanwhile; the sums are then of no
 * one moment. */
static void stats_try_collect(const emma *instance, unsigned size_class, stats_sum *sum)
{
    emma *heap_owner = (emma *)(uintptr_t)instance;
    if (instance->shared) {
        stats_collect(instance, size_class, sum);
        return;
    }
    bool nested;
    emmai_heap *heap = emmai_enter_from_callback(heap_owner, &nested);
    if (heap) {
        stats_collect(instance, size_class, sum);
        emmai_leave_to_callback(heap_owner, heap, nested);
    } else {
        emmai_arch_zero(sum, sizeof *sum);
    }
}

/* Accessible and inaccessible stretches of the mapping, those that huge pages split off, and of a shared instance the
 * page of the fork word, which the kernel clears in a child, and what may be without access before it. */
static size_t stats_mappings(const emma *instance, const stats_sum *sum)
{
    const emmai_control *control = instance->control;
    bool gap = emmai_sync_get(&control->low_committed) < instance->run_zone;
    bool runs = emmai_sync_get(&control->run_committed) > instance->run_zone;
    size_t count = (gap && runs ? 4 : 2) + 2 * sum->huge_runs;
    return count + (instance->shared ? 2 : 0) + emmai_checkpoint_mappings(control);
}

/* Copies what the caller's struct has room for. */
static void stats_copy(void *out, const void *in, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((char *)out)[i] = ((const char *)in)[i];
        __asm__ volatile("" : : : "memory");
    }
}

static size_t pages_bytes(size_t pages)
{
    return pages << EMMAI_PAGE_SHIFT;
}

static size_t limit_bytes(size_t pages)
{
    return pages >= EMMA_UNLIMITED >> EMMAI_PAGE_SHIFT ? EMMA_UNLIMITED : pages_bytes(pages);
}

static void stats_of_blocks(const emma *instance, emma_stats *stats)
{
    stats_sum sum;
    stats_try_collect(instance, EMMAI_CLASS_COUNT, &sum);
    stats->live_bytes = sum.live_bytes + sum.large_bytes;
    stats->live_blocks = sum.live_blocks + sum.large_blocks;
    stats->large_bytes = sum.large_bytes;
    stats->large_blocks = sum.large_blocks;
    stats->mapping_count = stats_mappings(instance, &sum);
    stats->abandoned_bytes = pages_bytes(emmai_abandoned_pages(instance));
}

void emma_get_stats(const emma *instance, emma_stats *out)
{
    const emmai_control *control = instance->control;
    emma_stats stats;
    emmai_arch_zero(&stats, sizeof stats);
    stats.struct_bytes = emmai_min(out->struct_bytes, sizeof stats);
    if (stats.struct_bytes > EMMA_STATS_COUNTERS_BYTES)
        stats_of_blocks(instance, &stats);
    stats.limit_bytes = limit_bytes(emmai_sync_get(&control->limit_pages));
    stats.soft_limit_bytes = limit_bytes(emmai_sync_get(&control->soft_pages));
    stats.spare_bytes = emmai_sync_get(&control->spare_open)
                            ? 0
                            : pages_bytes(emmai_sync_get(&control->spare_pages));
    stats.reserve_bytes = instance->region_bytes;
    stats.footprint_bytes = pages_bytes(emmai_sync_get(&control->footprint_pages));
    stats.peak_footprint_bytes = pages_bytes(emmai_sync_get(&control->peak_pages));
    stats.metadata_bytes = pages_bytes(emmai_sync_get(&control->metadata_pages));
    stats.retained_bytes = pages_bytes(emmai_sync_get(&control->retained_pages));
    stats.checkpoint_bytes = pages_bytes(emmai_checkpoint_pages(control));
    stats.moved_bytes = emmai_sync_get(&control->moved_bytes);
    stats.returned_bytes = emmai_sync_get(&control->returned_bytes);
    stats.refused_count = emmai_sync_get(&control->refused_count);
    stats.reentered_count = emmai_sync_get(&control->reentered_count);
    stats_copy(out, &stats, stats.struct_bytes);
}

bool emma_get_class_stats(const emma *instance, unsigned index, emma_class_stats *out)
{
    if (index >= EMMAI_CLASS_COUNT - 1)
        return false;
    stats_sum sum;
    stats_try_collect(instance, index + 1, &sum);
    emma_class_stats stats;
    stats.struct_bytes = emmai_min(out->struct_bytes, sizeof stats);
    stats.block_bytes = emmai_class_bytes(index + 1);
    stats.live_blocks = sum.live_blocks;
    stats.free_blocks = sum.carved_blocks - emmai_min(sum.carved_blocks, sum.live_blocks);
    stats.slabs = sum.slabs;
    stats.footprint_bytes = sum.footprint_bytes;
    stats_copy(out, &stats, stats.struct_bytes);
    return true;
}
