/* emma_checked.c - what EMMA_CHECKS adds: a map of the blocks that the caller has, kept at the library's
 * boundary. A block is marked on its way out, and looked up, and its mark taken, on its way in.
 *
 * A mark is a byte for each 16 bytes of the region, apart from the blocks: no overrun reaches it. 0: no
 * block starts there that the caller has. Else it tells how many bytes of the block were not asked
 * for, and the family of its label. Whose mark is gone is free, whatever the heap has done with it since: a list,
 * a stash, a run that became slabs. So two frees of a block cannot both find it, nor can a free find what was
 * never a block.
 *
 * The mark of a block that was asked for with an alignment is of two bytes, the second one its label: it has
 * EMMAI_PAIR_BYTES at least, at a multiple of them. */
#include "emma_internal.h"

#define MARK_LATE    0x80u /* the block starts 8 bytes behind the place that the mark is of */
#define MARK_SPARE   (EMMAI_LABELS ? 0x1Fu : 0x7Fu) /* 1 + spare bytes, or 1 + MARK_SPARES */
#define MARK_SPARES  (MARK_SPARE - 1) /* so many or more: the last word of the block has its size */
#define MARK_FAMILY  5                /* the label's, from this bit on */
#define MARK_ALIGNED 3u               /* no family: the second byte has the label */
#define MARK_LABEL   8                /* the second byte, from this bit on */
_Static_assert(EMMAI_PAIR_BYTES >= (size_t)2 << EMMAI_MARK_SHIFT,
               "no block starts at the second byte");
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

/* The same with a label. */
static unsigned mark_of_label(size_t offset, size_t spare, unsigned label)
{
    if (!EMMAI_LABELS)
        return mark_of(offset, spare);
    if (label >> EMMAI_LABEL_SHIFT)
        return mark_of(offset, spare) | MARK_ALIGNED << MARK_FAMILY | label << MARK_LABEL;
    return mark_of(offset, spare) | label << MARK_FAMILY;
}

static unsigned mark_family(unsigned mark)
{
    return EMMAI_LABELS ? (mark & (uint8_t)~MARK_LATE) >> MARK_FAMILY : EMMAI_LABEL_PLAIN;
}

/* Spare bytes that a block with this mark has at least. */
static size_t mark_least_spare(unsigned mark)
{
    return (mark & MARK_SPARE) - 1;
}

/* The mark of a block. If it is of two bytes, both are read, put and taken at once. */
static unsigned mark_get(const emma *instance, size_t offset)
{
    const uint8_t *at = mark_at(instance, offset);
    unsigned mark = emmai_sync_get(at);
    /* Never in tests: such a mark elsewhere, by a thread that looks while others cut the slab anew. */
    if (mark_family(mark) == MARK_ALIGNED && offset % EMMAI_PAIR_BYTES == 0)
        mark = emmai_sync_get((const uint16_t *)(const void *)at);
    return mark;
}

/* Marks a block; false when the caller has it already: what was written to a free block led there. */
static EMMAI_ALWAYS_INLINE bool mark_put(const emma *instance, size_t offset, unsigned mark)
{
    uint8_t *at = mark_at(instance, offset);
    if (EMMAI_UNLIKELY(emmai_sync_get(at)))
        return false;
    if (mark >> MARK_LABEL)
        emmai_sync_set((uint16_t *)(void *)at, (uint16_t)mark);
    else
        emmai_sync_set(at, (uint8_t)mark);
    return true;
}

