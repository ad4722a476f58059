/* lua_adapter.h - what the benchmark host asks of an allocator.
 *
 * Each allocator has one file in adapters/ that defines all of this, and is linked with
 * lua_host.c into an executable of its own, so that no allocator meets another one. The
 * adapter's lua_Alloc goes to Lua as it is, without a wrapper. A heap is what one Lua state
 * lives in: a private one where the allocator has such a thing, else the process-wide one. One
 * thread uses all of this. */
#ifndef EMMA_BENCH_LUA_ADAPTER_H
#define EMMA_BENCH_LUA_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#define ADAPTER_UNLIMITED SIZE_MAX

/* Of a heap, for the allocators that have such a thing. */
typedef struct adapter_options {
    size_t limit_bytes;   /* hard cap; ADAPTER_UNLIMITED: none */
    size_t reserve_bytes; /* address space; 0: the allocator's choice */
} adapter_options;

typedef struct adapter_heap {
    lua_Alloc alloc;
    void *ud;        /* first argument of alloc */
    uintptr_t extra; /* the adapter's own */
} adapter_heap;

/* Address space and pages of a new heap, for comparing its creation with the kernel's own work. */
typedef struct adapter_extent {
    size_t reserve_bytes;
    size_t writable_bytes;
} adapter_extent;

/* Name of the lua_Alloc function, as a profiler shows it. */
extern const char adapter_function[];

/* True: each heap is private, and adapter_discard drops one with whatever it holds. */
extern const bool adapter_has_private_heaps;

/* Opens a heap. False: the allocator refused. */
bool adapter_open(const adapter_options *options, adapter_heap *heap);

/* Ends a heap, with the blocks in it if heaps are private; a process-wide one must be empty of
 * this state's blocks. */
void adapter_discard(adapter_heap *heap);

/* Frees all blocks of a private heap at once, and the heap lives on. False, with nothing changed:
 * the allocator has no such thing, or refused. */
bool adapter_reset(adapter_heap *heap);

/* Gives memory that the allocator keeps for the process back to the kernel, as far as it can. */
void adapter_give_back(void);

/* Fills in `extent`; false where the allocator does not tell. */
bool adapter_measure(const adapter_heap *heap, adapter_extent *extent);

/* Bytes copied by reallocs that moved, as the allocator counts them; UINT64_MAX where it does
 * not. */
uint64_t adapter_moved_bytes(const adapter_heap *heap);

/* The allocator's own version, "" where it is told by its package only. */
const char *adapter_version(void);

#endif
