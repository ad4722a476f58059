/* overflow.c - writes and reads past the ends of a block among others. They count as stopped when
 * they fault, or when the block that they came from comes back; what its neighbours, freed later,
 * might tell is too late: their owner has used the bytes. */
#include "misuse.h"

#define LONGEST   ((size_t)1 << 20)
#define FAR_BYTES ((size_t)4096)

static char stray[LONGEST];
static void *(*volatile copy)(void *target, const void *source, size_t bytes) = memcpy;

static void store(char *start, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((volatile char *)start)[i] = MISUSE_STRAY_BYTE;
}

/* From the end downwards, as a loop does that misses its start. */
static void store_down(char *end, size_t bytes)
{
    for (size_t i = 1; i <= bytes; i++)
        ((volatile char *)end)[-(ptrdiff_t)i] = MISUSE_STRAY_BYTE;
}

static void copy_stray(char *start, size_t bytes)
{
    memset(stray, MISUSE_STRAY_BYTE, sizeof stray);
    copy(start, stray, bytes);
}

static misuse_outcome freed(char *block, size_t bytes)
{
    misuse_release(block);
    return misuse_judge(bytes);
}

static misuse_outcome over_by_store(size_t bytes, size_t by)
{
    char *block = misuse_amid_others(bytes);
    store(block + bytes, by);
    return freed(block, bytes);
}

static misuse_outcome over_by_copy(size_t bytes, size_t by)
{
    char *block = misuse_amid_others(bytes);
    copy_stray(block + bytes, by);
    return freed(block, bytes);
}

static misuse_outcome under_by_store(size_t bytes, size_t by)
{
    char *block = misuse_amid_others(bytes);
    store_down(block, by);
    return freed(block, bytes);
}

static misuse_outcome under_by_copy(size_t bytes, size_t by)
{
    char *block = misuse_amid_others(bytes);
    copy_stray(block - by, by);
    return freed(block, bytes);
}

/* As a string's end is, where its length was counted without it. */
static misuse_outcome over_by_zero(size_t bytes, size_t by)
{
    (void)by;
    char *block = misuse_amid_others(bytes);
    ((volatile char *)block)[bytes] = 0;
    return freed(block, bytes);
}

/* Nothing between was touched: what an index does that was not checked. */
static misuse_outcome over_far(size_t bytes, size_t by)
{
    char *block = misuse_amid_others(bytes);
    store(block + bytes + by, 1);
    return freed(block, bytes);
}

static misuse_outcome under_far(size_t bytes, size_t by)
{
    char *block = misuse_amid_others(bytes);
    store(block - by, 1);
    return freed(block, bytes);
}

static misuse_outcome found_by_realloc(size_t bytes, size_t by)
{
    char *block = misuse_amid_others(bytes);
    store(block + bytes, by);
    misuse_forget(block);
    void *moved = misuse_realloc(block, 2 * bytes);
    misuse_require(moved != NULL);
    misuse_guard(moved, 2 * bytes);
    return misuse_judge(bytes);
}

static misuse_outcome of_calloc(size_t bytes, size_t by)
{
    misuse_amid_others(bytes);
    char *block = misuse_calloc(1, bytes);
    misuse_watch(block, bytes);
    misuse_block(bytes);
    store(block + bytes, by);
    return freed(block, bytes);
}

static misuse_outcome of_grown(size_t bytes, size_t by)
{
    char *small = misuse_malloc((bytes + 1) / 2);
    char *block = misuse_realloc(small, bytes);
    misuse_watch(block, bytes);
    misuse_block(bytes);
    store(block + bytes, by);
    return freed(block, bytes);
}

static misuse_outcome of_shrunk(size_t bytes, size_t by)
{
    char *block = misuse_realloc(misuse_malloc(2 * bytes), bytes);
    misuse_watch(block, bytes);
    for (size_t i = 0; i < MISUSE_OTHERS; i++)
        misuse_block(bytes);
    store(block + bytes, by);
    return freed(block, bytes);
}

/* ---- reads: of what a neighbour holds ---- */

static misuse_outcome read_over(size_t bytes, size_t by)
{
    return misuse_if(misuse_sees_watched(misuse_amid_others(bytes) + bytes, by));
}

static misuse_outcome read_under(size_t bytes, size_t by)
{
    return misuse_if(misuse_sees_watched(misuse_amid_others(bytes) - by, by));
}

const misuse_case misuse_overflow[] = {
    { "overflow_by_1_store", "overflow", over_by_store, 1 },
    { "overflow_by_1_copy", "overflow", over_by_copy, 1 },
    { "overflow_by_1_zero", "overflow", over_by_zero, 1 },
    { "overflow_by_8_store", "overflow", over_by_store, 8 },
    { "overflow_by_32_store", "overflow", over_by_store, 32 },
    { "overflow_by_32_copy", "overflow", over_by_copy, 32 },
    { "overflow_by_1_MiB_store", "overflow", over_by_store, LONGEST },
    { "overflow_by_1_MiB_copy", "overflow", over_by_copy, LONGEST },
    { "overflow_at_64", "overflow", over_far, 64 },
    { "overflow_at_page", "overflow", over_far, FAR_BYTES },
    { "overflow_by_1_then_realloc", "overflow", found_by_realloc, 1 },
    { "overflow_by_32_then_realloc", "overflow", found_by_realloc, 32 },
    { "overflow_of_calloc_by_1", "overflow", of_calloc, 1 },
    { "overflow_of_grown_by_1", "overflow", of_grown, 1 },
    { "overflow_of_shrunk_by_1", "overflow", of_shrunk, 1 },
    { "overflow_of_shrunk_by_32", "overflow", of_shrunk, 32 },
    { "underflow_by_1_store", "underflow", under_by_store, 1 },
    { "underflow_by_1_copy", "underflow", under_by_copy, 1 },
    { "underflow_by_8_store", "underflow", under_by_store, 8 },
    { "underflow_by_32_store", "underflow", under_by_store, 32 },
    { "underflow_by_32_copy", "underflow", under_by_copy, 32 },
    { "underflow_by_1_MiB_store", "underflow", under_by_store, LONGEST },
    { "underflow_by_1_MiB_copy", "underflow", under_by_copy, LONGEST },
    { "underflow_at_64", "underflow", under_far, 64 },
    { "underflow_at_page", "underflow", under_far, FAR_BYTES },
    { "read_over_by_32", "over-read", read_over, 32 },
    { "read_over_by_page", "over-read", read_over, FAR_BYTES },
    { "read_over_by_1_MiB", "over-read", read_over, LONGEST },
    { "read_under_by_32", "over-read", read_under, 32 },
    { "read_under_by_page", "over-read", read_under, FAR_BYTES },
    { NULL, NULL, NULL, 0 },
};
