/* emma_checked.c - what EMMA_CHECKS adds: a trailer in each block, verified whenever the block
 * comes back.
 *
 * The trailer is a block's last word: its address and a number that only this instance knows, mixed
 * with the size that the caller asked for and whether the block is live. It tells a double free and
 * a size that is not the block's; a write past the end changes it, or the pattern before it. Where
 * a block must start comes from its slab, not from the trailer. */
#include "emma_internal.h"

#define TRAILER_BYTES sizeof(uint64_t)
#define TRAILER_LIVE  1u
#define SLACK_BYTE    0xea

/* Bytes to ask for so that the trailer fits behind `bytes`: rising with them, so that a shrink asks
 * for no more than there is, and a multiple of 16, so that every block is 16-aligned. */
static size_t checked_padded(size_t bytes)
{
    return emmai_round_up(bytes + TRAILER_BYTES, 2 * TRAILER_BYTES);
}

static uint64_t *trailer_of(const void *block, size_t usable)
{
    return (uint64_t *)(uintptr_t)((const char *)block + usable - TRAILER_BYTES);
}

/* Spreads a change of any of the trailer's bits over its upper ones, where a size has none. */
#define SPREAD   0x9e3779b97f4a7c15u
#define UNSPREAD 0xf1de83e19937733du

_Static_assert((uint64_t)SPREAD *UNSPREAD == 1, "each undoes the other");

static uint64_t trailer_secret(const emma *instance, const void *block)
{
    return instance->control->cookie ^ (uint64_t)(uintptr_t)block;
}

static uint64_t trailer_encode(const emma *instance, const void *block, uint64_t content)
{
    return (content ^ trailer_secret(instance, block)) * SPREAD;
}

static uint64_t trailer_decode(const emma *instance, const void *block, size_t usable)
{
    return *trailer_of(block, usable) * UNSPREAD ^ trailer_secret(instance, block);
}

/* Fills or verifies the bytes between what was asked for and the trailer. */
static void slack_fill(void *block, size_t bytes, size_t usable)
{
    for (size_t i = bytes; i < usable - TRAILER_BYTES; i++) {
        ((unsigned char *)block)[i] = SLACK_BYTE;
        EMMAI_FENCE_LOOP();
    }
}

static bool slack_intact(const void *block, size_t bytes, size_t usable)
{
    for (size_t i = bytes; i < usable - TRAILER_BYTES; i++)
        if (((const unsigned char *)block)[i] != SLACK_BYTE)
            return false;
    return true;
}

static void trailer_set(const emma *instance, void *block, size_t bytes, bool live)
{
    size_t usable = emmai_block_usable(instance, block);
    uint64_t content = (uint64_t)bytes << 1 | (live ? TRAILER_LIVE : 0);
    *trailer_of(block, usable) = trailer_encode(instance, block, content);
    if (live)
        slack_fill(block, bytes, usable);
}

static void emmai_checked_carve(emma *instance, char *block, size_t class_bytes)
{
    *trailer_of(block, class_bytes) = trailer_encode(instance, block, 0);
}

/* Reports a pointer at which no block of its slab or run starts, or one that was not carved yet;
 * true if neither. */
static bool checked_boundary(const emma *instance, const emmai_slab *slab, const void *block)
{
    bool is_run = emmai_slab_is_run(slab);
    const char *start = is_run
                            ? emmai_chunk_start(instance, (size_t)emmai_id_of_slab(instance, slab))
                            : emmai_slab_address(instance, slab);
    size_t offset = (size_t)((const char *)block - start);
    size_t unit = is_run ? slab->run_bytes : emmai_class_bytes(slab->size_class);
    if (is_run ? offset != 0 : offset % unit != 0) {
        bool aligned = (uintptr_t)block % EMMAI_CLASS_STEP_BYTES == 0;
        emmai_misuse(instance, aligned ? EMMA_MISUSE_INTERIOR : EMMA_MISUSE_MISALIGNED, block);
    } else if (!is_run && offset / unit >= slab->carved) {
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
    } else {
        return true;
    }
    return false;
}

