/* floor.c - the practical floor: a free list per 8-byte class that believes the size it is told,
 * finds it in no table, keeps no count, and never gives memory back. Not an allocator that a
 * program could use; the others are measured against it. Sizes above 1 KiB, under 0.1 % of a Lua
 * program's calls, go to the C library. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "../lua_adapter.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CLASS_SHIFT     3
#define CLASS_BYTES     ((size_t)1 << CLASS_SHIFT)
#define SMALL_MAX_BYTES ((size_t)1024)
#define CLASS_COUNT     ((SMALL_MAX_BYTES >> CLASS_SHIFT) + 1)
#define MAPPING_BYTES   ((size_t)1 << 20)

typedef struct free_block {
    struct free_block *next;
} free_block;

typedef struct floor_heap {
    free_block *free[CLASS_COUNT];
    char *fresh; /* what is left of the newest mapping */
    char *fresh_end;
} floor_heap;

const char adapter_function[] = "floor_lua_alloc";
const bool adapter_has_private_heaps = false;

static floor_heap process_heap;

static size_t class_of(size_t bytes)
{
    return (bytes + CLASS_BYTES - 1) >> CLASS_SHIFT;
}

/* What is left of the old mapping is too small for this request and serves a smaller class. */
static __attribute__((noinline)) void *floor_map(floor_heap *heap, size_t block_bytes)
{
    size_t left = (size_t)(heap->fresh_end - heap->fresh);
    if (left != 0) {
        free_block *rest = (free_block *)(void *)heap->fresh;
        rest->next = heap->free[left >> CLASS_SHIFT];
        heap->free[left >> CLASS_SHIFT] = rest;
    }
    heap->fresh = heap->fresh_end = NULL;
    char *mapping =
        mmap(NULL, MAPPING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return NULL;
    heap->fresh = mapping + block_bytes;
    heap->fresh_end = mapping + MAPPING_BYTES;
    return mapping;
}

static inline void *floor_malloc(floor_heap *heap, size_t bytes)
{
    if (__builtin_expect(bytes > SMALL_MAX_BYTES, 0))
        return malloc(bytes);
    size_t class = class_of(bytes);
    free_block *block = heap->free[class];
    if (__builtin_expect(block != NULL, 1)) {
        heap->free[class] = block->next;
        return block;
    }
    size_t block_bytes = class << CLASS_SHIFT;
    if (__builtin_expect((size_t)(heap->fresh_end - heap->fresh) < block_bytes, 0))
        return floor_map(heap, block_bytes);
    char *fresh = heap->fresh;
    heap->fresh = fresh + block_bytes;
    return fresh;
}

static inline void floor_free(floor_heap *heap, void *ptr, size_t bytes)
{
    if (__builtin_expect(bytes > SMALL_MAX_BYTES, 0)) {
        free(ptr);
        return;
    }
    free_block *block = ptr;
    block->next = heap->free[class_of(bytes)];
    heap->free[class_of(bytes)] = block;
}

static __attribute__((noinline)) void *floor_realloc(floor_heap *heap, void *ptr, size_t osize,
                                                     size_t nsize)
{
    if (osize > SMALL_MAX_BYTES && nsize > SMALL_MAX_BYTES)
        return realloc(ptr, nsize);
    if (osize <= SMALL_MAX_BYTES && class_of(osize) == class_of(nsize))
        return ptr;
    void *moved = floor_malloc(heap, nsize);
    if (moved == NULL)
        return NULL;
    memcpy(moved, ptr, osize < nsize ? osize : nsize);
    floor_free(heap, ptr, osize);
    return moved;
}

static void *floor_lua_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    floor_heap *heap = ud;
    if (ptr == NULL)
        return nsize != 0 ? floor_malloc(heap, nsize) : NULL;
    if (nsize != 0)
        return floor_realloc(heap, ptr, osize, nsize);
    floor_free(heap, ptr, osize);
    return NULL;
}

bool adapter_open(const adapter_options *options, adapter_heap *heap)
{
    (void)options;
    *heap = (adapter_heap){ .alloc = floor_lua_alloc, .ud = &process_heap };
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
