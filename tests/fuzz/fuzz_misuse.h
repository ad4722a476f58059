/* fuzz_misuse.h - what a caller must not do: each crime is told, once, as what it is and of the
 * right address; the call does nothing, and the instance is sound. A plain build promises that
 * of foreign pointers only, and that a wrong size harms no other block. */
#ifndef EMMA_FUZZ_MISUSE_H
#define EMMA_FUZZ_MISUSE_H

#include "fuzz_world.h"

enum {
    FOREIGN = 1 << EMMA_MISUSE_FOREIGN,
    DOUBLE_FREE = 1 << EMMA_MISUSE_DOUBLE_FREE,
    INTERIOR = 1 << EMMA_MISUSE_INTERIOR,
    MISALIGNED = 1 << EMMA_MISUSE_MISALIGNED,
    WRONG_SIZE = 1 << EMMA_MISUSE_WRONG_SIZE,
    OVERRUN = 1 << EMMA_MISUSE_OVERRUN,
    AFTER_FREE = 1 << EMMA_MISUSE_AFTER_FREE
};

/* The ways to hand a block in. Those that tell its size come first. */
enum way {
    FREE_SIZED,
    REALLOC_SIZED,
    RESIZE,
    WAYS_SIZED,
    FREE = WAYS_SIZED,
    REALLOC,
    LOOK_AT,
    WAYS
};

static void misuse_expect(unsigned crimes, const void *address)
{
    misuse.crimes = crimes;
    misuse.address = address;
    misuse.reported = 0;
}

/* Any further one is not expected. In a shared instance not always: it takes blocks that are
 * under way home. */
static void misuse_is_over(const operation *op)
{
    misuse.crimes = 0;
    if (!world_is_shared() || op->slot >= SLOTS)
        CHECK_EQ(emma_check(w->m.instance), EMMA_OK);
}

/* Hands in an address that no block of this size starts at, which is one of these crimes. */
static void misuse_commit(const operation *op, unsigned crimes, void *address, enum way way,
                          size_t size)
{
    emma *instance = w->m.instance;
    misuse_expect(crimes, address);
    switch (way) {
    case FREE_SIZED:
        emma_free_sized(instance, address, size);
        break;
    case REALLOC_SIZED:
        CHECK_EQ(emma_realloc_sized(instance, address, size, op->bytes), NULL);
        break;
    case RESIZE:
        CHECK_EQ(emma_resize(instance, address, size, op->slot & 1 ? op->bytes : 0), NULL);
        break;
    case REALLOC:
        CHECK_EQ(emma_realloc(instance, address, op->bytes), NULL);
        break;
    case LOOK_AT:
        CHECK_EQ(emma_usable_size(instance, address), 0);
        break;
    default:
        emma_free(instance, address);
    }
    CHECK_EQ(misuse.reported, 1);
    misuse_is_over(op);
}

static enum way misuse_way(const operation *op)
{
    return (enum way)(op->shift % WAYS);
}

static model_block *misuse_slot(const operation *op)
{
    return &w->m.blocks[op->slot % SLOTS];
}

/* What a pointer to where no block of the caller's starts is guilty of. */
static unsigned misuse_of_place(const unsigned char *address)
{
    if (!model_find(&w->m, address))
        return DOUBLE_FREE | INTERIOR | MISALIGNED;
    /* In a run's later chunks it is inside a block, however it is aligned. */
    return (uintptr_t)address % 8 == 0 ? INTERIOR : INTERIOR | MISALIGNED;
}

/* Whether the caller has a block that starts there. */
static bool misuse_is_block(const unsigned char *address)
{
    const model_block *block = model_find(&w->m, address);
    return block && block->at == address;
}

/* ---- the crimes ---- */

static void misuse_foreign(const operation *op)
{
    static unsigned char elsewhere[64];
    const uintptr_t origin = (uintptr_t)w->m.instance & ~(uintptr_t)(TEST_PAGE_BYTES - 1);
    const world *other = &worlds[w == worlds];
    unsigned char local;
    unsigned char *addresses[] = { elsewhere + op->bytes % sizeof elsewhere, &local,
                                   (unsigned char *)origin - 1,
                                   (unsigned char *)origin + world_counters(w).reserve_bytes,
                                   other->m.instance ? other->m.blocks[op->slot % SLOTS].at
                                                     : NULL };
    unsigned char *address = addresses[op->bytes % TEST_COUNT(addresses)];
    if (!address)
        return;
    CHECK(!emma_owns(w->m.instance, address));
    misuse_commit(op, FOREIGN, address, misuse_way(op), op->bytes % 100);
}

/* Frees a block twice, at once, or one that was freed a while ago: what is there now may be
 * another block's middle. */
static void misuse_double_free(const operation *op)
{
    model_block *block = misuse_slot(op);
    unsigned char *address = w->last_freed;
    unsigned crimes = address ? misuse_of_place(address) : 0;
    if (block->at && op->bytes & 1) {
        address = block->at;
        crimes = DOUBLE_FREE;
        model_free(&w->m, block, MODEL_FREE);
    }
    if (address && !misuse_is_block(address))
        misuse_commit(op, crimes, address, misuse_way(op), op->bytes);
}

