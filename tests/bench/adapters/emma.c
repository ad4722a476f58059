/* emma.c - an emma instance per Lua state. */
#include "../lua_adapter.h"

#include "emma_lua.h"

/* More of emma_flags than Lua's instances have. */
#ifndef ADAPTER_EXTRA_FLAGS
#define ADAPTER_EXTRA_FLAGS 0
#endif

_Static_assert(ADAPTER_UNLIMITED == EMMA_UNLIMITED, "a limit is passed on as it is");

const char adapter_function[] = "emma_lua_alloc";
const bool adapter_has_private_heaps = true;

bool adapter_open(const adapter_options *options, adapter_heap *heap)
{
    emma_options own = EMMA_LUA_OPTIONS_INIT;
    own.flags |= ADAPTER_EXTRA_FLAGS;
    own.limit_bytes = options->limit_bytes;
    own.reserve_bytes = options->reserve_bytes;
    *heap = (adapter_heap){ .alloc = emma_lua_alloc, .ud = emma_create(&own) };
    return heap->ud != NULL;
}

void adapter_discard(adapter_heap *heap)
{
    emma_destroy(heap->ud);
}

bool adapter_reset(adapter_heap *heap)
{
    return emma_reset(heap->ud) == EMMA_OK;
}

/* Nothing is kept for the process: an instance's memory goes with it. */
void adapter_give_back(void)
{
}

bool adapter_measure(const adapter_heap *heap, adapter_extent *extent)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(heap->ud, &stats);
    *extent = (adapter_extent){ .reserve_bytes = stats.reserve_bytes,
                                .writable_bytes = stats.footprint_bytes };
    return true;
}

uint64_t adapter_moved_bytes(const adapter_heap *heap)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(heap->ud, &stats);
    return stats.moved_bytes;
}

const char *adapter_version(void)
{
    return emma_version();
}
