/* emma_instance.c - the life of an instance: options, reservation, creation, reset, destruction. */
#include "emma_internal.h"

#define KNOWN_FLAGS ((unsigned)(EMMA_SHARED | EMMA_CHECKPOINTS | EMMA_ALIGN8))
/* Other threads could not be kept out. */
#define NOT_TOGETHER ((unsigned)(EMMA_SHARED | EMMA_CHECKPOINTS))
#define UNNAMED      "unnamed"

/* ---- options ---- */

static void options_copy_bytes(emma_options *out, const emma_options *in, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((char *)out)[i] = ((const char *)in)[i];
        __asm__ volatile("" : : : "memory");
    }
}

/* Fills in defaults for what the caller does not give: a struct of an older emma is shorter. */
static void options_load(emma_options *out, const emma_options *in)
{
    emmai_arch_zero(out, sizeof *out);
    out->limit_bytes = EMMA_UNLIMITED;
    out->soft_limit_bytes = EMMA_UNLIMITED;
    out->decay_ms = EMMA_DECAY_DEFAULT_MS;
    if (in)
        options_copy_bytes(out, in, emmai_min(in->struct_bytes, sizeof *out));
    out->struct_bytes = sizeof *out;
}

/* A longer struct is a newer emma's: what it asks for beyond ours must be nothing. */
static bool options_are_newer(const emma_options *options)
{
    const char *bytes = (const char *)options;
    for (size_t i = sizeof *options; i < options->struct_bytes; i++)
        if (bytes[i])
            return true;
    return false;
}

enum emma_status emma_options_check(const emma_options *options)
{
    if (!options)
        return EMMA_OK;
    if (options->struct_bytes < offsetof(emma_options, limit_bytes) + sizeof options->limit_bytes ||
        options->struct_bytes > EMMAI_PAGE_BYTES || options->struct_bytes % sizeof(size_t))
        return EMMA_INVALID;
    if (options_are_newer(options))
        return EMMA_UNSUPPORTED;
    emma_options given;
    options_load(&given, options);
    size_t limit_pages = given.limit_bytes >> EMMAI_PAGE_SHIFT;
    size_t spare_pages = emmai_pages_of(given.spare_bytes);
    bool limit_ok = spare_pages <= limit_pages &&
                    limit_pages - spare_pages >= EMMA_LIMIT_MIN_BYTES >> EMMAI_PAGE_SHIFT;
    bool reserve_ok = !given.reserve_bytes || (given.reserve_bytes >= EMMA_RESERVE_MIN_BYTES &&
                                               given.reserve_bytes <= EMMAI_RESERVE_MAX_BYTES);
    bool soft_ok = given.soft_limit_bytes > 0;
    if (!limit_ok || !reserve_ok || !soft_ok || (given.flags & ~KNOWN_FLAGS))
        return EMMA_INVALID;
    return (given.flags & NOT_TOGETHER) == NOT_TOGETHER ? EMMA_UNSUPPORTED : EMMA_OK;
}

/* ---- geometry ---- */

#define HEAP_TABLE_BYTES ((EMMAI_HEAPS_MAX + 1) * sizeof(uint32_t))
/* On the fork word's page, which always counts; that the kernel clears them in a child does no harm. */
#define HEAP_SLOTS_OFFSET EMMAI_LINE_BYTES

_Static_assert(HEAP_SLOTS_OFFSET + EMMAI_HEAP_SLOTS * sizeof(uint32_t) <= EMMAI_PAGE_BYTES,
               "the slots fit there");

typedef struct instance_geometry {
    size_t chunk_count;
    size_t map_bytes;       /* of a map of chunks */
    size_t block_map_bytes; /* whole pages: they are given back to the kernel */
    size_t page_map_bytes;
    size_t first_most;     /* copies that the first checkpoint may have; 0: none is possible */
    size_t first_bytes;    /* for it, before all else */
    size_t front_bytes;    /* that, a guard, and a page for the fork word or the control page */
    size_t heaps_bytes;    /* of the shared instance's tables of heaps, and tags */
    size_t metadata_bytes; /* before the origin: all that and the entries, whole chunks */
    size_t mapping_bytes;
} instance_geometry;