/* Takes the mark away; false when it is not, or no longer, the one that it should be. */
static bool mark_take(const emma *instance, size_t offset, unsigned mark)
{
    uint8_t *at = mark_at(instance, offset);
    uint8_t expected = (uint8_t)mark;
    uint16_t expected_pair = (uint16_t)mark;
    if (mark >> MARK_LABEL)
        return __atomic_compare_exchange_n((uint16_t *)(void *)at, &expected_pair, 0, false,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    if (emmai_sync_get(at) != expected) /* By chance in tests: another thread has freed it. */
        return false;
    if (instance->shared) /* another thread may free it, too */
        return __atomic_compare_exchange_n(at, &expected, 0, false, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED);
    emmai_sync_set(at, (uint8_t)0);
    return true;
}

/* Where the size of a block is whose mark cannot tell. */
static size_t *size_word(const void *block, size_t usable)
{
    return (size_t *)(uintptr_t)((const char *)block + usable) - 1;
}

/* Where the spare bytes end of a block with this mark. */
static size_t mark_spare_end(unsigned mark, size_t usable)
{
    return mark_least_spare(mark) < MARK_SPARES ? usable : usable - sizeof(size_t);
}

/* What was asked for of a block with this mark. */
static emmai_asked mark_read(unsigned mark, const void *block, size_t usable)
{
    unsigned family = mark_family(mark);
    unsigned label = family == MARK_ALIGNED ? mark >> MARK_LABEL : family;
    size_t spare = mark_least_spare(mark);
    if (spare < MARK_SPARES)
        return (emmai_asked){ mark, label, usable - spare, usable };
    emmai_watch_pause();
    size_t bytes = *size_word(block, usable);
    emmai_watch_resume();
    return (emmai_asked){ mark, label, bytes, usable };
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

/* Marks a block that is handed out for `bytes`, with this label; NULL, reported as misuse, when it is no free one. */
static EMMAI_NOINLINE void *emmai_checked_out_as(const emma *instance, void *block, size_t bytes,
                                                 unsigned label)
{
    if (!EMMA_CHECKS || !block)
        return block;
    size_t offset = emmai_offset(instance, block);
    size_t usable = emmai_block_usable(instance, block);
    unsigned mark = mark_of_label(offset, usable - bytes, label);
    if (!mark_put(instance, offset, mark))
        return emmai_hardened_misled(instance, block);
    emmai_watch_pause();
    if (usable - bytes >= MARK_SPARES)
        *size_word(block, usable) = bytes;
    emmai_canary_put(instance, block, bytes, mark_spare_end(mark, usable));
    emmai_watch_resume();
    emmai_watch_give(block, bytes);
    return block;
}

static inline void *emmai_checked_out(const emma *instance, void *block, size_t bytes)
{
    return emmai_checked_out_as(instance, block, bytes, EMMAI_LABEL_PLAIN);
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
    emmai_canary_put_fresh(instance, block, bytes, usable);
    return block;
}

/* Gives a block that was just handed out a family. */
EMMAI_FOR_LIBRARIES void emmai_checked_label(const emma *instance, const void *block,
                                             unsigned family)
{
    uint8_t *at = mark_at(instance, emmai_offset(instance, block));
    if (EMMAI_LABELS)
        emmai_sync_set(at, (uint8_t)(emmai_sync_get(at) | family << MARK_FAMILY));
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

/* Verifies that the caller has this block, and what is claimed of it, if anything is; reports misuse and returns
 * false otherwise. Tells what was asked for. */
static bool checked_verify(const emma *instance, const void *block, const emmai_claim *claim,
                           emmai_asked *asked)
{
    const emmai_slab *slab = emmai_block_slab(instance, block);
    if (!slab || !checked_boundary(instance, slab, block))
        return false;
    unsigned mark = mark_get(instance, emmai_offset(instance, block));
    /* Never in tests: where a block of the slab starts no other does within the mark's bytes. */
    if (!mark || (mark & MARK_LATE) != mark_late((uintptr_t)block)) {
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
        return false; /* whose memory may be gone */
    }
    size_t usable = emmai_slab_usable(slab);
    *asked = mark_read(mark, block, usable);
    bool is_first = block == emmai_slab_address(instance, slab);
    if (asked->bytes > usable - mark_least_spare(mark) ||
        !emmai_canary_intact(instance, block, asked->bytes, mark_spare_end(mark, usable)) ||
        !emmai_canary_before(instance, block, is_first))
        emmai_misuse(instance, EMMA_MISUSE_OVERRUN, block);
    else if (claim && ((claim->label ^ asked->label) & claim->label_mask))
        emmai_misuse_label(instance, block, asked->label, claim);
    else if (claim && claim->sized && claim->label == asked->label && claim->bytes != asked->bytes)
        emmai_misuse_size(instance, block, asked->bytes, claim->bytes);
    else
        return true;
    return false;
}

/* Verifies a block that the caller hands in, and what is claimed of it, and takes its mark; false, reported as
 * misuse, when the caller has no such block. Tells what was asked for. Nothing is verified while emma_reset is at
 * work: what handlers free then was freed already. */
static EMMAI_NOINLINE bool emmai_checked_in(const emma *instance, const void *block,
                                            const emmai_claim *claim, emmai_asked *asked)
{
    if (instance->control->resetting)
        return false;
    bool nested = emmai_outside_begin(instance);
    bool valid = checked_verify(instance, block, claim, asked);
    /* By chance in tests: another thread frees it at the same moment. */
    if (valid && !mark_take(instance, emmai_offset(instance, block), asked->mark)) {
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
        valid = false;
    }
    if (valid)
        emmai_watch_take(block, asked->bytes);
    emmai_outside_end(instance, nested);
    return valid;
}

/* Verifies it, and leaves it with the caller. */
static bool emmai_checked_look(const emma *instance, const void *block, const emmai_claim *claim,
                               emmai_asked *asked)
{
    if (instance->control->resetting) /* Never in tests: by a handler, where a tool watches. */
        return false;
    bool nested = emmai_outside_begin(instance);
    bool valid = checked_verify(instance, block, claim, asked);
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
    if (EMMAI_UNLIKELY(!*usable || spare > (EMMA_CANARIES ? EMMAI_CANARY_FEW : MARK_SPARES - 1) ||
                       offset % EMMAI_CLASS_STEP_BYTES))
        return false;
    uint8_t *at = mark_at(instance, offset);
    if (EMMAI_UNLIKELY(emmai_sync_get(at) != mark))
        return false;
    emmai_sync_set(at, (uint8_t)0);
    bool is_first = offset % EMMAI_CHUNK_BYTES == 0;
    if (EMMAI_LIKELY(emmai_canary_few_intact(instance, block, bytes, *usable) &&
                     emmai_canary_before(instance, block, is_first)))
        return true;
    emmai_sync_set(at, (uint8_t)mark);
    return false;
}

/* Bytes asked for of a block that the caller has; 0, reported as misuse, if it has no such block. */
static size_t emmai_checked_usable(const emma *instance, const void *block)
{
    emmai_asked asked;
    return checked_verify(instance, block, NULL, &asked) ? asked.bytes : 0;
}

/* ---- whole slabs ---- */

/* Whether the caller has the carved block, and then how many bytes were asked for. */
EMMAI_LOOKS_AT_OTHERS static bool emmai_checked_is_live(const emma *instance, const void *block,
                                                        size_t usable, size_t *bytes)
{
    unsigned mark = mark_get(instance, emmai_offset(instance, block));
    if (mark)
        *bytes = emmai_min(mark_read(mark, block, usable).bytes, usable - mark_least_spare(mark));
    return mark;
}

/* I9 for `count` blocks from `start` on, of which the free ones are in `marks`, NULL: none. */
static bool emmai_checked_is_sound(const emma *instance, const char *start, size_t count,
                                   size_t block_bytes, const uint64_t *marks)
{
    size_t first = emmai_offset(instance, start);
    size_t end = first + count * block_bytes;
    for (size_t at = first; at < end; at += (size_t)1 << EMMAI_MARK_SHIFT) {
        unsigned mark = mark_get(instance, at);
        size_t offset = at + ((mark & MARK_LATE) ? EMMAI_CLASS_STEP_BYTES : 0) - first;
        if (mark && (offset % block_bytes || mark_least_spare(mark) > block_bytes ||
                     (marks && emmai_bits_get(marks, offset / block_bytes))))
            return false;
        if (mark >> MARK_LABEL)
            at += (size_t)1 << EMMAI_MARK_SHIFT;
    }
    return true;
}

/* Takes the marks of the first `bytes` from `start` on away: the caller has nothing there any more. */
static void emmai_checked_forget(const emma *instance, const char *start, size_t bytes)
{
    emmai_arch_zero(mark_at(instance, emmai_offset(instance, start)),
                    emmai_round_up(bytes >> EMMAI_MARK_SHIFT, sizeof(uint64_t)));
}
