/* emma_checked.c - what EMMA_CHECKS adds: a map of the blocks that the caller has, kept at the library's
 * boundary. A block is marked on its way out, and looked up, and its mark taken, on its way in.
 *
 * A mark is a byte for each 16 bytes of the region, apart from the blocks: no overrun reaches it. 0: no
 * block starts there that the caller has. Else it tells how many bytes of the block were not asked
 * for. Whose mark is gone is free, whatever the heap has done with it since: a list, a stash, a run
 * that became slabs. So two frees of a block cannot both find it, nor can a free find what was
 * never a block.
 *
 * EMMA_CANARIES fills the bytes that were not asked for, at least one, with what only this instance
 * knows, and verifies them when the block comes back; with EMMA_ZERO_ON_FREE the last one before the block, too. */
#include "emma_internal.h"

#define MARK_LATE   0x80u /* the block starts 8 bytes behind the place that the mark is of */
#define MARK_SPARES 126u  /* so many spare bytes or more: the last word of the block has its size */
/* No class has blocks so small that two start at one mark's place. */
_Static_assert(!EMMA_CHECKS || 2 * EMMAI_CLASS_STEP_BYTES >= (size_t)1 << EMMAI_MARK_SHIFT,
               "the least block has a mark of its own");

static EMMAI_ALWAYS_INLINE uint8_t *mark_at(const emma *instance, size_t offset)
{
    return &instance->block_map[offset >> EMMAI_MARK_SHIFT];
}

static EMMAI_ALWAYS_INLINE unsigned mark_late(size_t offset)
{
    return (offset & EMMAI_CLASS_STEP_BYTES) ? MARK_LATE : 0;
}

/* What the mark is of a block at this offset that has `spare` bytes more than asked for. */
static EMMAI_ALWAYS_INLINE unsigned mark_of(size_t offset, size_t spare)
{
    return mark_late(offset) | (1 + (unsigned)emmai_min(spare, MARK_SPARES));
}

/* Marks a block; false when the caller has it already: what was written to a free block led there. */
static EMMAI_ALWAYS_INLINE bool mark_put(const emma *instance, size_t offset, unsigned mark)
{
    uint8_t *at = mark_at(instance, offset);
    if (EMMAI_UNLIKELY(emmai_sync_get(at)))
        return false;
    emmai_sync_set(at, (uint8_t)mark);
    return true;
}

/* Takes the mark away; false when it is not, or no longer, the one that it should be. */
static EMMAI_ALWAYS_INLINE bool mark_take(const emma *instance, size_t offset, unsigned mark)
{
    uint8_t *at = mark_at(instance, offset);
    uint8_t expected = (uint8_t)mark;
    if (emmai_sync_get(at) != expected) /* By chance in tests: another thread has freed it. */
        return false;
    if (instance->shared) /* another thread may free it, too */
        return __atomic_compare_exchange_n(at, &expected, 0, false, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED);
    emmai_sync_set(at, (uint8_t)0);
    return true;
}

/* ---- the bytes that were not asked for ---- */

/* Where the size of a block is whose mark cannot tell. */
static size_t *size_word(const void *block, size_t usable)
{
    return (size_t *)(uintptr_t)((const char *)block + usable) - 1;
}

/* Bytes that were asked for of a block with this mark. */
static size_t mark_bytes(unsigned mark, const void *block, size_t usable)
{
    size_t spare = (mark & ~MARK_LATE) - 1;
    if (spare < MARK_SPARES)
        return usable - spare;
    emmai_watch_pause();
    size_t bytes = *size_word(block, usable);
    emmai_watch_resume();
    return bytes;
}

/* What a block's bytes that were not asked for are filled with, word by word. */
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

/* Where the canaries end: the size is behind them if the mark cannot tell it. */
static uint64_t *canary_end(const void *block, size_t bytes, size_t usable)
{
    size_t *last = size_word(block, usable);
    return usable - bytes >= MARK_SPARES ? last : last + 1;
}

/* So many spare bytes or fewer are of the last 16, which are looked at all at once. */
#define CANARY_FEW sizeof(emmai_vector)

/* Of the last 16 bytes of a block, those that are spare. */
static EMMAI_ALWAYS_INLINE emmai_vector spare_of_last(size_t spare)
{
    static const uint64_t mask[] = { 0, 0, UINT64_MAX, UINT64_MAX };
    return *(const emmai_vector_anywhere *)(const void *)((const char *)mask + spare);
}

