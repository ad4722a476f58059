/* tcmalloc.c - gperftools' tcmalloc_minimal: one heap for the process, frees told their size. */
#include "../lua_adapter.h"

#include <gperftools/malloc_extension_c.h>
#include <gperftools/tcmalloc.h>

const char adapter_function[] = "tcmalloc_lua_alloc";
const bool adapter_has_private_heaps = false;

static void *tcmalloc_lua_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    (void)ud;
    if (nsize == 0) {
        if (ptr != NULL)
            tc_free_sized(ptr, osize);
        return NULL;
    }
    if (ptr == NULL)
        return tc_malloc(nsize);
    return tc_realloc(ptr, nsize);
}

bool adapter_open(const adapter_options *options, adapter_heap *heap)
{
    (void)options;
    *heap = (adapter_heap){ .alloc = tcmalloc_lua_alloc };
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
    MallocExtension_ReleaseFreeMemory();
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
    int major, minor;
    const char *patch;
    return tc_version(&major, &minor, &patch);
}
