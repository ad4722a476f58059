/* emma_hardened.c - what EMMA_HARDENED adds to the checks, part by part: what a program that writes to freed
 * memory, or reads it, can make of that.
 *
 * EMMA_ENCODED_LINKS: emma_link.h. EMMA_ZERO_ON_FREE: every byte of a free block but its link is zero, from when
 * it is freed until it is handed out; what a page had is zeroed as it is carved, or becomes a run.
 * EMMA_RANDOM_ORDER: the blocks carved at once are linked in random order. */
#include "emma_internal.h"

/* ---- secrets ---- */

/* The number whose product with `factor`, which is odd, is 1 modulo 2^64: each step doubles the bits that
 * are right, 3 to begin with. */
static uint64_t secret_inverse(uint64_t factor)
{
    uint64_t inverse = factor;
    for (unsigned bits = 3; bits < 64; bits *= 2)
        inverse *= 2 - factor * inverse;
    return inverse;
}

static void emmai_hardened_begin(emma *instance)
{
    if (EMMA_CANARIES)
        instance->control->canary = emmai_os_random(&instance->control->canary);
    if (!EMMA_ENCODED_LINKS)
        return;
    instance->link_salt = emmai_os_random(&instance->link_salt);
    instance->link_factor = emmai_os_random(&instance->link_factor) | 1;
    instance->link_inverse = secret_inverse(instance->link_factor);
}

/* ---- what was written to freed memory ---- */

/* Reports that a block would be handed out that is no free one, or is not as it was left. */
static EMMAI_NOINLINE void *emmai_hardened_misled(const emma *instance, const void *block)
{
    bool nested = emmai_outside_begin(instance);
    emmai_misuse(instance, EMMA_MISUSE_AFTER_FREE, block);
    emmai_outside_end(instance, nested);
    return NULL;
}

/* Reports a link that leads out of the region, by a caller that has entered. */
static EMMAI_NOINLINE void *emmai_link_broken(const emma *instance, const void *block)
{
    emmai_misuse(instance, EMMA_MISUSE_AFTER_FREE, block);
    return NULL;
}

static EMMAI_ALWAYS_INLINE emmai_vector vector_at(const void *block, size_t offset)
{
    return *(const emmai_vector *)(const void *)((const char *)block + offset);
}

/* Whether a free block of so many bytes, a multiple of 8, is zero but for its link. From the end to the start,
 * where some words may be looked at again. */
static EMMAI_ALWAYS_INLINE bool emmai_hardened_is_wiped(const void *block, size_t bytes)
{
    const emmai_word *word = block;
    emmai_vector found = { 0, 0 };
    emmai_watch_pause();
    if (bytes >= 32) {
        for (ptrdiff_t i = (ptrdiff_t)bytes - 32; i > 0; i -= 32)
            found |= vector_at(block, (size_t)i) | vector_at(block, (size_t)i + 16);
        found |= (vector_at(block, 0) & (emmai_vector){ 0, UINT64_MAX }) | vector_at(block, 16);
    } else { /* 16 or 24: no block of a checked build is smaller */
        found = (emmai_vector){ word[1], word[bytes / sizeof *word - 1] };
    }
    emmai_watch_resume();
    return emmai_arch_is_zero(found);
}

/* Whether a free block that is to be handed out is as it was left: tells what its link leads to. */
static EMMAI_ALWAYS_INLINE bool emmai_hardened_is_sound(const emma *instance, const void *block,
                                                        size_t size_class, void **next)
{
    *next = emmai_link_peek(instance, block);
    if (EMMA_ENCODED_LINKS && EMMAI_UNLIKELY(!emmai_link_is_sound(instance, *next)))
        return false;
    size_t bytes = emmai_class_bytes((unsigned)size_class);
    return !EMMA_ZERO_ON_FREE || EMMAI_LIKELY(emmai_hardened_is_wiped(block, bytes));
}