static void geometry_for(instance_geometry *out, size_t reserve_bytes, unsigned flags)
{
    bool shared = (flags & EMMA_SHARED) != 0;
    out->heaps_bytes =
        shared ? HEAP_TABLE_BYTES + (reserve_bytes >> EMMA_CHUNK_SHIFT) * sizeof(emmai_tag) : 0;
    out->chunk_count = reserve_bytes >> EMMA_CHUNK_SHIFT;
    out->map_bytes = emmai_round_up(out->chunk_count, 64) / 8;
    size_t marks_bytes = (out->chunk_count << EMMA_CHUNK_SHIFT) >> EMMAI_MARK_SHIFT;
    out->block_map_bytes = EMMA_CHECKS ? emmai_round_up(marks_bytes, EMMAI_PAGE_BYTES) : 0;
    size_t bytes = out->block_map_bytes + 2 * out->map_bytes + out->heaps_bytes +
                   (out->chunk_count << EMMAI_ENTRY_SHIFT(shared));
    size_t pages = (bytes >> EMMAI_PAGE_SHIFT) + 2 * EMMAI_CHUNK_PAGES; /* rounding included */
    pages += pages / (8 * EMMAI_PAGE_BYTES - 1) + 1;                    /* and the map's own */
    out->page_map_bytes = emmai_round_up(pages, EMMA_CHECKS ? 8 * EMMAI_PAGE_BYTES : 64) / 8;
    bool checkpoints = (flags & EMMA_CHECKPOINTS) != 0;
    out->first_most =
        checkpoints ? emmai_pages_of(out->page_map_bytes + bytes) + EMMAI_CHUNK_PAGES : 0;
    out->first_bytes =
        checkpoints ? emmai_round_up(EMMAI_LEVEL_HEAD_BYTES(out->first_most), EMMAI_PAGE_BYTES) +
                          (out->first_most << EMMAI_PAGE_SHIFT)
                    : 0;
    out->front_bytes =
        EMMAI_GUARD_BYTES + out->first_bytes + (shared || checkpoints ? EMMAI_PAGE_BYTES : 0);
    out->metadata_bytes =
        emmai_round_up(out->front_bytes + out->page_map_bytes + bytes, EMMAI_CHUNK_BYTES);
    out->mapping_bytes = out->metadata_bytes + (out->chunk_count << EMMA_CHUNK_SHIFT) +
                         EMMAI_CHUNK_BYTES + EMMAI_GAP_BYTES;
}

static size_t reserve_wanted(const emma_options *options)
{
    if (options->reserve_bytes)
        return options->reserve_bytes;
    if (options->limit_bytes == EMMA_UNLIMITED)
        return EMMAI_RESERVE_DEFAULT_BYTES;
    if (options->limit_bytes > EMMAI_RESERVE_MAX_BYTES / EMMAI_RESERVE_LIMIT_FACTOR / 2)
        return EMMAI_RESERVE_MAX_BYTES;
    return options->limit_bytes * EMMAI_RESERVE_LIMIT_FACTOR + EMMAI_RESERVE_BASE_BYTES;
}

/* Reserves a mapping and makes its metadata and first chunks accessible; NULL, with nothing left,
 * when refused. */
static char *instance_map(const instance_geometry *geometry)
{
    char *mapping = emmai_os_reserve(geometry->mapping_bytes);
    if (!mapping)
        return NULL;
    char *origin =
        (char *)emmai_round_up((uintptr_t)mapping + geometry->metadata_bytes, EMMAI_CHUNK_BYTES);
    size_t first = emmai_min(EMMAI_COMMIT_FIRST_BYTES, geometry->chunk_count << EMMA_CHUNK_SHIFT);
    if (!emmai_os_commit(mapping, (size_t)(origin - mapping) + first)) {
        emmai_os_release(mapping, geometry->mapping_bytes);
        return NULL;
    }
    emmai_os_small_pages(mapping, geometry->mapping_bytes);
    return mapping;
}