/* Verifies that `block` is live, and of *size bytes if size is given; reports misuse and returns
 * false otherwise. */
static bool checked_verify(const emma *instance, const void *block, const size_t *size,
                           size_t *bytes)
{
    const emmai_slab *slab = emmai_block_slab(instance, block);
    if (!slab || !checked_boundary(instance, slab, block))
        return false;
    size_t usable = emmai_block_usable(instance, block);
    uint64_t content = trailer_decode(instance, block, usable);
    *bytes = (size_t)(content >> 1);
    if (*bytes > usable - TRAILER_BYTES)
        emmai_misuse(instance, EMMA_MISUSE_OVERRUN, block);
    else if (!(content & TRAILER_LIVE))
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
    else if (!slack_intact(block, *bytes, usable))
        emmai_misuse(instance, EMMA_MISUSE_OVERRUN, block);
    else if (size && *size != *bytes)
        emmai_misuse(instance, EMMA_MISUSE_WRONG_SIZE, block);
    else
        return true;
    return false;
}

static void *emmai_checked_malloc(emma *instance, emmai_heap *heap, size_t bytes, size_t alignment)
{
    size_t padded = checked_padded(bytes);
    void *block = alignment > 1 ? emmai_block_aligned(instance, heap, alignment, padded)
                                : emmai_block_malloc(instance, heap, padded);
    if (block)
        trailer_set(instance, block, bytes, true);
    return block;
}

/* Verifies a block that is to be freed and marks it so; false when it is none. */
static bool emmai_checked_retire(const emma *instance, void *block, const size_t *size)
{
    size_t bytes;
    if (!checked_verify(instance, block, size, &bytes))
        return false;
    trailer_set(instance, block, bytes, false);
    return true;
}

static void emmai_checked_free(emma *instance, emmai_heap *heap, void *block, const size_t *size)
{
    if (emmai_checked_retire(instance, block, size))
        emmai_free_block(instance, heap, block);
}

static void *emmai_checked_realloc(emma *instance, emmai_heap *heap, void *block,
                                   const size_t *size, size_t bytes)
{
    size_t old_bytes;
    if (!checked_verify(instance, block, size, &old_bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    trailer_set(instance, block, old_bytes, false);
    void *target = emmai_block_realloc(instance, heap, block, checked_padded(bytes));
    if (target)
        trailer_set(instance, target, bytes, true);
    else
        trailer_set(instance, block, old_bytes, true);
    return target;
}

/* Makes a block of no more bytes of a block, where it is; NULL when it is more, or no block. */
static void *emmai_checked_shrink(const emma *instance, void *block, const size_t *size,
                                  size_t bytes)
{
    size_t old_bytes;
    if (!checked_verify(instance, block, size, &old_bytes) || bytes > old_bytes)
        return NULL;
    trailer_set(instance, block, bytes, true);
    return block;
}

static size_t emmai_checked_usable(const emma *instance, const void *block)
{
    size_t bytes;
    return checked_verify(instance, block, NULL, &bytes) ? bytes : 0;
}

/* Whether a carved block is live, and then how many bytes were asked for. */
static bool emmai_checked_is_live(const emma *instance, const void *block, size_t *bytes)
{
    uint64_t content = trailer_decode(instance, block, emmai_block_usable(instance, block));
    *bytes = (size_t)(content >> 1);
    return content & TRAILER_LIVE;
}

/* Zeroes a fresh block, and no byte of what lies behind it. */
static void emmai_checked_zero(const emma *instance, void *block, size_t bytes)
{
    emmai_arch_zero(block, emmai_round_up(bytes, EMMAI_CLASS_STEP_BYTES));
    slack_fill(block, bytes, emmai_block_usable(instance, block));
}
