/* emma_bits.c - sets of chunks and of pages as bitmaps: bit i is bit i % 64 of word i / 64.
 *
 * Any thread changes them, a word at a time. To claim bits is to become the only owner of what they
 * stand for, until the owner clears them: claiming acquires what clearing released. */
#include "emma_internal.h"

#define WORD_BITS ((size_t)64)

/* The bits from `first` up to `end` that lie in the word of `first`. */
static uint64_t bits_mask(size_t first, size_t end)
{
    size_t low = first % WORD_BITS;
    size_t high = emmai_min(end - (first - low), WORD_BITS);
    return (~(uint64_t)0 << low) & (~(uint64_t)0 >> (WORD_BITS - high));
}

/* Where the word after that of `bit` begins, or `end` before it. */
static size_t emmai_bits_next(size_t bit, size_t end)
{
    return emmai_min((bit / WORD_BITS + 1) * WORD_BITS, end);
}

static bool emmai_bits_get(const uint64_t *map, size_t bit)
{
    return emmai_sync_get(&map[bit / WORD_BITS]) >> (bit % WORD_BITS) & 1;
}

static void emmai_bits_set(uint64_t *map, size_t first, size_t count)
{
    for (size_t bit = first; bit < first + count; bit = emmai_bits_next(bit, first + count))
        __atomic_fetch_or(&map[bit / WORD_BITS], bits_mask(bit, first + count), __ATOMIC_RELAXED);
}

static void emmai_bits_clear(uint64_t *map, size_t first, size_t count)
{
    for (size_t bit = first; bit < first + count; bit = emmai_bits_next(bit, first + count))
        __atomic_fetch_and(&map[bit / WORD_BITS], ~bits_mask(bit, first + count), __ATOMIC_RELEASE);
}

/* Sets those of the bits from `bit` on that `bits` has, all in one word; which of them were set. */
static uint64_t emmai_bits_add(uint64_t *map, size_t bit, uint64_t bits)
{
    uint64_t mask = bits << (bit % WORD_BITS);
    uint64_t old = __atomic_fetch_or(&map[bit / WORD_BITS], mask, __ATOMIC_RELAXED);
    return (old & mask) >> (bit % WORD_BITS);
}

static bool bits_claim_word(uint64_t *word, uint64_t mask)
{
    uint64_t now = emmai_sync_get(word);
    do
        if (now & mask)
            return false;
    /* By chance in tests: another thread changed the word. */
    while (!emmai_sync_replace(word, &now, now | mask));
    return true;
}

/* Sets bits that are all clear; false, with none changed, when one is set already. */
static bool emmai_bits_claim(uint64_t *map, size_t first, size_t count)
{
    for (size_t bit = first; bit < first + count; bit = emmai_bits_next(bit, first + count))
        if (!bits_claim_word(&map[bit / WORD_BITS], bits_mask(bit, first + count))) {
            emmai_bits_clear(map, first, bit - first);
            return false;
        }
    return true;
}

/* The first bit from `bit` on that is `value`; `end` if none below it is. */
static size_t emmai_bits_find(const uint64_t *map, size_t bit, size_t end, bool value)
{
    if (bit >= end)
        return end;
    uint64_t invert = value ? 0 : ~(uint64_t)0;
    size_t word = bit / WORD_BITS;
    uint64_t bits = (emmai_sync_get(&map[word]) ^ invert) & (~(uint64_t)0 << (bit % WORD_BITS));
    while (!bits) {
        if (++word * WORD_BITS >= end)
            return end;
        bits = emmai_sync_get(&map[word]) ^ invert;
    }
    return emmai_min(word * WORD_BITS + (size_t)__builtin_ctzll(bits), end);
}

/* One past the last set bit from `start` up to `end`; `start` if there is none. */
static size_t emmai_bits_last(const uint64_t *map, size_t start, size_t end)
{
    for (size_t word = (end + WORD_BITS - 1) / WORD_BITS; word * WORD_BITS > start; word--) {
        uint64_t bits = emmai_sync_get(&map[word - 1]);
        if (word * WORD_BITS > end)
            bits &= ((uint64_t)1 << (end % WORD_BITS)) - 1;
        if (bits)
            return emmai_max(start, word * WORD_BITS - (size_t)__builtin_clzll(bits));
    }
    return start;
}
