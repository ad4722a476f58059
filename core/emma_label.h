/* emma_label.h - how a block was asked for, where a library on top of the core has families of functions,
 * as the C library's malloc, C++'s new and new[], with and without an alignment: a block is to come back
 * by its own family's. The core's functions give out blocks of EMMAI_LABEL_PLAIN, and take back all.
 * Labels are kept in a build with EMMA_CHECKS only. */
#ifndef EMMA_LABEL_H
#define EMMA_LABEL_H

#include <stddef.h>

/* A family and, where an alignment was asked for, above it 1 + its log2. */
enum {
    EMMAI_LABEL_PLAIN, /* malloc's */
    EMMAI_LABEL_NEW,
    EMMAI_LABEL_NEW_ARRAY,
    EMMAI_LABEL_FAMILY = 3, /* mask */
    EMMAI_LABEL_SHIFT = 2,
    EMMAI_LABEL_WHOLE = 0x1FF /* mask; 0xFF for those that a block can have */
};

/* A function for libraries on top of the core, which itself does not call it. */
#define EMMAI_FOR_LIBRARIES static inline __attribute__((unused))

/* An alignment that is no power of two is like none that a block can have. */
EMMAI_FOR_LIBRARIES unsigned emmai_label(unsigned family, size_t alignment)
{
    const int bits = (int)(sizeof alignment * 8);
    const int log2 = __builtin_popcountll(alignment) == 1 ? __builtin_ctzll(alignment) : bits;
    return family | (unsigned)(1 + log2) << EMMAI_LABEL_SHIFT;
}

#endif