static void misuse_interior(const operation *op)
{
    const model_block *block = misuse_slot(op);
    if (!block->at || block->bytes < 2)
        return;
    unsigned char *address = block->at + 1 + op->bytes % (block->bytes - 1);
    misuse_commit(op, misuse_of_place(address), address, misuse_way(op), block->bytes);
}

/* Any place of the region, used or not. */
static void misuse_wild(const operation *op)
{
    const uintptr_t origin = (uintptr_t)w->m.instance & ~(uintptr_t)(TEST_PAGE_BYTES - 1);
    const size_t offset = (op->bytes << op->shift) + op->slot;
    unsigned char *address = (unsigned char *)origin + offset % world_counters(w).reserve_bytes;
    CHECK(emma_owns(w->m.instance, address));
    if (!misuse_is_block(address))
        misuse_commit(op, misuse_of_place(address), address, misuse_way(op), op->bytes);
}

/* A plain build may believe the size. */
static void wrong_size_believed(const operation *op, model_block *block)
{
    const size_t wrong = op->shift;
    size_t kept = wrong < block->bytes ? wrong : block->bytes;
    if (op->slot & 1) {
        emma_free_sized(w->m.instance, block->at, op->bytes);
        w->last_freed = block->at;
        block->at = NULL;
        w->m.live_blocks--;
        return;
    }
    const uint64_t faults = fault_failures();
    unsigned char *at = emma_realloc_sized(w->m.instance, block->at, wrong, op->bytes);
    if (!at) {
        model_expect_refusal(&w->m, faults);
        model_verify_block(&w->m, block);
        return;
    }
    kept = kept < op->bytes ? kept : op->bytes;
    CHECK(test_filled(at, kept, block->tag));
    model_set(&w->m, block, at, op->bytes);
}

static void misuse_wrong_size(const operation *op)
{
    model_block *block = misuse_slot(op);
    if (!block->at || op->bytes == block->bytes)
        return;
    if (EMMA_CHECKS)
        misuse_commit(op, WRONG_SIZE, block->at, (enum way)(op->shift % WAYS_SIZED), op->bytes);
    else
        wrong_size_believed(op, block);
}

/* Writes to one of the bytes that a block always has behind what was asked for, and puts it
 * right again. */
static void misuse_overrun(const operation *op)
{
    const model_block *block = misuse_slot(op);
    if (!EMMA_CANARIES || !block->at)
        return;
    const size_t room = emmai_checked_bytes(block->bytes) - block->bytes;
    unsigned char *byte = &block->at[block->bytes + op->bytes % room];
    const unsigned char bits = (unsigned char)(1u << op->bytes / room % 8);
    *byte ^= bits;
    misuse_commit(op, OVERRUN, block->at, misuse_way(op), block->bytes);
    *byte ^= bits;
    model_verify_block(&w->m, block);
}

/* ---- writes to freed blocks ---- */

/* Allocates blocks of this size until that which was written to should be handed out, and is
 * told of. It is not where its slab was given up meanwhile; then nothing is left of it. Nor where
 * it is another thread's slab, or others come first: then the byte is put right. */
static void after_free_reuse(const operation *op, unsigned char *address, size_t bytes,
                             unsigned char *byte)
{
    enum { TRIES = 40 * EMMAI_DELAYED_COUNT };
    misuse_expect(AFTER_FREE, address);
    for (size_t i = 0; i < TRIES && !misuse.reported; i++) {
        void *block = emma_malloc(w->m.instance, bytes);
        CHECK(block || misuse.reported);
        emma_free(w->m.instance, block);
    }
    CHECK_LE(misuse.reported, 1);
    w->m.lost += misuse.reported;
    if (!misuse.reported && emma_check(w->m.instance) == EMMA_CORRUPT)
        *byte = 0;
    misuse_is_over(op);
}

/* Writes to a block of a slab that was just freed, which is kept for a while: a check sees it.
 * Then puts it right, or has it come up for use. */
static void misuse_after_free(const operation *op)
{
    enum { LINK_BYTES = 8 };
    model_block *block = misuse_slot(op);
    const size_t bytes = block->bytes;
    unsigned char *address = block->at;
    if (!EMMA_ZERO_ON_FREE || !EMMA_DELAYED_REUSE || !address || bytes <= LINK_BYTES ||
        w->m.may_refuse || emmai_slab_is_run(emmai_block_slab(w->m.instance, address)))
        return;
    model_free(&w->m, block, MODEL_FREE);
    w->last_freed = NULL;
    unsigned char *byte = &address[LINK_BYTES + op->bytes % (bytes - LINK_BYTES)];
    *byte = 1;
    CHECK_EQ(emma_check(w->m.instance), EMMA_CORRUPT);
    if (op->shift & 1) {
        after_free_reuse(op, address, bytes, byte);
        return;
    }
    *byte = 0;
    misuse_is_over(op);
}

#endif
