/* fuzz_instance.h - what is asked of an instance as a whole, and what must be so afterwards:
 * checkpoints, limits, memory given back, walks; and requests that nobody can grant. */
#ifndef EMMA_FUZZ_INSTANCE_H
#define EMMA_FUZZ_INSTANCE_H

#include "fuzz_world.h"

static void ask_absurd(const operation *op)
{
    const size_t bytes = SIZE_MAX - op->bytes;
    const model_block *block = &w->m.blocks[op->slot % SLOTS];
    CHECK_EQ(emma_malloc(w->m.instance, bytes), NULL);
    CHECK_EQ(emma_calloc(w->m.instance, bytes, op->shift + 1), NULL);
    CHECK_EQ(emma_calloc(w->m.instance, bytes, bytes), NULL);
    CHECK_EQ(emma_aligned_alloc(w->m.instance, (size_t)1 << op->shift, bytes), NULL);
    CHECK_EQ(emma_aligned_alloc(w->m.instance, op->bytes | 0x11, 10), NULL);
    CHECK_EQ(emma_aligned_alloc(w->m.instance, 0, op->bytes), NULL);
    CHECK_EQ(emma_realloc(w->m.instance, block->at, bytes), NULL);
    CHECK_EQ(emma_realloc_sized(w->m.instance, block->at, block->bytes, bytes), NULL);
    CHECK_EQ(emma_resize(w->m.instance, block->at, block->bytes, bytes), NULL);
    emma_free(w->m.instance, NULL);
    emma_free_sized(w->m.instance, NULL, op->bytes);
    CHECK_EQ(emma_resize(w->m.instance, NULL, op->bytes, 0), NULL);
    CHECK_EQ(emma_usable_size(w->m.instance, NULL), 0);
}

static void checkpoint(void)
{
    unsigned name = 0;
    if (w->depth == LEVELS)
        return;
    const uint64_t faults = fault_failures();
    const enum emma_status status = emma_checkpoint(w->m.instance, &name);
    if (!(w->m.flags & EMMA_CHECKPOINTS))
        CHECK_EQ(status, EMMA_UNSUPPORTED);
    else if (status != EMMA_OK)
        CHECK_EQ(status, EMMA_NO_MEMORY);
    if (status == EMMA_NO_MEMORY)
        model_expect_refusal(&w->m, faults);
    if (status != EMMA_OK)
        return;
    w->levels[w->depth].name = name;
    model_save(&w->m, &w->levels[w->depth++].m);
}

static void rollback_or_drop(const operation *op, bool drop)
{
    const size_t at = w->depth ? op->slot % w->depth : 0;
    const unsigned name = w->depth ? w->levels[at].name : op->slot;
    const enum emma_status status =
        drop ? emma_checkpoint_drop(w->m.instance, name) : emma_rollback(w->m.instance, name);
    if (!w->depth) {
        CHECK_EQ(status, w->m.flags & EMMA_CHECKPOINTS ? EMMA_INVALID : EMMA_UNSUPPORTED);
        return;
    }
    CHECK_EQ(status, EMMA_OK);
    w->depth = drop ? at : at + 1;
    if (drop)
        return;
    model_restore(&w->m, &w->levels[at].m);
    w->last_freed = NULL;
    world_verify();
}

static void set_limit(const operation *op)
{
    const size_t before = world_counters(w).limit_bytes;
    const size_t wanted = op->shift == 0 ? EMMA_UNLIMITED : op->bytes;
    const enum emma_status status = emma_set_limit(w->m.instance, wanted);
    const size_t after = world_counters(w).limit_bytes;
    const bool changed_by_handler = w->answer.shift % 3 == 1;
    if (status == EMMA_OK && !changed_by_handler)
        CHECK_EQ(after,
                 wanted == EMMA_UNLIMITED ? wanted : wanted / TEST_PAGE_BYTES * TEST_PAGE_BYTES);
    if (status != EMMA_OK && !changed_by_handler)
        CHECK_EQ(after, before);
    if (wanted < EMMA_LIMIT_MIN_BYTES)
        CHECK_EQ(status, EMMA_INVALID);
    if (wanted == EMMA_UNLIMITED)
        CHECK_EQ(status, EMMA_OK);
}

static void set_soft_limit(const operation *op)
{
    const size_t bytes = op->shift == 0 ? EMMA_UNLIMITED : op->bytes;
    w->answer = *op;
    CHECK_EQ(emma_set_soft_limit(w->m.instance, bytes), bytes ? EMMA_OK : EMMA_INVALID);
    world_compare_soft(w);
}

static void trim(void)
{
    const size_t before = world_counters(w).footprint_bytes;
    const size_t given = emma_trim(w->m.instance);
    const size_t after = world_counters(w).footprint_bytes;
    CHECK_LE(given, before);
    if (!world_is_shared()) /* there the thread may have had to make itself a heap */
        CHECK_LE(after, before);
}

static void reset(void)
{
    CHECK_EQ(emma_reset(w->m.instance), EMMA_OK);
    world_forget(w, w->m.instance, w->m.flags);
    world_verify();
}

typedef struct stopping {
    size_t left;
    size_t visited;
} stopping;

static bool stop_at_block(void *arg, void *block, size_t bytes)
{
    stopping *stop = arg;
    CHECK(emma_owns(w->m.instance, block));
    CHECK_EQ(emma_usable_size(w->m.instance, block), bytes);
    return ++stop->visited < stop->left;
}

static bool stop_at_chunk(void *arg, const emma_chunk_stats *chunk)
{
    stopping *stop = arg;
    CHECK_LE(chunk->resident_bytes, chunk->bytes);
    return ++stop->visited < stop->left;
}

/* Asks for what can be asked without a change. */
static void look(const operation *op)
{
    stopping blocks = { op->shift + 1, 0 }, chunks = { op->shift + 1, 0 };
    emma_class_stats kind = { .struct_bytes = sizeof kind };
    const model_block *block = &w->m.blocks[op->slot % SLOTS];
    const bool all = emma_walk(w->m.instance, stop_at_block, &blocks);
    w->put_off = false;
    CHECK_EQ(all, w->m.live_blocks < blocks.left);
    CHECK_EQ(blocks.visited, all ? w->m.live_blocks : blocks.left);
    CHECK(!emma_walk_chunks(w->m.instance, stop_at_chunk, &chunks) ==
          (chunks.visited == chunks.left));
    if (emma_get_class_stats(w->m.instance, op->slot, &kind))
        CHECK_LE(kind.live_blocks * kind.block_bytes, kind.footprint_bytes);
    CHECK(!emma_is_busy(w->m.instance));
    if (block->at && EMMA_CHECKS)
        CHECK_EQ(emma_usable_size(w->m.instance, block->at), block->bytes);
}

/* Goes on with the other instance, which is made when it is asked for first. */
static void turn_to_other(const operation *op)
{
    world *other = &worlds[w == worlds];
    if (other->m.instance || world_create(other, op->slot, (unsigned)op->bytes))
        w = other;
}

#endif