/* ---- creation ---- */

/* A heap without slabs. */
static void heap_clear(emmai_heap *heap)
{
    for (unsigned i = 0; i < EMMAI_CLASS_COUNT; i++)
        heap->heads[i] = (emmai_slab *)(uintptr_t)&emmai_no_slab;
    emmai_arch_zero(heap->bins, sizeof heap->bins);
    emmai_arch_zero(heap->slab_count, sizeof heap->slab_count);
    if (EMMA_DELAYED_REUSE)
        emmai_arch_zero(heap->delayed, sizeof heap->delayed);
}

/* An open heap without slabs, in zeroed memory. */
static void emmai_heap_init(const emma *instance, emmai_heap *heap)
{
    emmai_arch_copy(heap->class_map, emmai_class_map[instance->align8], sizeof heap->class_map);
    heap_clear(heap);
    if (EMMA_RANDOM_ORDER || EMMA_DELAYED_REUSE)
        heap->random = emmai_os_random(heap) | 1;
    heap->gate = EMMAI_GATE_OPEN;
}

static void heaps_clear(emma *instance)
{
    size_t cursor = 0;
    emmai_heap *heap;
    while ((heap = emmai_heap_next(instance, &cursor))) {
        heap_clear(heap);
        if (instance->shared)
            emmai_remote_clear(heap);
    }
    instance->young_count = 0;
    instance->young_units = EMMAI_PAGE_BYTES >> EMMAI_UNIT_SHIFT;
}

/* Copies the name so that it stays within a line. */
static void control_name(emmai_control *control, const char *name)
{
    for (size_t i = 0; i < EMMA_NAME_MAX_BYTES && name[i]; i++)
        control->name[i] = (unsigned char)name[i] < ' ' || name[i] == '\177' ? '?' : name[i];
}

static void control_init(emmai_control *control, const emma_options *options)
{
    control->limit_pages = options->limit_bytes >> EMMAI_PAGE_SHIFT;
    control->spare_pages = emmai_pages_of(options->spare_bytes);
    bool soft = options->soft_limit_bytes != EMMA_UNLIMITED;
    control->soft_pages = soft ? options->soft_limit_bytes >> EMMAI_PAGE_SHIFT : SIZE_MAX;
    control->footprint_pages = control->metadata_pages = 1;
    control->misuse_handler = options->misuse_handler;
    control->misuse_arg = options->misuse_arg;
    control->limit_handler = options->limit_handler;
    control->limit_arg = options->limit_arg;
    control->decay_ms = (int64_t)emmai_min(options->decay_ms, INT64_MAX);
    control_name(control, options->name ? options->name : UNNAMED);
}

/* Makes a fresh instance a shared one. */
static void instance_share(emma *instance, const instance_geometry *geometry)
{
    char *tables = (char *)instance->retained_map + geometry->map_bytes;
    instance->shared = true;
    if (EMMA_CHECKS) /* that alone of its own heap */
        emmai_arch_copy(instance->heap.class_map, emmai_class_map[instance->align8],
                        sizeof instance->heap.class_map);
    instance->heap_chunks = (uint32_t *)(void *)tables;
    instance->tags_end = (emmai_tag *)(void *)(tables + HEAP_TABLE_BYTES) + geometry->chunk_count;
    instance->nonce = emmai_os_random(instance);
    if (instance->nonce <= EMMAI_NONCE_CHANGING) /* Never in tests: it is random. */
        instance->nonce = (uintptr_t)instance;
    instance->fork_word = (uint32_t *)(void *)((char *)instance->page_map - EMMAI_PAGE_BYTES);
    instance->heap_slots = instance->fork_word + HEAP_SLOTS_OFFSET / sizeof(uint32_t);
    emmai_os_clear_on_fork(instance->fork_word, EMMAI_PAGE_BYTES);
    *instance->fork_word = instance->control->generation = 1;
    instance->control->process_id = (uint32_t)emmai_os_process_id();
}

