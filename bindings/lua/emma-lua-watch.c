/* emma-lua-watch.c - what is noted of a run that is to be reported: memory over time, and what objects of each type
 * take.
 *
 * It is a lua_Alloc around emma's. Lua tells the type of an object where it is allocated, and nowhere else; so the type
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

static void note_new(const void *block, size_t tag, size_t bytes)
{
    const size_t type = tag < TYPE_COUNT && type_names[tag] ? tag : 0;
    types[type].count++;
    types[type].bytes += bytes;
    if (type)
        *type_of(block) = (uint8_t)type;
}

static void note_end(const void *block, size_t type, size_t bytes)
{
    types[type].count--;
    types[type].bytes -= bytes;
    if (type)
        *type_of(block) = 0;
}

static void note_resized(const void *old, const void *block, size_t type, size_t bytes_before,
                         size_t bytes)
{
    types[type].bytes += bytes - bytes_before;
    if (type && old != block) {
        *type_of(old) = 0;
        *type_of(block) = (uint8_t)type;
    }
}

static void *watch_alloc(void *instance, void *ptr, size_t osize, size_t nsize)
{
    const size_t type = type_map && ptr ? *type_of(ptr) : 0;
    if (type_map && ptr && nsize == 0)
        note_end(ptr, type, osize);
    void *block = emma_lua_alloc(instance, ptr, osize, nsize);
    if (!block)
        return NULL;
    if (type_map && ptr)
        note_resized(ptr, block, type, osize, nsize);
    else if (type_map)
        note_new(block, osize, nsize);
    if (emma_report_is_due(&bytes_left, !ptr ? nsize : nsize > osize ? nsize - osize : 0))
        emma_report_series_tick(&series);
    return block;
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
    return watch_alloc;
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
