/* mix_cache.c - small blocks that are written often: slow where an allocator gives blocks of one
 * cache line to several threads (false sharing), of itself (active) or because one thread's blocks
 * were freed by others (passive). */
#include "mix.h"

#define FALSE_BYTES  8
#define FALSE_WRITES 2000

/* Writes a block over and over, as a counter that a thread keeps in it, and frees it. */
static void count_in_block(volatile uint64_t *counter)
{
    *counter = 0;
    for (unsigned i = 0; i < FALSE_WRITES; i++)
        *counter += 1;
    if (*counter != FALSE_WRITES)
        fail("a counter was written by another");
    sized_free((void *)(uintptr_t)counter, FALSE_BYTES);
}

void run_false_active(mix_thread *self)
{
    for (uint64_t turn = 0; turn < self->iterations; turn++)
        count_in_block(must(sized_alloc(FALSE_BYTES)));
    self->operations += self->iterations;
}

/* The blocks that the first thread hands out, likely neighbours. */
void *prepare_false_passive(unsigned threads)
{
    static uint64_t *blocks[MIX_MAX_THREADS];
    for (unsigned i = 0; i < threads; i++)
        blocks[i] = must(sized_alloc(FALSE_BYTES));
    return blocks;
}

void run_false_passive(mix_thread *self)
{
    uint64_t **blocks = self->shared;
    count_in_block(blocks[self->index]);
    run_false_active(self);
}