/* Writes page 0 of a fresh mapping; all else in it is zero. */
static emma *instance_init(char *mapping, const instance_geometry *geometry,
                           const emma_options *options)
{
    char *origin =
        (char *)emmai_round_up((uintptr_t)mapping + geometry->metadata_bytes, EMMAI_CHUNK_BYTES);
    emma *instance = (emma *)(void *)(origin + EMMAI_HEAD_BYTES);
    char *front = origin - geometry->metadata_bytes;
    instance->page_map = (uint64_t *)(void *)(front + geometry->front_bytes);
    emmai_control *control = instance->control =
        geometry->first_most
            ? (emmai_control *)(void *)(front + EMMAI_GUARD_BYTES + geometry->first_bytes)
            : &instance->local;
    control_init(control, options);
    if (geometry->first_most || (options->flags & EMMA_SHARED)) {
        control->footprint_pages++;
        control->metadata_pages++;
    }
    if (geometry->first_most) {
        control->checkpoints = (emmai_checkpoints *)(void *)(control + 1);
        control->checkpoints->first = (emmai_level *)(void *)(front + EMMAI_GUARD_BYTES);
        control->checkpoints->first_most = geometry->first_most;
    }
    control->mapping = mapping;
    control->mapping_bytes = geometry->mapping_bytes;
    size_t first = EMMAI_COMMIT_FIRST_BYTES >> EMMA_CHUNK_SHIFT;
    control->low_committed = (uint32_t)emmai_min(first, geometry->chunk_count);
    instance->region_bytes = geometry->chunk_count << EMMA_CHUNK_SHIFT;
    instance->foreign_max = ~instance->region_bytes;
    instance->block_map = (uint8_t *)instance->page_map + geometry->page_map_bytes;
    instance->chunk_map = (uint64_t *)(void *)(instance->block_map + geometry->block_map_bytes);
    instance->retained_map = instance->chunk_map + geometry->map_bytes / sizeof(uint64_t);
    instance->chunk_count = (uint32_t)geometry->chunk_count;
    size_t zone = emmai_max(geometry->chunk_count / 2, control->low_committed);
    instance->run_zone = (uint32_t)zone;
    control->run_committed = control->run_covered = instance->run_end = instance->run_zone;
    instance->run_next = instance->run_zone;
    control->low_covered = EMMAI_YOUNG_CHUNKS;
    instance->low_end = EMMAI_YOUNG_CHUNKS;
    instance->align8 = (options->flags & EMMA_ALIGN8) != 0;
    instance->entry_shift = EMMAI_ENTRY_SHIFT(options->flags & EMMA_SHARED);
    instance->low_hint = EMMAI_YOUNG_CHUNKS;
    instance->young_units = EMMAI_PAGE_BYTES >> EMMAI_UNIT_SHIFT;
    if (options->flags & EMMA_SHARED)
        instance_share(instance, geometry);
    else
        emmai_heap_init(instance, &instance->heap);
    for (size_t i = 0; i < emmai_young_entries(instance); i++)
        emmai_slab_of_id(instance, (ptrdiff_t)i)->kind = EMMAI_YOUNG;
    emmai_slab_of_id(instance, 0)->resident = 1;
    control->footprint_pages += emmai_metadata_count_marks(instance, 0, EMMAI_YOUNG_CHUNKS);
    control->peak_pages = control->footprint_pages;
    emmai_hardened_begin(instance);
    emmai_guard_begin(instance);
    emmai_watch_begin(instance);
    return instance;
}

emma *emma_create(const emma_options *options)
{
    if (emma_options_check(options) != EMMA_OK)
        return NULL;
    emma_options given;
    options_load(&given, options);
    instance_geometry geometry;
    size_t reserve = reserve_wanted(&given);
    size_t least = given.reserve_bytes ? reserve : EMMA_RESERVE_MIN_BYTES;
    char *mapping;
    for (;;) {
        geometry_for(&geometry, reserve, given.flags);
        mapping = instance_map(&geometry);
        if (mapping || reserve == least)
            break;
        reserve = emmai_max(reserve / 2, least);
    }
    if (!mapping)
        return NULL;
    if (given.name)
        emmai_os_name(mapping, geometry.mapping_bytes, given.name);
    return instance_init(mapping, &geometry, &given);
}

