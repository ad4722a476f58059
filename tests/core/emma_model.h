/* emma_model.h - a model of an instance: the blocks that must be live in it, and what must be in
 * them.
 *
 * Each step does one operation on the instance and on the model, and checks all that the header
 * promises of it. Every live block holds a pattern of its own from start to end, so two blocks that
 * overlap, or a byte that the allocator writes into a live block, show when the block is verified
 * next. */
#ifndef EMMA_MODEL_H
#define EMMA_MODEL_H

#include "emma_test.h"

#include <stddef.h>

enum { MODEL_SLOTS_MAX = 4096 };

typedef struct model_block {
    unsigned char *at; /* NULL: the slot is free */
    size_t bytes;      /* as asked for last */
    uint64_t tag;      /* of its pattern */
} model_block;

typedef struct model {
    emma *instance;
    unsigned flags;  /* of the instance */
    bool may_refuse; /* NULL is an answer: there is a limit, or a signal handler at work */
    uint64_t (*faults)(
        void); /* if set: NULL is an answer also when this count rose during the call */
    size_t slots;
    size_t live_blocks;
    size_t lost; /* blocks that misuse took out of use: figures count them, no walk visits them */
    uint64_t next_tag;
    uint64_t refused; /* answers that were NULL */
    model_block blocks[MODEL_SLOTS_MAX];
} model;

enum model_op {
    MODEL_MALLOC,
    MODEL_CALLOC,
    MODEL_ALIGNED,
    MODEL_REALLOC_NULL,
    MODEL_REALLOC,
    MODEL_REALLOC_SIZED,
    MODEL_FREE,
    MODEL_FREE_SIZED,
    MODEL_RESIZE,
    MODEL_VERIFY,
    MODEL_OPS
};

static inline void model_init(model *m, emma *instance, unsigned flags, size_t slots)
{
    CHECK_LE(slots, MODEL_SLOTS_MAX);
    memset(m, 0, offsetof(model, blocks) + slots * sizeof m->blocks[0]);
    m->instance = instance;
    m->flags = flags;
    m->slots = slots;
}

/* Makes *m what it was when it was copied to *saved: for an instance that is rolled back to then. Tags are not used
 * again. */
static inline void model_restore(model *m, const model *saved)
{
    const uint64_t tag = m->next_tag, refused = m->refused;
    memcpy(m, saved, offsetof(model, blocks) + saved->slots * sizeof m->blocks[0]);
    m->next_tag = tag;
    m->refused = refused;
}

static inline void model_save(const model *m, model *saved)
{
    memcpy(saved, m, offsetof(model, blocks) + m->slots * sizeof m->blocks[0]);
}

static inline void model_verify_block(const model *m, const model_block *block)
{
    CHECK(test_filled(block->at, block->bytes, block->tag));
    CHECK(emma_owns(m->instance, block->at));
    CHECK_GE(emma_usable_size(m->instance, block->at), block->bytes);
}

static inline size_t model_alignment(const model *m, size_t bytes)
{
    const bool multiple = bytes != 0 && bytes % 16 == 0 && !TEST_CANARIES;
    return (m->flags & EMMA_ALIGN8) && !multiple ? 8 : 16;
}

static inline void model_expect_refusal(model *m, uint64_t faults_before)
{
    m->refused++;
    CHECK(m->may_refuse || (m->faults && m->faults() != faults_before));
}

static inline void model_set(model *m, model_block *block, void *at, size_t bytes)
{
    if (!block->at)
        m->live_blocks++;
    block->at = at;
    block->bytes = bytes;
    block->tag = ++m->next_tag * UINT64_C(0x10001);
    test_fill(at, bytes, block->tag);
    CHECK_GE(emma_usable_size(m->instance, at), bytes);
    CHECK(emma_owns(m->instance, at));
}

