/* read.c - secrets that are still there: in a block that was freed, in one that is fresh. */
#include "misuse.h"

#define BLOCKS 16
#define NEAR   ((uintptr_t)1 << 20)

#define SECRET ((uintptr_t)0x5ec7e75ec7e75ec7)

static void keep_secret(void *block, size_t bytes)
{
    misuse_require(block != NULL);
    for (size_t i = 0; i < bytes / sizeof(uintptr_t); i++)
        misuse_put(block, i, SECRET);
}

static bool tells_secret(const void *block, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(uintptr_t); i++)
        if (misuse_get(block, i) == SECRET)
            return true;
    return false;
}

static char *freed_secret(size_t bytes)
{
    char *block = misuse_malloc(bytes);
    keep_secret(block, bytes);
    misuse_malloc(bytes);
    misuse_free(block);
    return block;
}

/* ---- freed ---- */

static misuse_outcome word_of_freed(size_t bytes, size_t word)
{
    if ((word + 1) * sizeof(uintptr_t) > bytes)
        return MISUSE_NOT_APPLICABLE;
    return misuse_if(misuse_get(freed_secret(bytes), word) == SECRET);
}

static misuse_outcome any_of_freed(size_t bytes, size_t by)
{
    (void)by;
    return misuse_if(tells_secret(freed_secret(bytes), bytes));
}

static misuse_outcome any_of_trimmed(size_t bytes, size_t by)
{
    (void)by;
    char *block = freed_secret(bytes);
    malloc_trim(0);
    return misuse_if(tells_secret(block, bytes));
}

/* What the allocator put there: is it an address, from which those of other blocks follow? */
static misuse_outcome address_in_freed(size_t bytes, size_t by)
{
    (void)by;
    char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        keep_secret(blocks[i] = misuse_malloc(bytes), bytes);
    for (size_t i = 0; i < BLOCKS; i++)
        misuse_free(blocks[i]);
    for (size_t i = 0; i < BLOCKS; i++)
        for (size_t word = 0; word < (bytes < 16 ? bytes : 16) / sizeof(uintptr_t); word++)
            if (misuse_get(blocks[i], word) - (uintptr_t)blocks[i] + NEAR < 2 * NEAR)
                return MISUSE_SUCCEEDED;
    return MISUSE_WITHOUT_EFFECT;
}

/* ---- fresh ---- */

static misuse_outcome fresh_malloc(size_t bytes, size_t by)
{
    (void)by;
    freed_secret(bytes);
    for (size_t i = 0; i < MISUSE_PROBES; i++)
        if (tells_secret(misuse_malloc(bytes), bytes))
            return MISUSE_SUCCEEDED;
    return MISUSE_WITHOUT_EFFECT;
}

static misuse_outcome fresh_calloc(size_t bytes, size_t by)
{
    (void)by;
    freed_secret(bytes);
    for (size_t i = 0; i < MISUSE_PROBES; i++)
        if (tells_secret(misuse_calloc(1, bytes), bytes))
            return MISUSE_SUCCEEDED;
    return MISUSE_WITHOUT_EFFECT;
}

static misuse_outcome fresh_aligned(size_t asked, size_t alignment)
{
    const size_t bytes = misuse_multiple(asked, alignment);
    char *secret = misuse_aligned_alloc(alignment, bytes);
    keep_secret(secret, bytes);
    misuse_free(secret);
    for (size_t i = 0; i < MISUSE_PROBES; i++)
        if (tells_secret(misuse_aligned_alloc(alignment, bytes), bytes))
            return MISUSE_SUCCEEDED;
    return MISUSE_WITHOUT_EFFECT;
}

/* The part by which a block grew. */
static misuse_outcome fresh_realloc(size_t bytes, size_t by)
{
    (void)by;
    freed_secret(bytes);
    for (size_t i = 0; i < MISUSE_PROBES; i++) {
        char *block = misuse_realloc(misuse_malloc(bytes / 2), bytes);
        if (tells_secret(block + bytes / 2, bytes / 2))
            return MISUSE_SUCCEEDED;
    }
    return MISUSE_WITHOUT_EFFECT;
}

/* Cut off, then grown again. */
static misuse_outcome shrunk_and_grown(size_t bytes, size_t by)
{
    char *block = misuse_malloc(bytes * by);
    keep_secret(block, bytes * by);
    block = misuse_realloc(misuse_realloc(block, bytes), bytes * by);
    return misuse_if(tells_secret(block + bytes, bytes * (by - 1)));
}

static misuse_outcome fresh_smaller(size_t bytes, size_t by)
{
    freed_secret(bytes);
    for (size_t i = 0; i < MISUSE_PROBES; i++)
        if (tells_secret(misuse_malloc(bytes / by), bytes / by))
            return MISUSE_SUCCEEDED;
    return MISUSE_WITHOUT_EFFECT;
}

static void *leave_secret(void *bytes)
{
    freed_secret(*(size_t *)bytes);
    return NULL;
}

static misuse_outcome of_ended_thread(size_t bytes, size_t by)
{
    (void)by;
    misuse_in_thread(leave_secret, &bytes);
    for (size_t i = 0; i < MISUSE_PROBES; i++)
        if (tells_secret(misuse_malloc(bytes), bytes))
            return MISUSE_SUCCEEDED;
    return MISUSE_WITHOUT_EFFECT;
}

const misuse_case misuse_read[] = {
    { "read_first_word_of_freed", "read-after-free", word_of_freed, 0 },
    { "read_second_word_of_freed", "read-after-free", word_of_freed, 1 },
    { "read_third_word_of_freed", "read-after-free", word_of_freed, 2 },
    { "read_any_of_freed", "read-after-free", any_of_freed, 0 },
    { "read_any_of_trimmed", "read-after-free", any_of_trimmed, 0 },
    { "read_address_in_freed", "read-after-free", address_in_freed, 0 },
    { "read_fresh_malloc", "fresh", fresh_malloc, 0 },
    { "read_fresh_calloc", "fresh", fresh_calloc, 0 },
    { "read_fresh_aligned", "fresh", fresh_aligned, 64 },
    { "read_fresh_realloc", "fresh", fresh_realloc, 0 },
    { "read_fresh_half", "fresh", fresh_smaller, 2 },
    { "read_shrunk_and_grown", "fresh", shrunk_and_grown, 2 },
    { "read_fresh_of_ended_thread", "fresh", of_ended_thread, 0 },
    { NULL, NULL, NULL, 0 },
};
