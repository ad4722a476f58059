/* absurd.c - sizes and alignments that cannot be meant: to refuse them is right, to hand something
 * out is wrong. The size that a case is run with goes into each. */
#include "misuse.h"

#include <errno.h>

#define TOP ((size_t)1 << 63)

static void *(*volatile reallocarray_hidden)(void *, size_t, size_t) = reallocarray;
static int (*volatile posix_memalign_hidden)(void **, size_t, size_t) = posix_memalign;
static void *(*volatile memalign_hidden)(size_t, size_t) = memalign;
static void *(*volatile pvalloc_hidden)(size_t) = pvalloc;
static void *(*volatile valloc_hidden)(size_t) = valloc;

static misuse_outcome malloc_minus(size_t bytes, size_t from)
{
    return misuse_if(misuse_malloc(from - bytes + 1) != NULL);
}

static misuse_outcome malloc_beyond(size_t bytes, size_t from)
{
    return misuse_if(misuse_malloc(from + bytes) != NULL);
}

/* The product is 2^64 and a little: `bytes`, or less. */
static misuse_outcome calloc_wraps(size_t bytes, size_t by)
{
    (void)by;
    return misuse_if(misuse_calloc(SIZE_MAX / bytes + 2, bytes) != NULL);
}

static misuse_outcome calloc_of_halves(size_t bytes, size_t by)
{
    (void)bytes;
    return misuse_if(misuse_calloc(by, by) != NULL);
}

static misuse_outcome calloc_beyond(size_t bytes, size_t from)
{
    return misuse_if(misuse_calloc(1, from + bytes) != NULL);
}

/* The block stays what it was. */
static misuse_outcome realloc_to(size_t bytes, size_t size)
{
    void *block = misuse_block(bytes);
    if (misuse_realloc(block, size))
        return MISUSE_SUCCEEDED;
    return misuse_judge(bytes);
}

static misuse_outcome realloc_negative(size_t bytes, size_t by)
{
    (void)by;
    return realloc_to(bytes, (size_t)0 - bytes);
}

static misuse_outcome reallocarray_wraps(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_block(bytes);
    if (reallocarray_hidden(block, SIZE_MAX / bytes + 2, bytes))
        return MISUSE_SUCCEEDED;
    return misuse_judge(bytes);
}

static misuse_outcome aligned_to(size_t bytes, size_t alignment)
{
    return misuse_if(misuse_aligned_alloc(alignment, bytes) != NULL);
}

static misuse_outcome aligned_wraps(size_t bytes, size_t alignment)
{
    return misuse_if(
        misuse_aligned_alloc(alignment, (size_t)0 - misuse_multiple(bytes, alignment)) != NULL);
}

/* Not refused, it has to be aligned, and large enough: to whatever power of two. */
static misuse_outcome odd_alignment(size_t bytes, size_t alignment)
{
    void *block = misuse_aligned_alloc(alignment, bytes);
    return misuse_if(block && (uintptr_t)block % 16 != 0);
}

static misuse_outcome posix_odd(size_t bytes, size_t alignment)
{
    void *block = NULL;
    return misuse_if(posix_memalign_hidden(&block, alignment, bytes) != EINVAL);
}

static misuse_outcome posix_absurd(size_t bytes, size_t alignment)
{
    void *block = NULL;
    return misuse_if(posix_memalign_hidden(&block, alignment, bytes) == 0);
}

static misuse_outcome memalign_to(size_t bytes, size_t alignment)
{
    return misuse_if(memalign_hidden(alignment, bytes) != NULL);
}

static misuse_outcome pvalloc_wraps(size_t bytes, size_t by)
{
    (void)by;
    return misuse_if(pvalloc_hidden((size_t)0 - (bytes < 4096 ? bytes : 4095)) != NULL);
}

static misuse_outcome valloc_wraps(size_t bytes, size_t by)
{
    (void)by;
    return misuse_if(valloc_hidden((size_t)0 - bytes) != NULL);
}

const misuse_case misuse_absurd[] = {
    { "malloc_of_minus", "absurd", malloc_minus, SIZE_MAX },
    { "malloc_of_most", "absurd", malloc_minus, PTRDIFF_MAX },
    { "malloc_beyond_most", "absurd", malloc_beyond, PTRDIFF_MAX },
    { "malloc_beyond_address_space", "absurd", malloc_beyond, (size_t)1 << 47 },
    { "calloc_wraps", "absurd", calloc_wraps, 0 },
    { "calloc_of_halves", "absurd", calloc_of_halves, (size_t)1 << 32 },
    { "calloc_beyond_most", "absurd", calloc_beyond, PTRDIFF_MAX },
    { "realloc_to_most", "absurd", realloc_to, SIZE_MAX },
    { "realloc_to_beyond_most", "absurd", realloc_to, (size_t)PTRDIFF_MAX + 1 },
    { "realloc_to_minus", "absurd", realloc_negative, 0 },
    { "reallocarray_wraps", "absurd", reallocarray_wraps, 0 },
    { "aligned_to_2_to_63", "absurd", aligned_to, TOP },
    { "aligned_to_2_to_48", "absurd", aligned_to, (size_t)1 << 48 },
    { "aligned_size_wraps", "absurd", aligned_wraps, 64 },
    { "aligned_size_wraps_at_page", "absurd", aligned_wraps, 4096 },
    { "aligned_to_0", "absurd", odd_alignment, 0 },
    { "aligned_to_24", "absurd", odd_alignment, 24 },
    { "posix_memalign_to_0", "absurd", posix_odd, 0 },
    { "posix_memalign_to_24", "absurd", posix_odd, 24 },
    { "posix_memalign_to_4", "absurd", posix_odd, 4 },
    { "posix_memalign_to_2_to_63", "absurd", posix_absurd, TOP },
    { "memalign_to_most", "absurd", memalign_to, SIZE_MAX },
    { "pvalloc_wraps", "absurd", pvalloc_wraps, 0 },
    { "valloc_wraps", "absurd", valloc_wraps, 0 },
    { NULL, NULL, NULL, 0 },
};