/* Clears the link of a block that is on no list any more: nobody is to read it, and all is zero if the rest is. */
static EMMAI_ALWAYS_INLINE void emmai_hardened_unlink(void *block)
{
    if (!EMMA_ZERO_ON_FREE && !EMMA_ENCODED_LINKS)
        return;
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* the list is whole wherever the thread stops */
    emmai_watch_pause();
    *(uint64_t *)block = 0;
    emmai_watch_resume();
}

/* A block of a slab that is to be handed out, of no list any more; NULL, reported as misuse, when it was written to. */
static EMMAI_ALWAYS_INLINE void *emmai_hardened_fresh(const emma *instance, void *block,
                                                      unsigned size_class)
{
    if (!block)
        return NULL;
    if (EMMA_ZERO_ON_FREE && !emmai_hardened_is_wiped(block, emmai_class_bytes(size_class)))
        return emmai_link_broken(instance, block);
    emmai_hardened_unlink(block);
    return block;
}

/* Zeroes what is to be freed, or is free. */
static inline void emmai_hardened_wipe(void *block, size_t usable)
{
    emmai_watch_pause();
    if (EMMA_ZERO_ON_FREE)
        emmai_arch_zero(block, usable);
    emmai_watch_resume();
}

/* Copies so many bytes, a multiple of 8, of a block that is moved; not the last one, which nobody asked for: it is
 * zero until it has a canary, as canary_before expects. */
static inline void emmai_hardened_copy(void *target, const void *block, size_t bytes)
{
    if (!EMMA_CANARIES || !EMMA_ZERO_ON_FREE) {
        emmai_arch_copy(target, block, bytes);
        return;
    }
    size_t last = bytes / sizeof(emmai_word) - 1;
    if (last)
        emmai_arch_copy(target, block, last * sizeof(emmai_word));
    ((emmai_word *)target)[last] = ((const emmai_word *)block)[last] & UINT64_MAX >> 8;
}

/* ---- random order ---- */

/* Bytes whose blocks change places, but at least and at most so many blocks in a row. With those
 * of a whole page a program that goes over its blocks in the order in which it made them takes twice as long:
 * so far ahead no processor reads. */
#define SHUFFLED_BYTES ((size_t)640)
#define SHUFFLED_MIN   ((size_t)8)
#define SHUFFLED_MAX   ((size_t)16)

/* A number below `bound`, which is at most 2^32: of the high half of a linear congruential generator (Knuth's
 * MMIX) whose state nobody else sees. */
static EMMAI_ALWAYS_INLINE size_t emmai_hardened_random(emmai_heap *heap, size_t bound)
{
    heap->random = heap->random * 6364136223846793005u + 1442695040888963407u;
    return (size_t)((heap->random >> 32) * bound >> 32);
}

/* Links `count` blocks from `start` on before `list`, in random order; returns the first. */
static void *shuffle_window(const emma *instance, emmai_heap *heap, char *start, size_t count,
                            size_t block_bytes, void *list)
{
    uint8_t order[SHUFFLED_MAX];
    for (size_t i = 0; i < count; i++) {
        size_t other = emmai_hardened_random(heap, i + 1);
        order[i] = order[other];
        order[other] = (uint8_t)i;
    }
    for (size_t i = 0; i < count; i++) {
        void *block = start + order[i] * block_bytes;
        emmai_link_set(instance, block, list);
        list = block;
    }
    return list;
}

/* How many blocks in a row change places. */
static size_t shuffle_blocks(size_t block_bytes)
{
    size_t count = SHUFFLED_BYTES / block_bytes;
    return emmai_min(emmai_max(count, SHUFFLED_MIN), SHUFFLED_MAX);
}

/* Links `count` blocks from `start` on, some of them at a time in random order; returns the first. */
static void *emmai_hardened_shuffle(const emma *instance, emmai_heap *heap, char *start,
                                    size_t count, size_t block_bytes)
{
    size_t most = shuffle_blocks(block_bytes);
    void *list = NULL;
    while (count) {
        size_t window = (count - 1) % most + 1;
        count -= window;
        list =
            shuffle_window(instance, heap, start + count * block_bytes, window, block_bytes, list);
    }
    return list;
}
