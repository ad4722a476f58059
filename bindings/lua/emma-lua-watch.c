/* emma-lua-watch.c - what is noted of a run that is to be reported: memory over time, and what objects of each type
 * take.
 *
 * It is a lua_Alloc in place of emma's. Lua tells the type of an object where it is allocated, and nowhere else; so the type
 * is written down in a map with a byte for each 16 bytes of the region, which no two objects with a type share. At the
 * end nothing needs to be looked for, however large the heap is. Without a report none of this is there. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "emma-lua.h"

#include <stdint.h>
#include <sys/mman.h>

#define GRANULE_SHIFT 4

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

static uint8_t *type_map; /* NULL: types are not counted */
static size_t type_mask;
static struct {
    size_t count, bytes;
} types[TYPE_COUNT], types_before[TYPE_COUNT];

static ptrdiff_t bytes_left;
static emma_report_series series;

/* The region is one stretch of addresses, no longer than the map is for. */
static uint8_t *type_of(const void *block)
{
    return &type_map[(uintptr_t)block >> GRANULE_SHIFT & type_mask];
}

static void count(size_t type, size_t objects, size_t bytes)
{
    types[type].count += objects;
    types[type].bytes += bytes;
}

static void tick(size_t allocated)
{
    if (emma_report_is_due(&bytes_left, allocated))
        emma_report_series_tick(&series);
}

static void *watch_new(void *instance, size_t tag, size_t bytes)
{
    void *block = emma_resize(instance, NULL, 0, bytes);
    if (!block)
        return NULL;
    const size_t type = tag < TYPE_COUNT && type_names[tag] ? tag : 0;
    count(type, 1, bytes);
    if (type && type_map)
        *type_of(block) = (uint8_t)type;
    tick(bytes);
    return block;
}

static void *watch_end(void *instance, void *block, size_t bytes)
{
    uint8_t *type = type_map ? type_of(block) : NULL;
    count(type ? *type : 0, (size_t)-1, 0 - bytes);
    if (type && *type)
        *type = 0;
    return emma_resize(instance, block, bytes, 0);
}

/* Lua resizes nothing that has a type. */
static void *watch_resized(void *instance, void *old, size_t bytes_before, size_t bytes)
{
    void *block = emma_resize(instance, old, bytes_before, bytes);
    if (!block)
        return NULL;
    count(0, 0, bytes - bytes_before);
    tick(bytes > bytes_before ? bytes - bytes_before : 0);
    return block;
}

void *emmai_watch_alloc(void *instance, void *ptr, size_t osize, size_t nsize)
{
    if (!ptr)
        return nsize ? watch_new(instance, osize, nsize) : NULL;
    return nsize ? watch_resized(instance, ptr, osize, nsize) : watch_end(instance, ptr, osize);
}

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

lua_Alloc emmai_watch_start(emma *instance)
{
    make_type_map(instance);
    emma_report_series_start(&series, instance);
    return emmai_watch_alloc;
}

void emmai_watch_begin(void)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        types_before[i] = types[i];
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
    for (size_t i = 0; type_map && i < TYPE_COUNT; i++)
        if (type_names[i])
            rows[report->type_count++] = (emma_report_type){
                .name = type_names[i],
                .count = types[i].count,
                .bytes = types[i].bytes,
                .count_before = types_before[i].count,
                .bytes_before = types_before[i].bytes,
            };
}