/* The last 16 bytes of a block. */
static EMMAI_ALWAYS_INLINE emmai_vector *block_last(const void *block, size_t usable)
{
    return (emmai_vector *)((uintptr_t)block + usable) - 1;
}

static EMMAI_ALWAYS_INLINE emmai_vector canary_vector(const emma *instance, const void *block)
{
    uint64_t canary = canary_of(instance, block);
    return (emmai_vector){ canary, canary };
}

/* Fills what was not asked for of a block with words. */
static EMMAI_ALWAYS_INLINE void spare_fill(void *block, size_t bytes, size_t usable, uint64_t value)
{
    uint64_t mask;
    uint64_t *word = canary_first(block, bytes, &mask);
    uint64_t *end = canary_end(block, bytes, usable);
    *word = (*word & ~mask) | (value & mask);
    while (++word < end) {
        *word = value;
        EMMAI_FENCE_LOOP();
    }
}

static EMMAI_ALWAYS_INLINE void canaries_fill(const emma *instance, void *block, size_t bytes,
                                              size_t usable)
{
    spare_fill(block, bytes, usable, canary_of(instance, block));
}

/* Leaves zeros in the place of canaries, before a block changes its size: nobody is to read them. */
static void emmai_checked_bare(void *block, size_t bytes, size_t usable)
{
    if (EMMA_CANARIES)
        spare_fill(block, bytes, usable, 0);
}

/* Fills those of a block whose contents do not matter yet. */
static EMMAI_ALWAYS_INLINE void canaries_fill_fresh(const emma *instance, void *block, size_t bytes,
                                                    size_t usable)
{
    size_t spare = usable - bytes;
    if (EMMAI_LIKELY(spare <= CANARY_FEW))
        *block_last(block, usable) = canary_vector(instance, block) & spare_of_last(spare);
    else
        canaries_fill(instance, block, bytes, usable);
}

static EMMAI_ALWAYS_INLINE bool canaries_few_intact(const emma *instance, const void *block,
                                                    size_t bytes, size_t usable)
{
    emmai_vector wrong = *block_last(block, usable) ^ canary_vector(instance, block);
    return emmai_arch_is_zero(wrong & spare_of_last(usable - bytes));
}

static bool canaries_intact(const emma *instance, const void *block, size_t bytes, size_t usable)
{
    uint64_t mask;
    uint64_t canary = canary_of(instance, block);
    const uint64_t *word = canary_first(block, bytes, &mask);
    const uint64_t *end = canary_end(block, bytes, usable);
    emmai_watch_pause();
    bool intact = !((*word ^ canary) & mask);
    while (intact && ++word < end)
        intact = *word == canary;
    emmai_watch_resume();
    return intact;
}

/* Whether the last byte before a block, if there is one in its slab, is as it was left. All canaries end in the
 * same byte, and where free blocks are zero there is either, whatever other threads do meanwhile. */
static EMMAI_ALWAYS_INLINE bool canary_before(const emma *instance, const void *block,
                                              bool is_first)
{
    if (!EMMA_ZERO_ON_FREE || is_first)
        return true;
    emmai_watch_pause();
    emmai_watch_pause();
    uint8_t before = emmai_sync_get((const uint8_t *)block - 1);
    emmai_watch_resume();
    emmai_watch_resume();
    return !before || before == (uint8_t)(instance->control->canary >> 56);
}

/* Bytes to ask for where the caller asks for `bytes`: one more at least, or what a tool needs; rising
 * with them, so that a shrink asks for no more than there is. */
static EMMAI_ALWAYS_INLINE size_t emmai_checked_bytes(size_t bytes)
{
    if (!(EMMA_CANARIES || EMMAI_WATCHED) || bytes > PTRDIFF_MAX)
        return bytes;
    return emmai_round_up(bytes + emmai_max(EMMAI_RED_BYTES, 1), EMMAI_CLASS_STEP_BYTES);
}

/* ---- out ---- */

/* Marks a block that is handed out for `bytes`; NULL, reported as misuse, when it is no free one. */
static EMMAI_NOINLINE void *emmai_checked_out(const emma *instance, void *block, size_t bytes)
{
    if (!EMMA_CHECKS || !block)
        return block;
    size_t offset = emmai_offset(instance, block);
    size_t usable = emmai_block_usable(instance, block);
    if (!mark_put(instance, offset, mark_of(offset, usable - bytes)))
        return emmai_hardened_misled(instance, block);
    emmai_watch_pause();
    if (usable - bytes >= MARK_SPARES)
        *size_word(block, usable) = bytes;
    if (EMMA_CANARIES)
        canaries_fill(instance, block, bytes, usable);
    emmai_watch_resume();
    emmai_watch_give(block, bytes);
    return block;
}

