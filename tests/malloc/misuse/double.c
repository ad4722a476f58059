/* double.c - blocks that are freed twice. Those of the kind "stale" belong to somebody else when
 * the second free comes, and no allocator can tell it from a rightful one: only late reuse
 * helps. */
#include "misuse.h"

#include <sys/wait.h>
#include <unistd.h>

#define OTHERS      16
#define MOVE_FACTOR 64
#define ALIGNMENT   64

/* Enough blocks for several slabs of any size. */
#define MANY_BYTES ((size_t)4 << 20)
#define MANY_MIN   ((size_t)32)
#define MANY_MAX   ((size_t)4096)

static void *many[MANY_MAX];

static size_t many_count(size_t bytes)
{
    const size_t count = MANY_BYTES / bytes;
    return count < MANY_MIN ? MANY_MIN : count > MANY_MAX ? MANY_MAX : count;
}

static size_t allocate_many(size_t bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        many[i] = misuse_block(bytes);
    return count;
}

static void release_many(size_t count)
{
    for (size_t i = 0; i < count; i++)
        misuse_release(many[i]);
}

static misuse_outcome again(void *block, size_t bytes)
{
    misuse_free(block);
    return misuse_judge(bytes);
}

static misuse_outcome at_once(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_block(bytes);
    misuse_release(block);
    return again(block, bytes);
}

/* Others are freed between the two. */
static misuse_outcome delayed(size_t bytes, size_t by)
{
    void *block = misuse_block(bytes);
    const size_t count = allocate_many(bytes, by);
    misuse_release(block);
    release_many(count);
    return again(block, bytes);
}

/* So many that whole slabs become empty, and may be given back. */
static misuse_outcome in_empty_slab(size_t bytes, size_t by)
{
    const size_t count = allocate_many(bytes, many_count(bytes));
    release_many(count);
    if (by)
        malloc_trim(0);
    return again(many[count / 2], bytes);
}

static misuse_outcome in_full_slab(size_t bytes, size_t by)
{
    (void)by;
    const size_t count = allocate_many(bytes, many_count(bytes));
    misuse_release(many[count / 2]);
    return again(many[count / 2], bytes);
}

static misuse_outcome all_again(size_t bytes, size_t by)
{
    (void)by;
    const size_t count = allocate_many(bytes, many_count(bytes));
    release_many(count);
    for (size_t i = 0; i < count; i++)
        misuse_free(many[i]);
    return misuse_judge(bytes);
}

static misuse_outcome interleaved(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_block(bytes), *other = misuse_block(bytes);
    misuse_release(block);
    misuse_release(other);
    return again(block, bytes);
}

static misuse_outcome trimmed(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_block(bytes);
    misuse_release(block);
    malloc_trim(0);
    return again(block, bytes);
}

static misuse_outcome of_calloc(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_calloc(1, bytes);
    misuse_require(block != NULL);
    misuse_free(block);
    return again(block, bytes);
}

static misuse_outcome of_aligned(size_t bytes, size_t by)
{
    void *block = misuse_aligned_alloc(by, misuse_multiple(bytes, by));
    misuse_require(block != NULL);
    misuse_free(block);
    return again(block, bytes);
}

static misuse_outcome after_realloc_to_zero(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_malloc(bytes);
    void *rest = misuse_realloc(block, 0);
    if (rest) /* a block of no bytes, maybe the same */
        misuse_free(rest);
    return again(block, bytes);
}

static misuse_outcome by_realloc_to_zero(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_block(bytes);
    misuse_release(block);
    misuse_realloc(block, 0);
    return misuse_judge(bytes);
}

/* The new size is another class's, or the same. */
static misuse_outcome by_realloc(size_t bytes, size_t by)
{
    void *block = misuse_block(bytes);
    misuse_release(block);
    void *moved = misuse_realloc(block, bytes * by);
    if (moved)
        misuse_guard(moved, bytes * by);
    return misuse_judge(bytes);
}

static misuse_outcome after_move(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_malloc(bytes);
    misuse_block(bytes);
    void *moved = misuse_realloc(block, bytes * MOVE_FACTOR);
    misuse_require(moved != NULL);
    if (moved == block)
        return MISUSE_NOT_APPLICABLE;
    misuse_watch(moved, bytes * MOVE_FACTOR);
    return again(block, bytes);
}

static misuse_outcome in_child(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_block(bytes);
    misuse_release(block);
    const pid_t child = fork();
    misuse_require(child >= 0);
    if (child == 0)
        return again(block, bytes);
    int status;
    misuse_require(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status))
        return (misuse_outcome)WEXITSTATUS(status);
    abort();
}

/* ---- stale: the block has a new owner ---- */

static misuse_outcome reused(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_block(bytes);
    misuse_release(block);
    misuse_take_again(block, bytes);
    return again(block, bytes);
}

static misuse_outcome reused_and_realloc(size_t bytes, size_t by)
{
    (void)by;
    void *block = misuse_block(bytes);
    misuse_release(block);
    misuse_take_again(block, bytes);
    misuse_realloc(block, bytes * 2);
    return misuse_judge(bytes);
}

/* What was freed is cut into blocks of another size. */
static misuse_outcome reused_by_smaller(size_t bytes, size_t by)
{
    (void)by;
    if (bytes < 2 * sizeof(max_align_t))
        return MISUSE_NOT_APPLICABLE;
    const size_t count = allocate_many(bytes, many_count(bytes));
    release_many(count);
    for (size_t i = 0; i < MISUSE_PROBES; i++)
        misuse_block(bytes / 2);
    for (size_t i = 0; i < count; i++)
        misuse_free(many[i]);
    return misuse_judge(bytes / 2);
}

const misuse_case misuse_double[] = {
    { "double_free_at_once", "double", at_once, 0 },
    { "double_free_delayed", "double", delayed, OTHERS },
    { "double_free_delayed_by_one", "double", delayed, 1 },
    { "double_free_interleaved", "double", interleaved, 0 },
    { "double_free_in_empty_slab", "double", in_empty_slab, false },
    { "double_free_in_empty_slab_trimmed", "double", in_empty_slab, true },
    { "double_free_in_full_slab", "double", in_full_slab, 0 },
    { "double_free_of_all", "double", all_again, 0 },
    { "double_free_trimmed", "double", trimmed, 0 },
    { "double_free_of_calloc", "double", of_calloc, 0 },
    { "double_free_of_aligned_64", "double", of_aligned, ALIGNMENT },
    { "double_free_of_aligned_page", "double", of_aligned, 4096 },
    { "double_free_after_realloc_to_zero", "double", after_realloc_to_zero, 0 },
    { "double_free_by_realloc_to_zero", "double", by_realloc_to_zero, 0 },
    { "realloc_of_freed_same_size", "double", by_realloc, 1 },
    { "realloc_of_freed_larger", "double", by_realloc, 4 },
    { "double_free_after_move", "double", after_move, 0 },
    { "double_free_in_child", "double", in_child, 0 },
    { "free_of_reused", "stale", reused, 0 },
    { "realloc_of_reused", "stale", reused_and_realloc, 0 },
    { "free_of_reused_by_smaller", "stale", reused_by_smaller, 0 },
    { NULL, NULL, NULL, 0 },
};