static inline void model_allocate(model *m, model_block *block, enum model_op op, size_t bytes,
                                  unsigned alignment_shift)
{
    const uint64_t faults = m->faults ? m->faults() : 0;
    const size_t alignment = (size_t)1 << alignment_shift;
    void *at = NULL;
    if (op == MODEL_CALLOC)
        at = bytes % 8 == 0 ? emma_calloc(m->instance, 8, bytes / 8)
                            : emma_calloc(m->instance, bytes, 1);
    else if (op == MODEL_ALIGNED)
        at = emma_aligned_alloc(m->instance, alignment, bytes);
    else if (op == MODEL_REALLOC_NULL)
        at = emma_realloc(m->instance, NULL, bytes);
    else if (op == MODEL_RESIZE && bytes > 0)
        at = emma_resize(m->instance, NULL, bytes % 9, bytes); /* a type may stand for a size */
    else
        at = emma_malloc(m->instance, bytes);
    if (!at) {
        model_expect_refusal(m, faults);
        return;
    }
    if (op == MODEL_CALLOC)
        CHECK(test_zeroed(at, bytes));
    if (op == MODEL_ALIGNED)
        CHECK_EQ((uintptr_t)at % alignment, 0);
    CHECK_EQ((uintptr_t)at % model_alignment(m, bytes), 0);
    model_set(m, block, at, bytes);
}

static inline void model_resize(model *m, model_block *block, enum model_op op, size_t bytes)
{
    const uint64_t faults = m->faults ? m->faults() : 0;
    const size_t usable = emma_usable_size(m->instance, block->at);
    void *at;
    if (op == MODEL_REALLOC)
        at = emma_realloc(m->instance, block->at, bytes);
    else if (op == MODEL_RESIZE && bytes > 0)
        at = emma_resize(m->instance, block->at, block->bytes, bytes);
    else
        at = emma_realloc_sized(m->instance, block->at, block->bytes, bytes);
    if (!at) {
        model_expect_refusal(m, faults);
        CHECK_GT(bytes, usable); /* a shrink never fails */
        model_verify_block(m, block);
        return;
    }
    /* A shrink may have had to stay where it was. */
    CHECK_EQ((uintptr_t)at % (bytes > usable ? model_alignment(m, bytes) : 8), 0);
    CHECK(test_filled(at, bytes < block->bytes ? bytes : block->bytes, block->tag));
    model_set(m, block, at, bytes);
}

static inline void model_free(model *m, model_block *block, enum model_op op)
{
    model_verify_block(m, block);
    if (op == MODEL_FREE_SIZED)
        emma_free_sized(m->instance, block->at, block->bytes);
    else if (op == MODEL_RESIZE)
        CHECK_EQ(emma_resize(m->instance, block->at, block->bytes, 0), NULL);
    else
        emma_free(m->instance, block->at);
    block->at = NULL;
    m->live_blocks--;
}

/* One step on a slot. An operation that does not fit the slot's state becomes the next best that
 * does. */
static inline void model_step(model *m, size_t slot, enum model_op op, size_t bytes,
                              unsigned alignment_shift)
{
    model_block *block = &m->blocks[slot % m->slots];
    if (!block->at)
        model_allocate(m, block, op, bytes, alignment_shift);
    else if (op == MODEL_REALLOC || op == MODEL_REALLOC_SIZED || (op == MODEL_RESIZE && bytes > 0))
        model_resize(m, block, op, bytes);
    else if (op == MODEL_VERIFY)
        model_verify_block(m, block);
    else
        model_free(m, block, op);
}

static inline void model_random_step(model *m, test_rng *rng, size_t largest)
{
    const size_t slot = test_below(rng, m->slots);
    const enum model_op op = (enum model_op)test_below(rng, MODEL_OPS);
    const size_t bytes = test_random_size(rng, largest);
    const unsigned shift = (unsigned)test_below(rng, test_chance(rng, 5) ? 17 : 8);
    model_step(m, slot, op, bytes, shift);
}

static inline void model_free_all(model *m)
{
    for (size_t i = 0; i < m->slots; i++) {
        if (m->blocks[i].at)
            model_free(m, &m->blocks[i], MODEL_FREE);
    }
    CHECK_EQ(m->live_blocks, 0);
}

