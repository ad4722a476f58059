/* glibc.c - the C library's malloc, called as lauxlib's own l_alloc calls it. */
#include "../lua_adapter.h"

#include <malloc.h>
#include <stdlib.h>

const char adapter_function[] = "glibc_lua_alloc";
const bool adapter_has_private_heaps = false;

static void *glibc_lua_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    (void)ud;
    (void)osize;
    if (nsize == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, nsize);
}

bool adapter_open(const adapter_options *options, adapter_heap *heap)
{
    (void)options;
    *heap = (adapter_heap){ .alloc = glibc_lua_alloc };
    return true;
}

void adapter_discard(adapter_heap *heap)
{
    (void)heap;
}

bool adapter_reset(adapter_heap *heap)
{
    (void)heap;
    return false;
}

void adapter_give_back(void)
{
    malloc_trim(0);
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
    return "";
}
