/* emma_bits.c - sets of chunks and of pages as bitmaps: bit i is bit i % 64 of word i / 64. */
#include "emma_internal.h"

#define WORD_BITS ((size_t)64)

static bool emmai_bits_get(const uint64_t *map, size_t bit)
{
    return map[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

static void emmai_bits_set(uint64_t *map, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        map[i / WORD_BITS] |= (uint64_t)1 << (i % WORD_BITS);
}

static void emmai_bits_clear(uint64_t *map, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        map[i / WORD_BITS] &= ~((uint64_t)1 << (i % WORD_BITS));
}

/* The first bit from `bit` on that is `value`; `end` if none below it is. */
static size_t emmai_bits_find(const uint64_t *map, size_t bit, size_t end, bool value)
{
    if (bit >= end)
        return end;
    uint64_t invert = value ? 0 : ~(uint64_t)0;
    size_t word = bit / WORD_BITS;
    uint64_t bits = (map[word] ^ invert) & (~(uint64_t)0 << (bit % WORD_BITS));
    while (!bits) {
        if (++word * WORD_BITS >= end)
            return end;
        bits = map[word] ^ invert;
    }
    return emmai_min(word * WORD_BITS + (size_t)__builtin_ctzll(bits), end);
}

/* One past the last set bit from `start` up to `end`; `start` if there is none. */
static size_t emmai_bits_last(const uint64_t *map, size_t start, size_t end)
{
    for (size_t word = (end + WORD_BITS - 1) / WORD_BITS; word * WORD_BITS > start; word--) {
        uint64_t bits = map[word - 1];
        if (word * WORD_BITS > end)
            bits &= ((uint64_t)1 << (end % WORD_BITS)) - 1;
        if (bits)
            return emmai_max(start, word * WORD_BITS - (size_t)__builtin_clzll(bits));
    }
    return start;
}
