/* write.c - writes to blocks that were freed. They have an effect where the next owner sees them:
 * in a block that calloc should have zeroed, in bytes that the owner wrote, in another address.
 * A write by which an attacker chooses that address is in attack.c. */
#include "misuse.h"

#define BLOCKS 16
#define ALL    SIZE_MAX

static void stray(char *block, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        ((volatile char *)block)[i] = MISUSE_STRAY_BYTE;
}

/* The first word, or all but that. */
static bool stray_part(char *block, size_t bytes, size_t part)
{
    if (part == 0)
        stray(block, 0, 8);
    else if (bytes > 8)
        stray(block, part == ALL ? 0 : 8, bytes);
    return part == 0 || bytes > 8;
}

/* Freed amid others that stay. */
static char *freed(size_t bytes)
{
    char *block = misuse_amid_others(bytes);
    misuse_release(block);
    return block;
}

static misuse_outcome then_malloc(size_t bytes, size_t part)
{
    return stray_part(freed(bytes), bytes, part) ? misuse_judge(bytes) : MISUSE_NOT_APPLICABLE;
}

static misuse_outcome then_free(size_t bytes, size_t part)
{
    char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = misuse_block(bytes);
    misuse_release(blocks[0]);
    if (!stray_part(blocks[0], bytes, part))
        return MISUSE_NOT_APPLICABLE;
    for (size_t i = 1; i < BLOCKS; i++)
        misuse_release(blocks[i]);
    return misuse_judge(bytes);
}

static bool is_zero(const char *block, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (block[i])
            return false;
    return true;
}

static misuse_outcome calloc_finds(size_t bytes)
{
    for (size_t i = 0; i < BLOCKS; i++)
        if (!is_zero(misuse_calloc(1, bytes), bytes))
            return MISUSE_SUCCEEDED;
    return MISUSE_WITHOUT_EFFECT;
}

static misuse_outcome then_calloc(size_t bytes, size_t part)
{
    return stray_part(freed(bytes), bytes, part) ? calloc_finds(bytes) : MISUSE_NOT_APPLICABLE;
}

/* The only block of its kind, never written while it was live: its pages are untouched. */
static misuse_outcome untouched_then_calloc(size_t bytes, size_t by)
{
    (void)by;
    char *block = misuse_malloc(bytes);
    misuse_free(block);
    stray(block, bytes / 2, bytes);
    return calloc_finds(bytes);
}

static misuse_outcome to_reused(size_t bytes, size_t by)
{
    (void)by;
    char *block = freed(bytes);
    misuse_take_again(block, bytes);
    stray(block, 0, 8);
    return misuse_judge(bytes);
}

static misuse_outcome to_moved(size_t bytes, size_t by)
{
    char *block = misuse_malloc(bytes);
    misuse_block(bytes);
    char *moved = misuse_realloc(block, bytes * by);
    misuse_require(moved != NULL);
    if (moved == block)
        return MISUSE_NOT_APPLICABLE;
    misuse_watch(moved, bytes * by);
    misuse_take_again(block, bytes);
    stray(block, 0, 8);
    return misuse_judge(bytes);
}

/* To the part of a block that a shrink gave away, when it may be another's. */
static misuse_outcome to_shrunk_off(size_t bytes, size_t by)
{
    char *block = misuse_malloc(bytes * by);
    char *shrunk = misuse_realloc(block, bytes);
    misuse_require(shrunk != NULL);
    misuse_watch(shrunk, bytes);
    for (size_t i = 0; i < MISUSE_PROBES; i++)
        misuse_block(bytes);
    stray(block + bytes * (by - 1), 0, 8);
    return misuse_judge(bytes);
}

static misuse_outcome freed_elsewhere(size_t bytes, size_t part)
{
    char *block = misuse_malloc(bytes);
    misuse_block(bytes);
    misuse_free_in_thread(block);
    return stray_part(block, bytes, part) ? misuse_judge(bytes) : MISUSE_NOT_APPLICABLE;
}

const misuse_case misuse_write[] = {
    { "write_first_word_then_malloc", "write-after-free", then_malloc, 0 },
    { "write_later_words_then_malloc", "write-after-free", then_malloc, 1 },
    { "write_all_then_malloc", "write-after-free", then_malloc, ALL },
    { "write_first_word_then_free", "write-after-free", then_free, 0 },
    { "write_later_words_then_free", "write-after-free", then_free, 1 },
    { "write_first_word_then_calloc", "write-after-free", then_calloc, 0 },
    { "write_later_words_then_calloc", "write-after-free", then_calloc, 1 },
    { "write_untouched_then_calloc", "write-after-free", untouched_then_calloc, 0 },
    { "write_to_reused", "write-after-free", to_reused, 0 },
    { "write_to_moved", "write-after-free", to_moved, 64 },
    { "write_to_shrunk_off", "write-after-free", to_shrunk_off, 16 },
    { "write_to_freed_elsewhere", "write-after-free", freed_elsewhere, 0 },
    { "write_later_to_freed_elsewhere", "write-after-free", freed_elsewhere, 1 },
    { NULL, NULL, NULL, 0 },
};
