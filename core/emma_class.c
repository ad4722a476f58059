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
    ((uint8_t)((bytes) <= 128   ? 1 + ((bytes)-1) / EMMAI_CLASS_STEP_BYTES \
               : (bytes) <= 256 ? CLASS_STEPPED(bytes, 0, 5)               \
               : (bytes) <= 512 ? CLASS_STEPPED(bytes, 1, 6)               \
                                : CLASS_STEPPED(bytes, 2, 7)))

/* With a map of blocks none is smaller than what one mark stands for. */
#define LEAST_STEPS        (EMMA_CHECKS ? (1 << EMMAI_MARK_SHIFT) / 8 : 1)
#define ALIGN8_1(step)     CLASS_FOR((size_t)((step) < LEAST_STEPS ? LEAST_STEPS : (step) + 1) * 8),
#define ALIGN16_1(step)    CLASS_FOR(((size_t)(step) + 2) / 2 * 16),
#define TIMES_4(one, step) one(step) one((step) + 1) one((step) + 2) one((step) + 3)
#define TIMES_16(one, step) \
    TIMES_4(one, step) TIMES_4(one, (step) + 4) TIMES_4(one, (step) + 8) TIMES_4(one, (step) + 12)
#define TIMES_64(one, step) \
    TIMES_16(one, step)     \
    TIMES_16(one, (step) + 16) TIMES_16(one, (step) + 32) TIMES_16(one, (step) + 48)

/* By (bytes - 1) / 8: [0] for 16-byte alignment, [1] for EMMA_ALIGN8. */
static const uint8_t emmai_class_map[2][EMMAI_SMALL_STEPS] = {
    { TIMES_64(ALIGN16_1, 0) TIMES_64(ALIGN16_1, 64) },
    { TIMES_64(ALIGN8_1, 0) TIMES_64(ALIGN8_1, 64) },
};

_Static_assert(CLASS_FOR((size_t)8) == 1 && CLASS_FOR((size_t)128) == 16, "linear classes");
_Static_assert(CLASS_FOR((size_t)129) == 17 && CLASS_FOR((size_t)1024) == 28, "stepped classes");

/* Bytes of each class, as far as the largest EMMA_CHUNK_SHIFT has classes. */
#define LINEAR_BYTES_4(first) (first) * 8, ((first) + 1) * 8, ((first) + 2) * 8, ((first) + 3) * 8,
#define DOUBLING_BYTES(from)  (from) * 5 / 4, (from)*6 / 4, (from)*7 / 4, (from)*2,

/* clang-format off */
static const uint16_t class_table[] = {
    0,
    LINEAR_BYTES_4(1) LINEAR_BYTES_4(5) LINEAR_BYTES_4(9) LINEAR_BYTES_4(13)
    DOUBLING_BYTES(128) DOUBLING_BYTES(256) DOUBLING_BYTES(512) DOUBLING_BYTES(1024)
    DOUBLING_BYTES(2048) DOUBLING_BYTES(4096) DOUBLING_BYTES(8192) DOUBLING_BYTES(16384)
};
/* clang-format on */

_Static_assert(sizeof class_table / sizeof class_table[0] >= EMMAI_CLASS_COUNT, "all classes");

/* Bytes of a class's blocks. */
static inline size_t emmai_class_bytes(unsigned size_class)
{
    return class_table[size_class];
}

/* The class for `bytes` <= EMMAI_SLAB_MAX_BYTES. */
static inline unsigned emmai_class_of(const emmai_heap *heap, size_t bytes)
{
    size_t last = bytes ? bytes - 1 : 0;
    if (last < EMMAI_SMALL_MAX_BYTES)
        return heap->class_map[last / EMMAI_CLASS_STEP_BYTES];
    unsigned shift = 63 - (unsigned)__builtin_clzll(last); /* the doubling that it lies in */
    size_t quarter = (last - ((size_t)1 << shift)) >> (shift - EMMAI_STEPS_SHIFT);
    return 1 + EMMAI_LINEAR_CLASSES + ((shift - EMMAI_LINEAR_SHIFT) << EMMAI_STEPS_SHIFT) +
           (unsigned)quarter;
}
