/* mimalloc.c - a first-class mimalloc heap per Lua state. */
#include "../lua_adapter.h"

#include <mimalloc.h>
#include <stdio.h>

const char adapter_function[] = "mimalloc_lua_alloc";
const bool adapter_has_private_heaps = true;

static void *mimalloc_lua_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    (void)osize;
    if (nsize == 0) {
        mi_free(ptr);
        return NULL;
    }
    if (ptr == NULL)
        return mi_heap_malloc(ud, nsize);
    return mi_heap_realloc(ud, ptr, nsize);
}

bool adapter_open(const adapter_options *options, adapter_heap *heap)
{
    (void)options;
    *heap = (adapter_heap){ .alloc = mimalloc_lua_alloc, .ud = mi_heap_new() };
    return heap->ud != NULL;
}

void adapter_discard(adapter_heap *heap)
{
    mi_heap_destroy(heap->ud);
}

/* mimalloc's heaps can be destroyed, or deleted with their blocks kept: none lives on. */
bool adapter_reset(adapter_heap *heap)
{
    (void)heap;
    return false;
}

void adapter_give_back(void)
{
    mi_collect(true);
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
    static char text[16];
    int version = mi_version();
    snprintf(text, sizeof text, "%d.%d.%d", version / 100, version / 10 % 10, version % 10);
    return text;
}