/* The same for a block of a class that was popped, all zero with EMMA_ZERO_ON_FREE. */
static EMMAI_ALWAYS_INLINE void *emmai_checked_out_fresh(const emma *instance, void *block,
                                                         size_t bytes, size_t size_class)
{
    if (!EMMA_CHECKS)
        return block;
    size_t offset = emmai_offset(instance, block);
    size_t usable = emmai_class_bytes((unsigned)size_class);
    size_t spare = usable - bytes;
    if (EMMAI_WATCHED || EMMAI_UNLIKELY(spare >= MARK_SPARES))
        return emmai_checked_out(instance, block, bytes);
    if (!mark_put(instance, offset, mark_of(offset, spare)))
        return emmai_hardened_misled(instance, block);
    if (EMMA_CANARIES)
        canaries_fill_fresh(instance, block, bytes, usable);
    return block;
}

/* Zeroes what was asked for of a block, and nothing behind. */
static void emmai_checked_zero(void *block, size_t bytes)
{
    size_t words_bytes = bytes / EMMAI_CLASS_STEP_BYTES * EMMAI_CLASS_STEP_BYTES;
    emmai_arch_zero(block, words_bytes);
    for (size_t i = words_bytes; i < bytes; i++) {
        ((char *)block)[i] = 0;
        EMMAI_FENCE_LOOP();
    }
}

/* ---- in ---- */

/* Reports a pointer at which no block of its slab or run starts; true if one does. */
static bool checked_boundary(const emma *instance, const emmai_slab *slab, const void *block)
{
    size_t offset = (size_t)((const char *)block - emmai_slab_address(instance, slab));
    bool is_run = emmai_slab_is_run(slab);
    if (is_run ? !offset : offset % emmai_class_bytes(slab->size_class) == 0)
        return true;
    bool aligned = (uintptr_t)block % EMMAI_CLASS_STEP_BYTES == 0;
    emmai_misuse(instance, aligned ? EMMA_MISUSE_INTERIOR : EMMA_MISUSE_MISALIGNED, block);
    return false;
}

/* Verifies that the caller has this block, of *size bytes if size is given; reports misuse and
 * returns false otherwise. Tells its mark, how many bytes were asked for, and how many it has. */
static bool checked_verify(const emma *instance, const void *block, const size_t *size,
                           unsigned *mark, size_t *bytes, size_t *usable_bytes)
{
    const emmai_slab *slab = emmai_block_slab(instance, block);
    if (!slab || !checked_boundary(instance, slab, block))
        return false;
    *mark = emmai_sync_get(mark_at(instance, emmai_offset(instance, block)));
    size_t usable = *usable_bytes = emmai_slab_usable(slab);
    /* Never in tests: where a block of the slab starts no other does within the mark's bytes. */
    if (!*mark || (*mark & MARK_LATE) != mark_late((uintptr_t)block)) {
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
        return false; /* whose memory may be gone */
    }
    *bytes = mark_bytes(*mark, block, usable);
    bool is_first = block == emmai_slab_address(instance, slab);
    if (*bytes > usable || (EMMA_CANARIES && (!canaries_intact(instance, block, *bytes, usable) ||
                                              !canary_before(instance, block, is_first))))
        emmai_misuse(instance, EMMA_MISUSE_OVERRUN, block);
    else if (size && *size != *bytes)
        emmai_misuse_size(instance, block, *bytes, *size);
    else
        return true;
    return false;
}

/* Verifies a block that the caller hands in, of *size bytes if size is given, and takes its mark; false,
 * reported as misuse, when the caller has no such block. Tells how many bytes were asked for, and it has. Nothing
 * is verified while emma_reset is at work: what handlers free then was freed already. */
static EMMAI_NOINLINE bool emmai_checked_in(const emma *instance, const void *block,
                                            const size_t *size, size_t *bytes, size_t *usable)
{
    if (instance->control->resetting)
        return false;
    bool nested = emmai_outside_begin(instance);
    unsigned mark;
    bool valid = checked_verify(instance, block, size, &mark, bytes, usable);
    /* By chance in tests: another thread frees it at the same moment. */
    if (valid && !mark_take(instance, emmai_offset(instance, block), mark)) {
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
        valid = false;
    }
    if (valid)
        emmai_watch_take(block, *bytes);
    emmai_outside_end(instance, nested);
    return valid;
}

