/* emma_check.c - verifies the invariants of emma_layout.h, each by its number.
 *
 * A thread of a shared instance that died in the middle of a change, or was left in the parent by a
 * fork, leaves its heap closed, chunks claimed for nothing, pages counted that nobody has: lost, but
 * nobody's trouble. So such heaps and chunks are passed over there, and sums may be below what is
 * counted. That nothing overlaps, and what living threads have, is verified as everywhere. */
#include "emma_internal.h"

#define AUDIT_INTERVAL   64
#define CHECK_MAX_BLOCKS (EMMAI_CHUNK_BYTES / EMMAI_CLASS_STEP_BYTES)

/* What the walk over the chunks adds up. */
typedef struct check_sum {
    size_t resident_pages;
    size_t retained_pages;
    size_t ring_slabs; /* slabs that must be in some ring */
} check_sum;

/* Whether a heap's owner stopped inside. Who checks has entered the heap of a local instance. */
static bool heap_is_stuck(const emma *instance, const emmai_heap *heap)
{
    return instance->shared && !emmai_sync_get(&heap->gate);
}

/* Whether a chunk in use was claimed by a thread that stopped before it said what for, or after it said
 * that it is over. */
static bool chunk_is_lost(const emma *instance, const emmai_slab *entry)
{
    if (!instance->shared)
        return false;
    if (entry->kind != EMMAI_SLAB && entry->kind != EMMAI_FULL)
        return entry->kind == EMMAI_FREE || entry->kind == EMMAI_BODY;
    const emmai_heap *heap = entry->size_class ? emmai_heap_of(instance, entry) : NULL;
    return !heap || heap_is_stuck(instance, heap);
}

/* I1, I2, I3, I9 for one slab. */
static bool check_slab(const emma *instance, const emmai_slab *slab, check_sum *sum)
{
    if (!slab->size_class || slab->size_class >= EMMAI_CLASS_COUNT ||
        slab->carved > emmai_slab_blocks(instance, slab))
        return false;
    const char *start = emmai_slab_address(instance, slab);
    size_t block_bytes = emmai_class_bytes(slab->size_class);
    if (slab->kind == EMMAI_FULL)
        return !slab->plain_frees && !slab->free &&
               slab->carved == emmai_slab_blocks(instance, slab) &&
               (!EMMA_CHECKS ||
                emmai_checked_is_sound(instance, start, slab->carved, block_bytes, NULL));
    uint64_t marks[CHECK_MAX_BLOCKS / 64];
    emmai_arch_zero(marks, sizeof marks);
    size_t listed, binned;
    if (!emmai_walk_mark_free(instance, slab, marks, &listed, &binned))
        return false;
    if (EMMA_CHECKS &&
        !emmai_checked_is_sound(instance, start, slab->carved, block_bytes, marks)) /* I9 */
        return false;
    for (size_t i = 0; EMMA_ZERO_ON_FREE && i < slab->carved; i++)
        if (emmai_bits_get(marks, i) &&
            !emmai_hardened_is_wiped(start + i * block_bytes, block_bytes))
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
    for (size_t i = 0; i < emmai_young_entries(instance); i++) {
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

/* I4, I5, I7 for a chunk of a run; `rest` bytes of the run lie in it and behind. */
static bool check_run_chunk(const emma *instance, size_t chunk, size_t rest, check_sum *sum)
{
    const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    sum->resident_pages += entry->resident;
    return emmai_bits_get(instance->chunk_map, chunk) &&
           emmai_chunk_is_accessible(instance, chunk) &&
           (size_t)entry->resident << EMMAI_PAGE_SHIFT >= emmai_min(rest, EMMAI_CHUNK_BYTES);
}

static bool check_run(const emma *instance, size_t chunk, const emmai_slab *run, check_sum *sum)
{
    size_t count = emmai_run_chunks(run);
    if (run->plain_frees || !run->run_bytes || count > instance->chunk_count - chunk)
        return false;
    size_t first_bytes = emmai_min(run->run_bytes, EMMAI_CHUNK_BYTES);
    if (EMMA_CHECKS && !emmai_checked_is_sound(instance, emmai_chunk_start(instance, chunk), 1,
                                               first_bytes, NULL)) /* I9 */
        return false;
    for (size_t i = 0; i < count; i++) {
        const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)(chunk + i));
        if (i && !(entry->kind == EMMAI_BODY && !entry->plain_frees) &&
            !(entry->kind == EMMAI_FREE && chunk_is_lost(instance, entry)))
            return false;
        size_t before = emmai_min(i << EMMA_CHUNK_SHIFT, run->run_bytes);
        if (!check_run_chunk(instance, chunk + i, run->run_bytes - before, sum) &&
            !instance->shared)
            return false;
    }
    return true;
}

