/* mix_heap.c - workloads in which each thread keeps its blocks to itself. */
#include "mix.h"

#include <unistd.h>

/* ---- own: blocks of random sizes, replaced at random ---- */

#define OWN_BLOCKS        4000
#define OWN_CALLOC_EVERY  16
#define OWN_ALIGNED_EVERY 64

static void *zeroed_block(size_t bytes)
{
    unsigned char *block = must(calloc(1, bytes));
    if ((block[0] | block[bytes / 2] | block[bytes - 1]) != 0)
        fail("calloc gave bytes that are not zero");
    return seal_block(block, bytes);
}

static void *aligned_block(size_t bytes)
{
    bytes = (bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    void *block = aligned_alloc(CACHE_LINE_BYTES, bytes);
    if ((uintptr_t)block % CACHE_LINE_BYTES != 0)
        fail("aligned_alloc gave %p", block);
    return seal_block(block, bytes);
}

static void *random_block(mix_thread *self, uint64_t turn)
{
    size_t bytes = mix_random_bytes(self);
    if (turn % OWN_ALIGNED_EVERY == 0)
        return aligned_block(bytes);
    return turn % OWN_CALLOC_EVERY == 1 ? zeroed_block(bytes) : new_block(bytes);
}

void run_own(mix_thread *self)
{
    void **blocks = must(calloc(OWN_BLOCKS, sizeof *blocks));
    for (uint64_t turn = 0; turn < self->iterations; turn++) {
        size_t slot = mix_below(self, OWN_BLOCKS);
        drop_block(blocks[slot]);
        blocks[slot] = random_block(self, turn);
    }
    for (size_t slot = 0; slot < OWN_BLOCKS; slot++)
        drop_block(blocks[slot]);
    free(blocks);
    self->operations += self->iterations;
}

/* ---- threadtest: many blocks of one size, all allocated, then all freed ---- */

#define THREADTEST_BLOCKS 10000
#define THREADTEST_BYTES  64

void run_threadtest(mix_thread *self)
{
    void **blocks = must(malloc(THREADTEST_BLOCKS * sizeof *blocks));
    for (uint64_t done = 0; done < self->iterations; done += THREADTEST_BLOCKS) {
        for (size_t i = 0; i < THREADTEST_BLOCKS; i++)
            blocks[i] = seal_block(sized_alloc(THREADTEST_BYTES), THREADTEST_BYTES);
        for (size_t i = 0; i < THREADTEST_BLOCKS; i++)
            sized_free(blocks[i], unseal_block(blocks[i]));
        self->operations += THREADTEST_BLOCKS;
    }
    free(blocks);
}

/* ---- realloc: vectors that grow by half, many at a time ---- */

#define VECTORS           32
#define VECTOR_FIRST      4
#define VECTOR_MOST_SHIFT 16 /* the longest has about 2^17 numbers */

typedef struct mix_vector {
    uint64_t *numbers;
    size_t length, room, end; /* the vector is full-grown at `end` numbers */
    uint64_t sum;
} mix_vector;

static void push_number(mix_thread *self, mix_vector *vector, uint64_t number)
{
    if (vector->length == vector->room) {
        vector->room = vector->room == 0 ? VECTOR_FIRST : vector->room + vector->room / 2;
        vector->numbers = must(realloc(vector->numbers, vector->room * sizeof number));
        self->operations++;
    }
    vector->numbers[vector->length++] = number;
    vector->sum += number;
}

static void end_vector(mix_vector *vector)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < vector->length; i++)
        sum += vector->numbers[i];
    if (sum != vector->sum)
        fail("realloc lost numbers of a vector");
    free(vector->numbers);
}

/* Few are long: each doubling of the length is as frequent as another. */
static size_t random_length(mix_thread *self)
{
    size_t range = (size_t)1 << (1 + mix_below(self, VECTOR_MOST_SHIFT));
    return range + mix_below(self, range);
}

void run_realloc(mix_thread *self)
{
    mix_vector vectors[VECTORS] = { { 0 } };
    for (uint64_t finished = 0; finished < self->iterations;) {
        mix_vector *chosen = &vectors[mix_below(self, VECTORS)];
        if (chosen->length >= chosen->end) {
            end_vector(chosen);
            *chosen = (mix_vector){ .end = random_length(self) };
            finished++;
        }
        size_t stride = chosen->length / 4 + 1;
        for (size_t i = 0; i < stride; i++)
            push_number(self, chosen, i);
    }
    for (size_t i = 0; i < VECTORS; i++)
        end_vector(&vectors[i]);
}

/* ---- large: blocks of 64 KiB to 8 MiB, each page touched ---- */

#define LARGE_BLOCKS      8
#define LARGE_LEAST_BYTES ((size_t)64 << 10)
#define LARGE_SHIFTS      7

static void *touched_block(size_t bytes, size_t page_bytes)
{
    unsigned char *block = must(malloc(bytes));
    for (size_t at = 0; at < bytes; at += page_bytes)
        block[at] = (unsigned char)at;
    return seal_block(block, bytes);
}

void run_large(mix_thread *self)
{
    void *blocks[LARGE_BLOCKS] = { NULL };
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    for (uint64_t turn = 0; turn < self->iterations; turn++) {
        size_t slot = mix_below(self, LARGE_BLOCKS);
        size_t range = LARGE_LEAST_BYTES << mix_below(self, LARGE_SHIFTS);
        drop_block(blocks[slot]);
        blocks[slot] = touched_block(range + mix_below(self, range), page_bytes);
    }
    for (size_t slot = 0; slot < LARGE_BLOCKS; slot++)
        drop_block(blocks[slot]);
    self->operations += self->iterations;
}
