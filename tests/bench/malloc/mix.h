/* mix.h - what the workloads of malloc_mix share: threads, random numbers, blocks that tell whether
 * they are intact.
 *
 * A workload is a function that each of the threads runs with a share of the iterations; it calls
 * nothing of the allocator but malloc, free, realloc, calloc and aligned_alloc, or the two
 * functions of sized.c, which an allocator without these can offer, too. */
#ifndef EMMA_BENCH_MIX_H
#define EMMA_BENCH_MIX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../bench_child.h"

#define MIX_MAX_THREADS  64
#define CACHE_LINE_BYTES 64

/* One thread of a run; all of it is the thread's own but `shared`. */
typedef struct mix_thread {
    unsigned index, count;      /* of all threads of the run */
    uint64_t iterations;        /* this thread's share */
    uint64_t random;            /* state of the generator */
    uint64_t operations;        /* allocations and reallocations, counted by the workload */
    void *shared;               /* what the workload's prepare returned */
    pthread_barrier_t *barrier; /* of all threads of the run */
} mix_thread;

typedef struct mix_workload {
    const char *name;
    uint64_t iterations;                /* of all threads together, at full size */
    void *(*prepare)(unsigned threads); /* NULL: nothing to prepare */
    void (*run)(mix_thread *self);
    void (*finish)(void *shared); /* checks and frees what prepare and run left; NULL: nothing */
} mix_workload;

/* Ends with an entry without a name. */
extern const mix_workload mix_workloads[];

/* ---- sized.c, or a library in its place ---- */

void *sized_alloc(size_t bytes);
void sized_free(void *block, size_t bytes);

/* ---- Random numbers: xorshift, a generator per thread ---- */

static inline uint64_t mix_random(mix_thread *self)
{
    uint64_t x = self->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return self->random = x;
}

/* Evenly from 0 to limit - 1; `limit` fits in 32 bits. */
static inline size_t mix_below(mix_thread *self, size_t limit)
{
    return (size_t)((mix_random(self) >> 32) * limit >> 32);
}

#define MIX_LEAST_BYTES ((size_t)16)
#define MIX_SHIFTS      6  /* small ranges: 16 to 16 << 5 bytes, as often as each other */
#define MIX_RARE        64 /* one block in so many is larger, by up to ... */
#define MIX_RARE_BYTES  ((size_t)16384)

/* Sizes as programs ask for: mostly small, now and then some KiB. */
static inline size_t mix_random_bytes(mix_thread *self)
{
    uint64_t random = mix_random(self);
    size_t range = MIX_LEAST_BYTES << (random % MIX_SHIFTS);
    if ((random >> 8) % MIX_RARE == 0)
        range = MIX_RARE_BYTES;
    return MIX_LEAST_BYTES + (size_t)(random >> 16) % range;
}

/* ---- Blocks of at least MIX_LEAST_BYTES that know their size and address ---- */

/* The first bytes of a sealed block; its last byte is a copy of the check's lowest one. */
typedef struct mix_seal {
    uint64_t check; /* from the block's size and address */
    uint64_t bytes;
} mix_seal;

static inline uint64_t seal_check(const void *block, size_t bytes)
{
    return ((uint64_t)(uintptr_t)block ^ bytes) * UINT64_C(0x9e3779b97f4a7c15) >> 8;
}

static inline void *seal_block(void *block, size_t bytes)
{
    if (block == NULL)
        fail("no memory for a block of %zu bytes", bytes);
    mix_seal seal = { .check = seal_check(block, bytes), .bytes = bytes };
    memcpy(block, &seal, sizeof seal);
    if (bytes > sizeof seal)
        ((unsigned char *)block)[bytes - 1] = (unsigned char)seal.check;
    return block;
}

/* The size of a sealed block, which must be as it was sealed. */
static inline size_t unseal_block(const void *block)
{
    mix_seal seal;
    memcpy(&seal, block, sizeof seal);
    bool intact = seal.check == seal_check(block, seal.bytes);
    if (intact && seal.bytes > sizeof seal)
        intact = ((const unsigned char *)block)[seal.bytes - 1] == (unsigned char)seal.check;
    if (!intact)
        fail("the block at %p was written over", block);
    return seal.bytes;
}

static inline void *new_block(size_t bytes)
{
    return seal_block(malloc(bytes), bytes);
}

/* NULL is left alone, as by free. */
static inline void drop_block(void *block)
{
    if (block != NULL)
        unseal_block(block);
    free(block);
}

/* What may not fail: memory, and the C library's threads. */
static inline void *must(void *block)
{
    if (block == NULL)
        fail("no memory");
    return block;
}

static inline void must_be_zero(int error, const char *what)
{
    if (error != 0)
        fail("%s: %s", what, strerror(error));
}

/* ---- The workloads ---- */

/* mix_heap.c: each thread for itself */
void run_own(mix_thread *self);
void run_realloc(mix_thread *self);
void run_large(mix_thread *self);
void run_threadtest(mix_thread *self);

/* mix_threads.c: blocks that change threads, threads that come and go */
void *prepare_queue(unsigned threads);
void run_queue(mix_thread *self);
void finish_queue(void *shared);
void *prepare_slots(unsigned threads);
void run_cross(mix_thread *self);
void finish_slots(void *shared);
void run_larson(mix_thread *self);
void run_spawn(mix_thread *self);
void *prepare_shared_objects(unsigned threads);
void run_shared_objects(mix_thread *self);

/* mix_cache.c: blocks of several threads in one cache line */
void run_false_active(mix_thread *self);
void *prepare_false_passive(unsigned threads);
void run_false_passive(mix_thread *self);

/* mix_objects.c, mix_numbers.c: programs */
void *prepare_objects(unsigned threads);
void run_objects(mix_thread *self);
void run_big_numbers(mix_thread *self);

#endif