/* The block that holds this address within the bytes that were asked for; NULL if none does. */
static inline const model_block *model_find(const model *m, const void *address)
{
    for (size_t i = 0; i < m->slots; i++) {
        const model_block *block = &m->blocks[i];
        if (block->at && (uintptr_t)address - (uintptr_t)block->at < block->bytes + !block->bytes)
            return block;
    }
    return NULL;
}

/* ---- the whole state against the model ---- */

typedef struct model_walk {
    const model *m;
    const model_block *sorted[MODEL_SLOTS_MAX];
    size_t count;
    size_t visited;
    size_t bytes; /* usable, of the blocks visited */
} model_walk;

static inline int model_by_address(const void *left, const void *right)
{
    const uintptr_t a = (uintptr_t)(*(const model_block *const *)left)->at;
    const uintptr_t b = (uintptr_t)(*(const model_block *const *)right)->at;
    return (a > b) - (a < b);
}

static inline bool model_visit(void *arg, void *at, size_t bytes)
{
    model_walk *walk = arg;
    CHECK_LT(walk->visited, walk->count);
    const model_block *block = walk->sorted[walk->visited++];
    CHECK_EQ(at, block->at);
    CHECK_GE(bytes, block->bytes);
    CHECK_EQ(bytes, emma_usable_size(walk->m->instance, at));
    if (walk->visited < walk->count)
        CHECK_LE(block->at + bytes, walk->sorted[walk->visited]->at);
    walk->bytes += bytes;
    return true;
}

/* The walk must visit the model's blocks, all of them, once, in address order, without an overlap.
 */
static inline void model_compare_walk(const model *m)
{
    static model_walk walk;
    walk.m = m;
    walk.count = walk.visited = walk.bytes = 0;
    for (size_t i = 0; i < m->slots; i++) {
        if (m->blocks[i].at)
            walk.sorted[walk.count++] = &m->blocks[i];
    }
    qsort(walk.sorted, walk.count, sizeof walk.sorted[0], model_by_address);
    CHECK(emma_walk(m->instance, model_visit, &walk));
    CHECK_EQ(walk.visited, m->live_blocks);
    const emma_stats stats = test_stats(m->instance);
    CHECK_EQ(stats.live_blocks, m->live_blocks + m->lost);
    /* A checked build counts blocks with their trailers, and lets the caller use none of that. */
    CHECK(TEST_CHECKED_BUILD ? stats.live_bytes >= walk.bytes : stats.live_bytes == walk.bytes);
}

/* What holds between the figures at any time. */
static inline void model_compare_stats(const model *m)
{
    const emma_stats stats = test_stats(m->instance);
    test_compare_chunks(m->instance);
    size_t blocks = stats.large_blocks, bytes = stats.large_bytes, footprint = stats.large_bytes;
    emma_class_stats kind = { .struct_bytes = sizeof kind };
    for (unsigned i = 0; emma_get_class_stats(m->instance, i, &kind); i++) {
        blocks += kind.live_blocks;
        bytes += kind.live_blocks * kind.block_bytes;
        footprint += kind.footprint_bytes;
        CHECK_LE(kind.live_blocks * kind.block_bytes, kind.footprint_bytes);
    }
    CHECK_EQ(blocks, stats.live_blocks);
    CHECK_EQ(bytes, stats.live_bytes);
    CHECK_EQ(stats.live_blocks, m->live_blocks + m->lost);
    CHECK_LE(footprint + stats.metadata_bytes, stats.footprint_bytes);
    CHECK_LE(stats.footprint_bytes, stats.peak_footprint_bytes);
    CHECK_LE(stats.footprint_bytes, stats.limit_bytes);
    CHECK_LE(stats.retained_bytes + stats.live_bytes, stats.footprint_bytes);
}

static inline void model_verify(const model *m)
{
    for (size_t i = 0; i < m->slots; i++) {
        if (m->blocks[i].at)
            model_verify_block(m, &m->blocks[i]);
    }
    CHECK_EQ(emma_check(m->instance), EMMA_OK);
    model_compare_walk(m);
    model_compare_stats(m);
}

#endif