/* I4, I5, I7 for a chunk in use, and what it is used for. Sets *next behind it. */
static bool check_chunk(const emma *instance, size_t chunk, check_sum *sum, size_t *next)
{
    const emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    *next = chunk + 1;
    if (entry->resident > EMMAI_CHUNK_PAGES || !emmai_chunk_is_accessible(instance, chunk))
        return false;
    if (entry->kind == EMMAI_RUN) {
        *next = chunk + emmai_run_chunks(entry);
        return check_run(instance, chunk, entry, sum);
    }
    sum->resident_pages += entry->resident;
    if (chunk_is_lost(instance, entry) || (entry->kind == EMMAI_HEAP && instance->shared))
        return true;
    if (entry->kind != EMMAI_SLAB && entry->kind != EMMAI_FULL)
        return false;
    if (instance->shared && emmai_tag_of_slab(instance, entry)->size_class != entry->size_class)
        return false; /* I8; check_rings verifies the owner */
    return check_slab(instance, entry, sum) && check_carved_bytes(entry) <= (size_t)entry->resident
                                                                                << EMMAI_PAGE_SHIFT;
}

static bool check_used(const emma *instance, check_sum *sum)
{
    size_t next;
    for (size_t chunk = emmai_place_next_used(instance, EMMAI_YOUNG_CHUNKS);
         chunk < instance->chunk_count; chunk = emmai_place_next_used(instance, next))
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
        bool is_used = emmai_bits_get(instance->chunk_map, end);
        if (is_used && instance->shared)
            continue; /* lost, and seen as one in use */
        if (is_used || !emmai_chunk_is_accessible(instance, end))
            return false;
        if (entry->kind != EMMAI_FREE || entry->plain_frees || entry->free || !entry->resident)
            return false;
        sum->retained_pages += entry->resident;
    }
    sum->resident_pages += sum->retained_pages;
    return true;
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
            if (slab->kind != EMMAI_SLAB || slab->size_class != i ||
                emmai_slab_owner(instance, slab) != heap->number || ++*seen > expected)
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
        if (!heap_is_stuck(instance, heap) && !check_rings(instance, heap, expected, &seen))
            return false;
    return seen == expected;
}

/* I5, I6 as a whole. In a shared instance a thread that lowered the limit may have stopped before it found that there
 * is no room for that. */
static bool check_footprint(const emma *instance, const check_sum *sum)
{
    const emmai_control *control = instance->control;
    size_t metadata = emmai_metadata_pages(instance);
    size_t footprint =
        sum->resident_pages + metadata - 1 + emmai_checkpoint_pages(control); /* C4 */
    if (control->footprint_pages > control->peak_pages)
        return false;
    if (instance->shared)
        return control->retained_pages >= sum->retained_pages &&
               control->footprint_pages >= footprint;
    return control->footprint_pages <= control->limit_pages &&
           control->metadata_pages == metadata && control->retained_pages == sum->retained_pages &&
           control->footprint_pages == footprint;
}

static bool check_all(const emma *instance)
{
    check_sum sum;
    emmai_arch_zero(&sum, sizeof sum);
    return emmai_checkpoint_is_sound(instance->control) && emmai_delay_check(instance) &&
           check_young(instance, &sum) && check_used(instance, &sum) &&
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
    else
        emmai_shared_mark_alone(instance, false);
    return sound ? EMMA_OK : EMMA_CORRUPT;
}
