/* jemalloc.c - a private arena with an explicit tcache per Lua state, as Redis gives its
 * scripts. */
#include "../lua_adapter.h"

#include <jemalloc/jemalloc.h>
#include <stdio.h>

const char adapter_function[] = "jemalloc_lua_alloc";
const bool adapter_has_private_heaps = true;

/* The flags of both travel in `ud`, so that a call finds them without a load. */
static void *jemalloc_lua_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    int flags = (int)(intptr_t)ud;
    if (nsize == 0) {
        if (ptr != NULL)
            sdallocx(ptr, osize, flags);
        return NULL;
    }
    if (ptr == NULL)
        return mallocx(nsize, flags);
    return rallocx(ptr, nsize, flags);
}

static unsigned arena_of(const adapter_heap *heap)
{
    return (unsigned)(heap->extra >> 32);
}

static unsigned tcache_of(const adapter_heap *heap)
{
    return (unsigned)heap->extra;
}

bool adapter_open(const adapter_options *options, adapter_heap *heap)
{
    (void)options;
    unsigned arena, tcache;
    size_t bytes = sizeof arena;
    if (mallctl("arenas.create", &arena, &bytes, NULL, 0) != 0)
        return false;
    bytes = sizeof tcache;
    if (mallctl("tcache.create", &tcache, &bytes, NULL, 0) != 0)
        return false;
    *heap = (adapter_heap){ .alloc = jemalloc_lua_alloc,
                            .ud = (void *)(intptr_t)(MALLOCX_ARENA(arena) | MALLOCX_TCACHE(tcache)),
                            .extra = (uintptr_t)arena << 32 | tcache };
    return true;
}

void adapter_discard(adapter_heap *heap)
{
    char name[48];
    unsigned tcache = tcache_of(heap);
    mallctl("tcache.destroy", NULL, NULL, &tcache, sizeof tcache);
    snprintf(name, sizeof name, "arena.%u.destroy", arena_of(heap));
    mallctl(name, NULL, NULL, NULL, 0);
}

/* A cached block must not outlive the arena's reset, so the tcache is emptied first. */
bool adapter_reset(adapter_heap *heap)
{
    char name[48];
    unsigned tcache = tcache_of(heap);
    if (mallctl("tcache.flush", NULL, NULL, &tcache, sizeof tcache) != 0)
        return false;
    snprintf(name, sizeof name, "arena.%u.reset", arena_of(heap));
    return mallctl(name, NULL, NULL, NULL, 0) == 0;
}

void adapter_give_back(void)
{
    char name[48];
    snprintf(name, sizeof name, "arena.%u.purge", (unsigned)MALLCTL_ARENAS_ALL);
    mallctl(name, NULL, NULL, NULL, 0);
}

bool adapter_measure(const adapter_heap *heap, adapter_extent *extent)
{
    (void)heap;
    (void)extent;
    return false;
}

uint64_t adapter_moved_bytes(const adapter_heap *heap)
{
    (void)heap;
    return UINT64_MAX;
}

const char *adapter_version(void)
{
    const char *version = "";
    size_t bytes = sizeof version;
    mallctl("version", (void *)&version, &bytes, NULL, 0);
    return version;
}
