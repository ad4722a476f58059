/* emma_layout_shared.h - what only shared instances have: the heap of a thread, and what a thread knows of
 * its own. */
#ifndef EMMA_LAYOUT_SHARED_H
#define EMMA_LAYOUT_SHARED_H

#include "emma_layout.h"

/* Blocks of one class, of slabs of other heaps, that this heap's thread freed. */
typedef struct emmai_stash {
    void *blocks;  /* the last one freed, linked through the blocks' first words; NULL: none */
    uint16_t room; /* for so many more */
    uint16_t size; /* what room was when it was empty; 0: it never held any */
    bool was_full; /* since its class's bin last was empty */
} emmai_stash;

/* Blocks of slabs of one heap, on their way there, linked through their first words. */
typedef struct emmai_chain {
    void *first;    /* NULL: none */
    void *last;     /* whose link is that of the heap's list, once there */
    uint16_t owner; /* number of the heap */
} emmai_chain;

/* Heaps share a chain by their numbers. */
#define EMMAI_CHAINS 8

/* A heap of a shared instance; see emma_shared.c. */
typedef struct emmai_thread_heap {
    emmai_heap heap;                      /* owner thread */
    emma *instance;                       /* that it is of */
    emmai_stash stash[EMMAI_CLASS_COUNT]; /* owner thread */
    uint64_t stashed;                     /* classes that have a stash, as bits. Owner thread */
    emmai_chain outbox[EMMAI_CHAINS];     /* what left its stashes, to go home. Owner thread */
    size_t outbox_bytes;                  /* of blocks that were put there. Owner thread */
    uint64_t owner;                       /* any thread, atomic */
    uint32_t generation;                  /* who becomes the owner; others look, atomic */
    uint32_t held; /* first of its chunks in no use: emma_held.c; 0: none. Any thread, atomic */
    uint32_t held_count; /* at most so many; owner thread */
    bool stocked;        /* it may have empty slabs. Owner thread; others look, atomic */
    bool looked_at;      /* by the decay, since it was left. Any thread, atomic */
    /* What other threads freed, see emma_remote.c; any thread, atomic. On a cache line of its own. */
    _Alignas(EMMAI_LINE_BYTES) void *returned;
} emmai_thread_heap;

/* What a thread keeps of its own, for all shared instances of this copy of emma: which heaps served
 * it in the last two. */
typedef struct emmai_thread {
    uint64_t nonce; /* of that heap's instance; 0: none */
    emmai_thread_heap *heap;
    uint64_t nonce_before;
    emmai_thread_heap *heap_before;
    uint32_t kernel_id; /* as its heaps know it; 0: it has none yet */
    uint32_t birth;     /* tells it from others that had this id; 0: as above */
    uint16_t changes;   /* of the words before */
    bool forked;        /* it came through a fork */
    uint8_t lone_frees; /* without a heap */
} emmai_thread;

#define EMMAI_NONCE_CHANGING 1

/* Chunks that a heap may hold: emma_held.c. */
#define EMMAI_HELD_MAX (EMMA_HELD_BYTES >> EMMA_CHUNK_SHIFT)

/* Numbers of heaps are of 16 bits, from 1. */
#define EMMAI_HEAPS_MAX  ((size_t)UINT16_MAX)
#define EMMAI_HEAP_SLOTS 512

#endif
