/* zero.c - access to blocks of no bytes; so many bytes as a case is run with are read or written.
 * Where realloc frees instead, the access is one to NULL. */
#include "misuse.h"

#define BLOCKS 33

enum maker { BY_MALLOC, BY_CALLOC, BY_CALLOC_OF_NONE, BY_REALLOC, BY_ALIGNED };

static char *make(enum maker maker)
{
    switch (maker) {
    case BY_MALLOC:
        return misuse_malloc(0);
    case BY_CALLOC:
        return misuse_calloc(1, 0);
    case BY_CALLOC_OF_NONE:
        return misuse_calloc(0, 8);
    case BY_ALIGNED:
        return misuse_aligned_alloc(64, 0);
    default:
        return misuse_realloc(misuse_malloc(8), 0);
    }
}

/* Between blocks that an allocator may keep beside it: those of one byte. */
static char *amid_others(enum maker maker)
{
    char *block = NULL;
    for (size_t i = 0; i < BLOCKS; i++) {
        misuse_block(1);
        if (i == BLOCKS / 2)
            block = make(maker);
    }
    return block;
}

static misuse_outcome written(size_t bytes, size_t maker)
{
    char *block = amid_others((enum maker)maker);
    for (size_t i = 0; i < bytes; i++)
        ((volatile char *)block)[i] = MISUSE_STRAY_BYTE;
    misuse_free(block);
    return misuse_judge(1);
}

/* Blocks of 8 bytes around it, whose bytes are to be seen; and those of one that was freed. */
static misuse_outcome read_from(size_t bytes, size_t maker)
{
    char *former[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        former[i] = misuse_block(16);
        misuse_block(16);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        misuse_free(former[i]);
    return misuse_if(misuse_sees_watched(make((enum maker)maker), bytes));
}

static misuse_outcome shared(size_t bytes, size_t maker)
{
    (void)bytes;
    char *one = make((enum maker)maker), *other = make((enum maker)maker);
    return misuse_if(one && one == other);
}

const misuse_case misuse_zero[] = {
    { "write_to_malloc_0", "zero", written, BY_MALLOC },
    { "write_to_calloc_0", "zero", written, BY_CALLOC },
    { "write_to_calloc_of_none", "zero", written, BY_CALLOC_OF_NONE },
    { "write_to_realloc_0", "zero", written, BY_REALLOC },
    { "write_to_aligned_0", "zero", written, BY_ALIGNED },
    { "read_of_malloc_0", "zero", read_from, BY_MALLOC },
    { "read_of_calloc_0", "zero", read_from, BY_CALLOC },
    { "read_of_realloc_0", "zero", read_from, BY_REALLOC },
    { "read_of_aligned_0", "zero", read_from, BY_ALIGNED },
    { "same_malloc_0_twice", "zero", shared, BY_MALLOC },
    { NULL, NULL, NULL, 0 },
};
