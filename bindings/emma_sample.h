/* emma_sample.h - which lines of a program allocate, and whose blocks live: found out from samples.
 *
 * Of every `rate` bytes that are allocated about one is looked at, and the block that it lies in is
 * a sample. The places are those of a renewal process: the gaps are random, even in 1 to 2 * rate -
 * 1 bytes, the first one is the lesser of two such. So a block of `bytes` has bytes / rate of them
 * in the mean, whatever blocks come before, and
 *
 *     weight = places in the block * rate / bytes
 *
 * is an unbiased estimate of the number of blocks that the sample stands for, weight * bytes of
 * their bytes. A block of 2 * rate or more is always a sample and stands for itself. The deviation
 * of an estimate of B bytes is about sqrt(B * rate). A block that grows is a new one, as a whole;
 * one that shrinks keeps its site and its weight.
 *
 * All tables are memory of the kernel's own, bounded, and taken as they fill. What does not fit
 * is counted, at the site EMMA_SAMPLE_OTHER or as missed; nothing ever fails. Whoever has no
 * sampler is not slowed down: the host puts a layer over its allocation that asks
 * emma_sample_is_due and emma_sample_may_have. */
#ifndef EMMA_SAMPLE_H
#define EMMA_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMMA_SAMPLE_RATE_BYTES ((size_t)512 << 10) /* the default */
#define EMMA_SAMPLE_DEPTH      32 /* levels of a stack that are kept, the innermost */
#define EMMA_SAMPLE_NONE       UINT32_MAX

/* Sites that are always there: of stacks that found no room, and of samples that
 * wait for emma_sample_settle. */
enum { EMMA_SAMPLE_OTHER, EMMA_SAMPLE_PENDING, EMMA_SAMPLE_FIRST };

/* Byte strings, each once, numbered from 0. */
typedef struct emma_sample_texts {
    char *bytes;
    uint32_t *ends;  /* where in `bytes` each ends */
    uint32_t *index; /* by hash: number + 1; 0: free. Twice the room */
    size_t used, byte_room;
    uint32_t count, room; /* room: a power of two */
} emma_sample_texts;

typedef struct emma_sample_site {
    double blocks, bytes; /* allocated */
    double live_blocks, live_bytes;
} emma_sample_site;

/* A block that is a sample, and lives. */
typedef struct emma_sample_block {
    uintptr_t address; /* 0: none */
    double weight;
    size_t bytes;
    uint32_t site;
} emma_sample_block;

#define EMMA_SAMPLE_PENDING_MOST 256

/* Zeros before emma_sample_start. */
typedef struct emma_sampler {
    size_t left;           /* bytes to the next place; any thread, atomic */
    const uint8_t *filter; /* by low bits of addresses: how many samples; any thread, atomic */
    size_t filter_mask;    /* any thread, atomic */
    bool locked;           /* any thread, atomic; guards all below */
    bool on;               /* any thread, atomic */
    size_t rate_bytes;     /* 0: never started */
    uint64_t random;       /* state of the generator */
    uint64_t samples, missed;
    emma_sample_texts frames; /* what tells a frame; its name, unless there are `names` */
    emma_sample_texts names;  /* by the numbers of frames */
    emma_sample_texts
        stacks; /* numbers of frames, the outermost first; a stack's number is the site's */
    emma_sample_site *sites;
    emma_sample_block *blocks; /* by hash */
    size_t block_count, block_room;
    uintptr_t pending[EMMA_SAMPLE_PENDING_MOST];
    size_t pending_count;
} emma_sampler;

/* Starts it; false: the kernel has no memory. */
bool emma_sample_start(emma_sampler *sampler, size_t rate_bytes);

/* From now on nothing changes any more. */
void emma_sample_stop(emma_sampler *sampler);

/* ---- the layer over the allocation ---- */

/* Counts down what is about to be allocated; whether emma_sample_draw is to be asked instead. */
static inline bool emma_sample_is_due(emma_sampler *sampler, size_t bytes)
{
    const size_t left = __atomic_load_n(&sampler->left, __ATOMIC_RELAXED);
    if (__builtin_expect(bytes >= left, 0))
        return true;
    __atomic_store_n(&sampler->left, left - bytes, __ATOMIC_RELAXED);
    return false;
}

/* What one byte of the filter stands for: few samples share so much, and what a program works
 * with needs few of its lines. */
#define EMMA_SAMPLE_GRAIN_SHIFT 10

/* Whether a block could be a sample: mostly not. */
static inline bool emma_sample_may_have(const emma_sampler *sampler, const void *block)
{
    const size_t mask = __atomic_load_n(&sampler->filter_mask, __ATOMIC_RELAXED);
    return __builtin_expect(sampler->filter[(uintptr_t)block >> EMMA_SAMPLE_GRAIN_SHIFT & mask], 0);
}

/* The weight of a new block; 0: it is no sample. */
double emma_sample_draw(emma_sampler *sampler, size_t bytes);

/* Notes a sample at a site. EMMA_SAMPLE_PENDING: the site is told by the next
 * emma_sample_settle. */
void emma_sample_add(emma_sampler *sampler, const void *block, size_t bytes, double weight,
                     uint32_t site);
void emma_sample_settle(emma_sampler *sampler, uint32_t site);

/* Takes a sample out, before its block is freed or resized; false: the block is none. */
bool emma_sample_lift(emma_sampler *sampler, const void *block, emma_sample_block *out);

/* Puts it back, at another address and with another size maybe. */
void emma_sample_put(emma_sampler *sampler, const void *block, size_t bytes,
                     const emma_sample_block *lifted);

/* ---- frames and stacks ---- */

/* The number of a frame that `key` tells; EMMA_SAMPLE_NONE: there is no room. */
uint32_t emma_sample_frame(emma_sampler *sampler, const void *key, size_t key_bytes);

/* A frame's name as bytes, cut to the room: returns how many. Where there are no `names`
 * frames have these as keys. */
#define EMMA_SAMPLE_NAME_BYTES 512
size_t emma_sample_name(char out[EMMA_SAMPLE_NAME_BYTES], const char *function, const char *file,
                        int line);

/* The number of the site with this stack, innermost frame first;
 * EMMA_SAMPLE_OTHER where there is no room. */
uint32_t emma_sample_stack(emma_sampler *sampler, const uint32_t *frames, size_t count);

/* The site for what has no stack; its frame's key is always the name. */
uint32_t emma_sample_fixed_site(emma_sampler *sampler, const char *name);

/* What emma_sample_frame was given. */
const char *emma_sample_frame_key(const emma_sampler *sampler, uint32_t frame, size_t *bytes);

/* Names the next frame, in the order of their numbers. */
bool emma_sample_name_next(emma_sampler *sampler, const char *name, size_t bytes);

/* ---- what came out ---- */

typedef struct emma_sample_frame_name {
    const char *function, *file; /* file "": none */
    int line;
} emma_sample_frame_name;

emma_sample_frame_name emma_sample_frame_of(const emma_sampler *sampler, uint32_t frame);

/* The frames of a site, outermost first; returns how many. */
size_t emma_sample_frames_of(const emma_sampler *sampler, uint32_t site, const uint32_t **frames);

#endif