/* Verifies it, and leaves it with the caller. */
static bool emmai_checked_look(const emma *instance, const void *block, const size_t *size,
                               size_t *bytes)
{
    if (instance->control->resetting) /* Never in tests: by a handler, where a tool watches. */
        return false;
    bool nested = emmai_outside_begin(instance);
    unsigned mark;
    size_t usable;
    bool valid = checked_verify(instance, block, size, &mark, bytes, &usable);
    emmai_outside_end(instance, nested);
    return valid;
}

/* Takes the mark of a block if it is of `bytes` as the caller says, in a slab, its canaries are intact, and the
 * instance is neither shared nor busy; emmai_checked_in tells about the others. Tells how many bytes it has. */
static EMMAI_ALWAYS_INLINE bool emmai_checked_in_fast(const emma *instance, const void *block,
                                                      size_t bytes, size_t *usable)
{
    ptrdiff_t beyond = emmai_beyond(instance, block);
    if (EMMAI_WATCHED || EMMAI_UNLIKELY(instance->heap.gate == 0) ||
        EMMAI_UNLIKELY((size_t)beyond <= instance->foreign_max))
        return false;
    const emmai_slab *slab = emmai_slab_of_beyond(instance, beyond, false);
    size_t offset = ~(size_t)beyond;
    size_t spare = (*usable = emmai_class_bytes(slab->size_class)) - bytes;
    unsigned mark = mark_of(offset, spare);
    if (EMMAI_UNLIKELY(!*usable || spare > (EMMA_CANARIES ? CANARY_FEW : MARK_SPARES - 1) ||
                       offset % EMMAI_CLASS_STEP_BYTES))
        return false;
    uint8_t *at = mark_at(instance, offset);
    if (EMMAI_UNLIKELY(emmai_sync_get(at) != mark))
        return false;
    emmai_sync_set(at, (uint8_t)0);
    bool is_first = offset % EMMAI_CHUNK_BYTES == 0;
    if (!EMMA_CANARIES || EMMAI_LIKELY(canaries_few_intact(instance, block, bytes, *usable) &&
                                       canary_before(instance, block, is_first)))
        return true;
    emmai_sync_set(at, (uint8_t)mark);
    return false;
}

/* Bytes asked for of a block that the caller has; 0, reported as misuse, if it has no such block. */
static size_t emmai_checked_usable(const emma *instance, const void *block)
{
    unsigned mark;
    size_t bytes, usable;
    return checked_verify(instance, block, NULL, &mark, &bytes, &usable) ? bytes : 0;
}

/* ---- whole slabs ---- */

/* Whether the caller has the carved block, and then how many bytes were asked for. */
EMMAI_LOOKS_AT_OTHERS static bool emmai_checked_is_live(const emma *instance, const void *block,
                                                        size_t usable, size_t *bytes)
{
    unsigned mark = emmai_sync_get(mark_at(instance, emmai_offset(instance, block)));
    if (mark)
        *bytes = mark_bytes(mark, block, usable);
    return mark;
}

/* I9 for `count` blocks from `start` on, of which the free ones are in `marks`, NULL: none. */
static bool emmai_checked_is_sound(const emma *instance, const char *start, size_t count,
                                   size_t block_bytes, const uint64_t *marks)
{
    size_t first = emmai_offset(instance, start);
    size_t end = first + count * block_bytes;
    for (size_t at = first; at < end; at += (size_t)1 << EMMAI_MARK_SHIFT) {
        unsigned mark = emmai_sync_get(mark_at(instance, at));
        size_t offset = at + ((mark & MARK_LATE) ? EMMAI_CLASS_STEP_BYTES : 0) - first;
        if (mark && (offset % block_bytes || (mark & ~MARK_LATE) - 1 > block_bytes ||
                     (marks && emmai_bits_get(marks, offset / block_bytes))))
            return false;
    }
    return true;
}

/* Takes the marks of the first `bytes` from `start` on away: the caller has nothing there any more. */
static void emmai_checked_forget(const emma *instance, const char *start, size_t bytes)
{
    emmai_arch_zero(mark_at(instance, emmai_offset(instance, start)),
                    emmai_round_up(bytes >> EMMAI_MARK_SHIFT, sizeof(uint64_t)));
}
