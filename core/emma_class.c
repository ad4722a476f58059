/* emma_class.c - which size class serves a size.
 *
 * Steps of 8 bytes up to 128, then four classes per doubling: at most 1/5 of a block is waste, 2 %
 * in the mean of Lua programs. Every class above 128 is a multiple of 32, so 16-byte alignment
 * costs only the odd classes below. */
#include "emma_internal.h"

/* The class for `bytes` <= EMMAI_SMALL_MAX_BYTES, as a constant expression. */
#define CLASS_STEPPED(bytes, doubling, shift)    \
    (1 + EMMAI_LINEAR_CLASSES + 4 * (doubling) + \
     ((bytes)-1 - ((size_t)128 << (doubling))) / ((size_t)1 << (shift)))
#define CLASS_FOR(bytes)                                                   \
    ((uint8_t)((bytes) == 0     ? 1                                        \
               : (bytes) <= 128 ? 1 + ((bytes)-1) / EMMAI_CLASS_STEP_BYTES \
               : (bytes) <= 256 ? CLASS_STEPPED(bytes, 0, 5)               \
               : (bytes) <= 512 ? CLASS_STEPPED(bytes, 1, 6)               \
                                : CLASS_STEPPED(bytes, 2, 7)))

#define ALIGN8_1(step)     CLASS_FOR((size_t)(step)*8),
#define ALIGN16_1(step)    CLASS_FOR((step) == 0 ? (size_t)16 : ((size_t)(step) + 1) / 2 * 16),
#define TIMES_4(one, step) one(step) one((step) + 1) one((step) + 2) one((step) + 3)
#define TIMES_16(one, step) \
    TIMES_4(one, step) TIMES_4(one, (step) + 4) TIMES_4(one, (step) + 8) TIMES_4(one, (step) + 12)
#define TIMES_64(one, step) \
    TIMES_16(one, step)     \
    TIMES_16(one, (step) + 16) TIMES_16(one, (step) + 32) TIMES_16(one, (step) + 48)

/* By (bytes + 7) / 8: [0] for 16-byte alignment, [1] for EMMA_ALIGN8. */
static const uint8_t emmai_class_map[2][EMMAI_CLASS_MAP_BYTES] = {
    { TIMES_64(ALIGN16_1, 0) TIMES_64(ALIGN16_1, 64) ALIGN16_1(128) },
    { TIMES_64(ALIGN8_1, 0) TIMES_64(ALIGN8_1, 64) ALIGN8_1(128) },
};

_Static_assert(CLASS_FOR((size_t)8) == 1 && CLASS_FOR((size_t)128) == 16, "linear classes");
_Static_assert(CLASS_FOR((size_t)129) == 17 && CLASS_FOR((size_t)1024) == 28, "stepped classes");

/* Bytes of a class's blocks. */
static inline size_t emmai_class_bytes(unsigned size_class)
{
    if (size_class <= EMMAI_LINEAR_CLASSES)
        return size_class * EMMAI_CLASS_STEP_BYTES;
    unsigned step = size_class - EMMAI_LINEAR_CLASSES - 1;
    unsigned shift = EMMAI_LINEAR_SHIFT + (step >> EMMAI_STEPS_SHIFT);
    size_t quarters = (step & ((1u << EMMAI_STEPS_SHIFT) - 1)) + 1;
    return ((size_t)1 << shift) + (quarters << (shift - EMMAI_STEPS_SHIFT));
}

/* The class for `bytes` <= EMMAI_SLAB_MAX_BYTES. */
static inline unsigned emmai_class_of(const emma *instance, size_t bytes)
{
    if (bytes <= EMMAI_SMALL_MAX_BYTES)
        return instance->heap
            .class_map[(bytes + EMMAI_CLASS_STEP_BYTES - 1) / EMMAI_CLASS_STEP_BYTES];
    unsigned shift =
        63 - (unsigned)__builtin_clzll(bytes - 1); /* the doubling that bytes - 1 lies in */
    size_t quarter = (bytes - 1 - ((size_t)1 << shift)) >> (shift - EMMAI_STEPS_SHIFT);
    return 1 + EMMAI_LINEAR_CLASSES + ((shift - EMMAI_LINEAR_SHIFT) << EMMAI_STEPS_SHIFT) +
           (unsigned)quarter;
}
