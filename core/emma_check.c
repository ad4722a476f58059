/* emma_check.c - verifies the invariants of emma_internal.h, each by its number. */
#include "emma_internal.h"

#define AUDIT_INTERVAL   64
#define CHECK_MAX_BLOCKS (EMMAI_CHUNK_BYTES / EMMAI_CLASS_STEP_BYTES)

/* What the walk over the chunks adds up. */
typedef struct check_sum {
    size_t resident_pages;
    size_t retained_pages;
    size_t ring_slabs; /* slabs that must be in some ring */
} check_sum;

/* I1, I2, I3 for one slab. */
static bool check_slab(const emma *instance, const emmai_slab *slab, check_sum *sum)
{
    if (!slab->size_class || slab->size_class >= EMMAI_CLASS_COUNT ||
        slab->carved > emmai_slab_blocks(instance, slab))
        return false;
    if (slab->kind == EMMAI_FULL)
        return !slab->plain_frees && !slab->free &&
               slab->carved == emmai_slab_blocks(instance, slab);
    uint64_t marks[CHECK_MAX_BLOCKS / 64];
    emmai_arch_zero(marks, sizeof marks);
    size_t listed, binned;
    if (!emmai_walk_mark_free(instance, slab, marks, &listed, &binned))
        return false;
    sum->ring_slabs++;
    size_t out = (size_t)(slab->plain_frees + 1);
    return slab->plain_frees >= EMMAI_NO_BLOCK_OUT && out >= binned && out + listed == slab->carved;
}

/* Bytes from a slab's start that have been carved. */
static size_t check_carved_bytes(const emmai_slab *slab)
{
    return slab->carved * emmai_class_bytes(slab->size_class);
}

/* The units of a young slab, and no others, are its own. */
static bool check_units(const emma *instance, const emmai_slab *slab)
{
    size_t end = (size_t)slab->first_unit + slab->unit_count;
    if (end > instance->young_units)
        return false;
    for (size_t unit = slab->first_unit; unit < end; unit++)
        if (emmai_young_find(instance, unit << EMMAI_UNIT_SHIFT) != slab)
            return false;
    return true;
}

static bool check_young(const emma *instance, check_sum *sum)
{
    size_t pages = 0;
    for (size_t i = 0; i < EMMAI_YOUNG_CHUNKS; i++) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)i);
        if (entry->kind != EMMAI_YOUNG || entry->plain_frees)
            return false;
        pages += entry->resident;
    }
    sum->resident_pages += pages;
    if (instance->young_count > EMMAI_YOUNG_SLABS)
        return false;
    size_t units = EMMAI_PAGE_BYTES >> EMMAI_UNIT_SHIFT;
    for (unsigned i = 0; i < instance->young_count; i++) {
        const emmai_slab *slab = &instance->young[i];
        if (slab->kind != EMMAI_SLAB && slab->kind != EMMAI_FULL)
            return false;
        size_t end = ((size_t)slab->first_unit << EMMAI_UNIT_SHIFT) + check_carved_bytes(slab);
        if (slab->carved && end > pages << EMMAI_PAGE_SHIFT)
            return false;
        if (!check_units(instance, slab) || !check_slab(instance, slab, sum))
            return false;
        units += slab->unit_count;
    }
    return units == instance->young_units;
}

static bool chunk_is_accessible(const emma *instance, size_t chunk)
{
    const emmai_control *control = instance->control;
    return chunk < control->low_committed ||
           (chunk >= instance->run_zone && chunk < control->run_committed);
}

static bool check_run(const emma *instance, size_t chunk, const emmai_slab *run, check_sum *sum)
{
    size_t count = emmai_run_chunks(run);
    if (run->plain_frees || !run->run_bytes || count > instance->chunk_count - chunk)
        return false;
    for (size_t i = 0; i < count; i++) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)(chunk + i));
        if (i && (entry->kind != EMMAI_BODY || entry->plain_frees))
            return false;
        if (!emmai_bits_get(instance->chunk_map, chunk + i) ||
            !chunk_is_accessible(instance, chunk + i))
            return false;
        size_t rest = emmai_min(run->run_bytes - (i << EMMA_CHUNK_SHIFT), EMMAI_CHUNK_BYTES);
        if ((size_t)entry->resident << EMMAI_PAGE_SHIFT < rest)
            return false;
        sum->resident_pages += entry->resident;
    }
    return true;
}

/* I4, I5, I7 for a chunk in use, and what it is used for. Sets *next behind it. */
static bool check_chunk(const emma *instance, size_t chunk, check_sum *sum, size_t *next)
{
    const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    *next = chunk + 1;
    if (entry->resident > EMMAI_CHUNK_PAGES || !chunk_is_accessible(instance, chunk))
        return false;
    if (entry->kind == EMMAI_RUN) {
        *next = chunk + emmai_run_chunks(entry);
        return check_run(instance, chunk, entry, sum);
    }
    sum->resident_pages += entry->resident;
    if (entry->kind == EMMAI_HEAP && instance->shared)
        return true;
    if (entry->kind != EMMAI_SLAB && entry->kind != EMMAI_FULL)
        return false;
    return check_slab(instance, entry, sum) && check_carved_bytes(entry) <= (size_t)entry->resident
                                                                                << EMMAI_PAGE_SHIFT;
}

