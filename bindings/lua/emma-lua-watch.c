/* emma-lua-watch.c - what is noted of a run that is to be reported: memory over time, and what
 * objects of each type take.
 *
 * It is a lua_Alloc in place of emma's, or one that draws samples as well (emma-lua-sample.c).
 * Lua tells the type of an object where it is allocated, and nowhere else; so the type is
 * written down in a map with a byte for each 16 bytes of the region, which no two objects with a
 * type share. At the end nothing needs to be looked for, however large the heap is. Without a
 * report none of this is there. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "emma-lua.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define GRANULE_SHIFT 4

/* So that the lua_Alloc, which frees itself, needs no frame. */
#define WATCH_NOINLINE __attribute__((noinline))

/* Beyond those that programs see there are two: upvalues and prototypes. */
enum { TYPE_UPVALUE = LUA_NUMTYPES, TYPE_PROTOTYPE, TYPE_COUNT };

static const char *const type_names[TYPE_COUNT] = {
    [0] = "rest",
    [LUA_TSTRING] = "string",
    [LUA_TTABLE] = "table",
    [LUA_TFUNCTION] = "function",
    [LUA_TUSERDATA] = "userdata",
    [LUA_TTHREAD] = "thread",
    [TYPE_UPVALUE] = "upvalue",
    [TYPE_PROTOTYPE] = "function prototype",
};

/* Without memory for a map of the region it is of one byte, and types are not told. */
static uint8_t no_map[1];
static uint8_t *type_map = no_map;
static size_t type_mask;

static size_t counts[TYPE_COUNT], sizes[TYPE_COUNT]; /* of objects; of their bytes */
static size_t counts_before[TYPE_COUNT], sizes_before[TYPE_COUNT];

static size_t bytes_left;
static emma_report_series series;

/* The region is one stretch of addresses, no longer than the map is for. */
static uint8_t *type_of(const void *block)
{
    return &type_map[(uintptr_t)block >> GRANULE_SHIFT & type_mask];
}

static void tick(size_t allocated)
{
    if (emma_report_is_due(&bytes_left, allocated))
        emma_report_series_tick(&series);
}

/* ---- what each call notes ---- */

/* All of these have a lua_Alloc's parameters, so that one goes on to another by a jump. */

static WATCH_NOINLINE void *watch_new(void *instance, void *none, size_t tag, size_t bytes)
{
    (void)none;
    void *block = emma_malloc(instance, bytes);
    if (!block)
        return NULL;
    const size_t type = tag < TYPE_COUNT ? tag : 0;
    counts[type]++;
    sizes[type] += bytes;
    if (type)
        *type_of(block) = (uint8_t)type;
    tick(bytes);
    return block;
}

static inline void *watch_end(void *instance, void *block, size_t bytes, size_t nothing)
{
    uint8_t *type_at = type_of(block);
    const size_t type = *type_at;
    counts[type]--;
    sizes[type] -= bytes;
    if (type)
        *type_at = 0;
    return emma_resize(instance, block, bytes, nothing);
}

/* Lua resizes nothing that has a type. */
static WATCH_NOINLINE void *watch_resized(void *instance, void *old, size_t before, size_t bytes)
{
    void *block = emma_resize(instance, old, before, bytes);
    if (!block)
        return NULL;
    sizes[0] += bytes - before;
    tick(bytes > before ? bytes - before : 0);
    return block;
}

static void *watch_alloc(void *instance, void *ptr, size_t osize, size_t nsize)
{
    if (ptr)
        return nsize ? watch_resized(instance, ptr, osize, nsize)
                     : watch_end(instance, ptr, osize, nsize);
    return nsize ? watch_new(instance, ptr, osize, nsize) : NULL;
}

/* ---- the same with samples ---- */

static WATCH_NOINLINE void *drawn(void *instance, void *ptr, size_t osize, size_t nsize)
{
    void *block = watch_alloc(instance, ptr, osize, nsize);
    if (block)
        emmai_sample_draw(block, nsize, ptr ? 0 : osize);
    return block;
}

/* Frees or resizes what may be a sample. */
static WATCH_NOINLINE void *change(void *instance, void *old, size_t before, size_t bytes)
{
    emma_sample_block sample;
    const bool is_sample = emma_sample_lift(&emmai_sampler, old, &sample);
    void *block = watch_alloc(instance, old, before, bytes);
    if (is_sample && bytes && !block)
        emma_sample_put(&emmai_sampler, old, before, &sample);
    else if (is_sample && bytes && bytes <= before)
        emma_sample_put(&emmai_sampler, block, bytes, &sample);
    if (block && bytes > before && emma_sample_is_due(&emmai_sampler, bytes))
        emmai_sample_draw(block, bytes, 0);
    return block;
}

/* What is refused is counted down, too: that is rare. */
static WATCH_NOINLINE void *sample_new(void *instance, void *old, size_t osize, size_t nsize)
{
    if (emma_sample_is_due(&emmai_sampler, nsize))
        return drawn(instance, old, osize, nsize);
    return old ? watch_resized(instance, old, osize, nsize)
               : watch_new(instance, old, osize, nsize);
}

static void *sample_alloc(void *instance, void *ptr, size_t osize, size_t nsize)
{
    if (!ptr)
        return nsize ? sample_new(instance, ptr, osize, nsize) : NULL;
    if (emma_sample_may_have(&emmai_sampler, ptr))
        return change(instance, ptr, osize, nsize);
    if (!nsize)
        return watch_end(instance, ptr, osize, nsize);
    return nsize > osize ? sample_new(instance, ptr, osize, nsize)
                         : watch_resized(instance, ptr, osize, nsize);
}

/* ---- begin and end ---- */

static void make_type_map(const emma *instance)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    size_t bytes = (size_t)1 << GRANULE_SHIFT;
    while (bytes < stats.reserve_bytes)
        bytes *= 2;
    bytes >>= GRANULE_SHIFT;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return;
    type_map = map;
    type_mask = bytes - 1;
}

lua_Alloc emmai_watch_start(emma *instance, bool with_samples)
{
    make_type_map(instance);
    emma_report_series_start(&series, instance);
    return with_samples ? sample_alloc : watch_alloc;
}

void emmai_watch_begin(void)
{
    memcpy(counts_before, counts, sizeof counts);
    memcpy(sizes_before, sizes, sizeof sizes);
}

void emmai_watch_end(void)
{
    emma_report_series_end(&series);
}

void emmai_watch_tell(emma_report *report)
{
    static emma_report_type rows[TYPE_COUNT];
    report->series = &series;
    report->types = rows;
    report->type_count = 0;
    report->types_grew = true;
    report->types_note = "Bytes that Lua asked for, at the end and when the libraries were loaded; "
                         "the rest is what has no type of "
                         "its own: parts of tables, code, stacks, buffers.";
    for (size_t i = 0; type_map != no_map && i < TYPE_COUNT; i++)
        if (type_names[i])
            rows[report->type_count++] = (emma_report_type){
                .name = type_names[i],
                .count = counts[i],
                .bytes = sizes[i],
                .count_before = counts_before[i],
                .bytes_before = sizes_before[i],
            };
}