void emma_destroy(emma *instance)
{
    if (!instance)
        return;
    emmai_watch_end(instance);
    emmai_checkpoint_release(instance);
    emmai_os_release(instance->control->mapping, instance->control->mapping_bytes);
}

/* ---- reset ---- */

/* Makes every chunk behind the young area free. */
static void reset_chunks(emma *instance)
{
    size_t chunk = emmai_place_next_used(instance, EMMAI_YOUNG_CHUNKS);
    while (chunk < instance->chunk_count) {
        emmai_slab *entry = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
        size_t count = 1;
        if (entry->kind == EMMAI_RUN) {
            count = emmai_run_chunks(entry);
            emmai_huge_withdraw(instance, entry);
        }
        if (EMMA_CHECKS && (entry->kind == EMMAI_RUN || entry->size_class))
            emmai_checked_forget(instance, emmai_chunk_start(instance, chunk), EMMAI_CHUNK_BYTES);
        if (entry->kind != EMMAI_HEAP || !emmai_shared_heap_number(instance, chunk))
            emmai_chunk_release(instance, chunk, count);
        chunk = emmai_place_next_used(instance, chunk + count);
    }
}

enum emma_status emma_reset(emma *instance)
{
    emmai_heap *heap = NULL;
    if (instance->shared ? emmai_shared_is_inside(instance) : !(heap = emmai_enter(instance)))
        return EMMA_BUSY;
    emmai_control *control = instance->control;
    if (instance->shared)
        emmai_shared_mark_alone(instance, true);
    control->resetting = true;
    __atomic_store_n(&instance->deferred, NULL, __ATOMIC_RELAXED);
    emmai_watch_reset(instance);
    instance->young_count = 0; /* before their entries go: the limit handler may ask for figures */
    if (instance->shared)
        emmai_held_shed_all(instance);
    if (EMMA_CHECKS)
        emmai_checked_forget(instance, emmai_origin(instance), EMMAI_YOUNG_BYTES);
    reset_chunks(instance);
    emmai_arch_zero(instance->young, sizeof instance->young);
    emmai_arch_zero(instance->unit_slab, sizeof instance->unit_slab);
    size_t kept = emmai_min(control->retained_pages, EMMAI_RETAIN_BYTES >> EMMAI_PAGE_SHIFT);
    emmai_chunk_purge(instance, control->retained_pages - kept);
    emmai_chunk_wipe(instance);
    emmai_checkpoint_forget(instance, NULL);
    if (instance->shared && !emmai_footprint_recount(instance))
        emmai_chunk_purge_uncounted(instance);
    emmai_sync_set(&control->peak_pages, emmai_sync_get(&control->footprint_pages));
    heaps_clear(instance);
    if (instance->shared)
        emmai_abandoned_open(instance);
    else
        instance->low_hint = EMMAI_YOUNG_CHUNKS;
    if (heap)
        emmai_leave(heap);
    control->resetting = false; /* not earlier: what handlers free meanwhile is of the old heap */
    if (instance->shared)
        emmai_shared_mark_alone(instance, false);
    return EMMA_OK;
}

size_t emma_trim(emma *instance)
{
    emmai_heap *heap = emmai_enter(instance);
    if (!heap)
        return 0;
    if (instance->shared) {
        emmai_stash_give_back(instance, heap);
        emmai_adopt_reclaim(instance);
    }
    emmai_free_drain(instance, heap); /* what that sent here, too */
    emmai_slab_shed(instance, heap);
    size_t pages = emmai_chunk_purge(instance, SIZE_MAX);
    if (!instance->shared)
        pages += emmai_chunk_squeeze(instance) + emmai_rollback_trim(instance);
    emmai_leave(heap);
    return pages << EMMAI_PAGE_SHIFT;
}

const char *emma_version(void)
{
    return EMMA_VERSION;
}

bool emma_is_busy(const emma *instance)
{
    return !instance->shared && __atomic_load_n(&instance->heap.gate, __ATOMIC_RELAXED) == 0;
}