static bool check_used(const emma *instance, check_sum *sum)
{
    size_t next;
    for (size_t chunk = emmai_chunk_next_used(instance, EMMAI_YOUNG_CHUNKS);
         chunk < instance->chunk_count; chunk = emmai_chunk_next_used(instance, next))
        if (!check_chunk(instance, chunk, sum, &next))
            return false;
    size_t hint = emmai_min(instance->low_hint, instance->chunk_count);
    return instance->shared || /* there it is no more than a hint */
           emmai_bits_find(instance->chunk_map, EMMAI_YOUNG_CHUNKS, hint, false) == hint;
}

/* I4, I5 for the free chunks that keep memory. */
static bool check_retained(const emma *instance, check_sum *sum)
{
    size_t end = instance->chunk_count;
    while ((end = emmai_bits_last(instance->retained_map, EMMAI_YOUNG_CHUNKS, end)) >
           EMMAI_YOUNG_CHUNKS) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)--end);
        if (entry->kind != EMMAI_FREE || entry->plain_frees || entry->free || !entry->resident)
            return false;
        if (emmai_bits_get(instance->chunk_map, end) || !chunk_is_accessible(instance, end))
            return false;
        sum->retained_pages += entry->resident;
    }
    sum->resident_pages += sum->retained_pages;
    return true;
}

static size_t check_metadata_pages(const emma *instance)
{
    size_t pages = instance->shared ? 2 : 1; /* page 0, and that of the fork word */
    size_t all =
        ((uintptr_t)emmai_origin(instance) - (uintptr_t)instance->page_map) >> EMMAI_PAGE_SHIFT;
    for (size_t i = emmai_bits_find(instance->page_map, 0, all, true); i < all;
         i = emmai_bits_find(instance->page_map, i + 1, all, true))
        pages++;
    return pages;
}

/* I2 for a heap: its rings hold each of its SLABs once. Adds them to *seen. */
static bool check_rings(const emma *instance, const emmai_heap *heap, size_t expected, size_t *seen)
{
    for (unsigned i = 0; i < EMMAI_CLASS_COUNT; i++) {
        const emmai_slab *head = heap->heads[i];
        if (head == &emmai_no_slab && !heap->bins[i])
            continue;
        if (head == &emmai_no_slab)
            return false;
        const emmai_slab *slab = head;
        do {
            const emmai_slab *next = emmai_slab_of_id(instance, slab->next);
            if (slab->kind != EMMAI_SLAB || slab->size_class != i || slab->owner != heap->number ||
                ++*seen > expected)
                return false;
            if (emmai_slab_of_id(instance, next->prev) != slab)
                return false;
            slab = next;
        } while (slab != head);
    }
    return true;
}

/* I2: all SLABs are in the rings of some heap. */
static bool check_heaps(const emma *instance, size_t expected)
{
    size_t seen = 0;
    size_t cursor = 0;
    const emmai_heap *heap;
    while ((heap = emmai_heap_next(instance, &cursor)))
        if (!check_rings(instance, heap, expected, &seen))
            return false;
    return seen == expected;
}

/* I5, I6 as a whole. */
static bool check_footprint(const emma *instance, const check_sum *sum)
{
    const emmai_control *control = instance->control;
    size_t metadata = check_metadata_pages(instance);
    return control->metadata_pages == metadata && control->retained_pages == sum->retained_pages &&
           control->footprint_pages == sum->resident_pages + metadata - 1 &&
           control->footprint_pages <= control->limit_pages &&
           control->footprint_pages <= control->peak_pages;
}

static bool check_all(const emma *instance)
{
    check_sum sum;
    emmai_arch_zero(&sum, sizeof sum);
    return check_young(instance, &sum) && check_used(instance, &sum) &&
           check_retained(instance, &sum) && check_heaps(instance, sum.ring_slabs) &&
           check_footprint(instance, &sum);
}

/* In audited builds: verifies everything at every n-th change of the region's structure, and stops
 * at the first flaw. */
static void emmai_check_audit(emma *instance)
{
    if (instance->shared) /* another thread may be in the middle of something */
        return;
    if (++instance->control->audit_steps % AUDIT_INTERVAL == 0 && !check_all(instance))
        __builtin_trap();
}

enum emma_status emma_check(emma *instance)
{
    emmai_heap *heap;
    if (!emmai_enter_to_look(instance, &heap))
        return EMMA_BUSY;
    bool sound = check_all(instance);
    if (heap)
        emmai_leave(heap);
    return sound ? EMMA_OK : EMMA_CORRUPT;
}
