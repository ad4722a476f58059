/* emma_canary.c - EMMA_CANARIES: fills the bytes of a block that were not asked for, at least one, with what
 * only this instance knows, and verifies them when the block comes back; with EMMA_ZERO_ON_FREE the last
 * one before the block, too. emma_checked.c says when, and where they end: with the block, or before the word
 * that it keeps for itself. */
#include "emma_internal.h"

/* What they are, word by word. */
static EMMAI_ALWAYS_INLINE uint64_t canary_of(const emma *instance, const void *block)
{
    return instance->control->canary ^ (uintptr_t)block;
}

/* The word of a block that byte `bytes` is in; *mask: of that word what is from there on. */
static uint64_t *canary_first(const void *block, size_t bytes, uint64_t *mask)
{
    *mask = ~(uint64_t)0 << (bytes % sizeof(uint64_t) * 8);
    return (uint64_t *)(uintptr_t)block + bytes / sizeof(uint64_t);
}

/* Fills what was not asked for of a block, up to `end`, which is a whole word's, with words. */
static EMMAI_ALWAYS_INLINE void canary_fill(void *block, size_t bytes, size_t end, uint64_t value)
{
    uint64_t mask;
    uint64_t *word = canary_first(block, bytes, &mask);
    const uint64_t *last = (const uint64_t *)block + end / sizeof(uint64_t);
    *word = (*word & ~mask) | (value & mask);
    while (++word < last) {
        *word = value;
        EMMAI_FENCE_LOOP();
    }
}

static EMMAI_ALWAYS_INLINE void emmai_canary_put(const emma *instance, void *block, size_t bytes,
                                                 size_t end)
{
    if (EMMA_CANARIES)
        canary_fill(block, bytes, end, canary_of(instance, block));
}

/* Leaves zeros in their place, before a block changes its size: nobody is to read them. */
static void emmai_canary_take(void *block, size_t bytes, size_t usable)
{
    if (EMMA_CANARIES)
        canary_fill(block, bytes, usable, 0);
}

static bool emmai_canary_intact(const emma *instance, const void *block, size_t bytes, size_t end)
{
    if (!EMMA_CANARIES)
        return true;
    uint64_t mask;
    uint64_t canary = canary_of(instance, block);
    const uint64_t *word = canary_first(block, bytes, &mask);
    const uint64_t *last = (const uint64_t *)block + end / sizeof(uint64_t);
    emmai_watch_pause();
    bool intact = !((*word ^ canary) & mask);
    while (intact && ++word < last)
        intact = *word == canary;
    emmai_watch_resume();
    return intact;
}

/* ---- the last 16 bytes of a block, at once ---- */

/* Of them, those that are spare: so many or fewer. */
static EMMAI_ALWAYS_INLINE emmai_vector canary_few(size_t spare)
{
    static const uint64_t mask[] = { 0, 0, UINT64_MAX, UINT64_MAX };
    return *(const emmai_vector_anywhere *)(const void *)((const char *)mask + spare);
}

static EMMAI_ALWAYS_INLINE emmai_vector *canary_vector_at(const void *block, size_t usable)
{
    return (emmai_vector *)((uintptr_t)block + usable) - 1;
}

static EMMAI_ALWAYS_INLINE emmai_vector canary_vector(const emma *instance, const void *block)
{
    uint64_t canary = canary_of(instance, block);
    return (emmai_vector){ canary, canary };
}

/* Fills those of a block whose contents do not matter yet. */
static EMMAI_ALWAYS_INLINE void emmai_canary_put_fresh(const emma *instance, void *block,
                                                       size_t bytes, size_t usable)
{
    size_t spare = usable - bytes;
    if (EMMA_CANARIES && EMMAI_LIKELY(spare <= EMMAI_CANARY_FEW))
        *canary_vector_at(block, usable) = canary_vector(instance, block) & canary_few(spare);
    else
        emmai_canary_put(instance, block, bytes, usable);
}

/* Whether they are as they were left where there are EMMAI_CANARY_FEW at most. */
static EMMAI_ALWAYS_INLINE bool emmai_canary_few_intact(const emma *instance, const void *block,
                                                        size_t bytes, size_t usable)
{
    if (!EMMA_CANARIES)
        return true;
    emmai_vector wrong = *canary_vector_at(block, usable) ^ canary_vector(instance, block);
    return emmai_arch_is_zero(wrong & canary_few(usable - bytes));
}

/* Whether the last byte before a block, if there is one in its slab, is as it was left. All canaries end in the
 * same byte, what a block keeps behind them in zero, and where free blocks are zero there is either, whatever other
 * threads do meanwhile. */
static EMMAI_ALWAYS_INLINE bool emmai_canary_before(const emma *instance, const void *block,
                                                    bool is_first)
{
    if (!EMMA_CANARIES || !EMMA_ZERO_ON_FREE || is_first)
        return true;
    emmai_watch_pause();
    emmai_watch_pause();
    uint8_t before = emmai_sync_get((const uint8_t *)block - 1);
    emmai_watch_resume();
    emmai_watch_resume();
    return !before || before == (uint8_t)(instance->control->canary >> 56);
}
