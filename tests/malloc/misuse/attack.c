/* attack.c - what is known of attacks on heaps: by writing where the allocator keeps its state in
 * or beside blocks, an attacker wants memory handed out that is somebody's, or of their choice. */
#include "misuse.h"

#define WORD         sizeof(uintptr_t)
#define BLOCKS       32
#define TARGET_BYTES ((size_t)4096)
#define IN_USE       ((uintptr_t)1)
#define PAGE_SHIFT   12

static _Alignas(64) char target[TARGET_BYTES];
static uintptr_t holder[8]; /* of pointers that are to be changed */

/* Two that are freed one after the other: the second has a link to the first, where links are in
 * blocks. */
typedef struct pair {
    char *first, *second;
} pair;

static pair free_pair(size_t bytes)
{
    pair freed = { misuse_malloc(bytes), misuse_malloc(bytes) };
    misuse_block(bytes);
    misuse_free(freed.first);
    misuse_free(freed.second);
    return freed;
}

static uintptr_t target_link(void)
{
    misuse_guard(target, sizeof target);
    return (uintptr_t)(target + 64);
}

/* ---- links ---- */

static misuse_outcome link_to_target(size_t bytes, size_t word)
{
    if ((word + 1) * WORD > bytes)
        return MISUSE_NOT_APPLICABLE;
    misuse_put(free_pair(bytes).second, word, target_link());
    return misuse_judge(bytes);
}

static misuse_outcome all_words_to_target(size_t bytes, size_t by)
{
    (void)by;
    const pair freed = free_pair(bytes);
    const uintptr_t link = target_link();
    for (size_t i = 0; i < bytes / WORD; i++)
        misuse_put(freed.second, i, link);
    return misuse_judge(bytes);
}

/* By who knows the block's address, and mixes it in as the GNU C library does. */
static misuse_outcome encoded_link(size_t bytes, size_t by)
{
    (void)by;
    const pair freed = free_pair(bytes);
    misuse_put(freed.second, 0, target_link() ^ ((uintptr_t)freed.second >> PAGE_SHIFT));
    return misuse_judge(bytes);
}

/* By who knows what was there for which link, in a code that is an exclusive or of a key. */
static misuse_outcome link_of_known_key(size_t bytes, size_t by)
{
    (void)by;
    const pair freed = free_pair(bytes);
    const uintptr_t found = misuse_get(freed.second, 0);
    misuse_put(freed.second, 0, found ^ (uintptr_t)freed.first ^ target_link());
    return misuse_judge(bytes);
}

static misuse_outcome link_to_live(size_t bytes, size_t by)
{
    (void)by;
    char *live = misuse_block(bytes);
    misuse_put(free_pair(bytes).second, 0, (uintptr_t)live);
    return misuse_judge(bytes);
}

static misuse_outcome link_to_itself(size_t bytes, size_t by)
{
    (void)by;
    const pair freed = free_pair(bytes);
    misuse_put(freed.second, 0, (uintptr_t)freed.second);
    return misuse_judge(bytes);
}

static misuse_outcome link_to_inside(size_t bytes, size_t distance)
{
    if (distance >= bytes)
        return MISUSE_NOT_APPLICABLE;
    char *live = misuse_block(bytes);
    misuse_put(free_pair(bytes).second, 0, (uintptr_t)live + distance);
    return misuse_judge(bytes);
}

/* Of the link's lowest byte, some bits: no address need be known. */
static misuse_outcome partial_link(size_t bytes, size_t bits)
{
    char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = misuse_block(bytes);
    for (size_t i = 0; i < BLOCKS; i += 2)
        misuse_release(blocks[i]);
    volatile unsigned char *low = (volatile unsigned char *)blocks[BLOCKS - 2];
    *low = (unsigned char)(*low ^ bits);
    return misuse_judge(bytes);
}

/* As link_to_target, of blocks that another thread freed. */
static misuse_outcome remote_link(size_t bytes, size_t by)
{
    (void)by;
    char *first = misuse_malloc(bytes), *second = misuse_malloc(bytes);
    misuse_block(bytes);
    misuse_free_in_thread(first);
    misuse_free_in_thread(second);
    misuse_put(second, 0, target_link());
    return misuse_judge(bytes);
}

/* By an overflow out of the block before, which is live. */
static misuse_outcome overflow_into_link(size_t bytes, size_t by)
{
    (void)by;
    char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = misuse_malloc(bytes);
    misuse_free(blocks[BLOCKS / 2 + 2]);
    misuse_free(blocks[BLOCKS / 2]);
    char *live = blocks[BLOCKS / 2 - 1];
    const ptrdiff_t distance = blocks[BLOCKS / 2] - live;
    if (distance < (ptrdiff_t)bytes || distance > (ptrdiff_t)(2 * bytes + 32))
        return MISUSE_NOT_APPLICABLE;
    const uintptr_t link = target_link();
    for (size_t i = bytes / WORD; i <= (size_t)distance / WORD; i++)
        misuse_put(live, i, link);
    return misuse_judge(bytes);
}

/* ---- marks against double frees ---- */

/* The word by which the GNU C library knows a block that is in its cache. */
static misuse_outcome mark_cleared(size_t bytes, size_t by)
{
    (void)by;
    char *block = misuse_block(bytes);
    misuse_release(block);
    misuse_put(block, 1, 0);
    misuse_free(block);
    return misuse_judge(bytes);
}

/* What was in and behind the block before it was freed is put back. */
static misuse_outcome replayed(size_t bytes, size_t by)
{
    static unsigned char image[(size_t)1 << 20];
    const size_t whole = bytes + bytes / 8 + by;
    char *block = misuse_malloc(bytes);
    misuse_block(bytes);
    for (size_t i = 0; i < whole; i++)
        image[i] = ((volatile unsigned char *)block)[i];
    misuse_free(block);
    for (size_t i = 0; i < whole; i++)
        ((volatile unsigned char *)block)[i] = image[i];
    misuse_free(block);
    return misuse_judge(bytes);
}

/* ---- headers, as those of the GNU C library ---- */

/* Three blocks; the one in the middle is told to reach over the last, and freed. */
static misuse_outcome size_grown(size_t bytes, size_t times)
{
    misuse_malloc(bytes);
    char *middle = misuse_malloc(bytes);
    misuse_block(bytes);
    misuse_block(bytes);
    misuse_put(middle - WORD, 0, times * misuse_glibc_size(bytes) | IN_USE);
    misuse_free(middle);
    return misuse_judge(times * misuse_glibc_size(bytes) - WORD);
}

/* The block before is told to be free, so that both are joined. */
static misuse_outcome joined_backwards(size_t bytes, size_t by)
{
    (void)by;
    char *before = misuse_block(bytes), *block = misuse_malloc(bytes);
    misuse_block(bytes);
    misuse_put(block - 2 * WORD, 0, misuse_glibc_size(bytes));
    misuse_put(block - WORD, 0, misuse_get(block - WORD, 0) & ~IN_USE);
    misuse_forget(before); /* its last word was written */
    misuse_guard(before, bytes);
    misuse_free(block);
    return misuse_judge(bytes);
}

/* A free block forged in a live one, whose links, when it is taken out of its list, write. */
static misuse_outcome unlinked(size_t bytes, size_t by)
{
    (void)by;
    if (bytes < 8 * WORD)
        return MISUSE_NOT_APPLICABLE;
    char *live = misuse_malloc(bytes), *block = misuse_malloc(bytes);
    misuse_block(bytes);
    holder[3] = (uintptr_t)live;
    const size_t size = (size_t)(block - 2 * WORD - live);
    misuse_put(live, 0, 0);
    misuse_put(live, 1, size | IN_USE);
    misuse_put(live, 2, (uintptr_t)&holder[0]);
    misuse_put(live, 3, (uintptr_t)&holder[1]);
    misuse_put(block - 2 * WORD, 0, size);
    misuse_put(block - WORD, 0, misuse_get(block - WORD, 0) & ~IN_USE);
    misuse_free(block);
    return holder[3] == (uintptr_t)live ? misuse_judge(bytes) : MISUSE_SUCCEEDED;
}

/* Links of a free block in two directions: at its second, the target's address is to be written. */
static misuse_outcome two_links(size_t bytes, size_t by)
{
    (void)by;
    if (bytes < 2 * WORD)
        return MISUSE_NOT_APPLICABLE;
    char *block = misuse_malloc(bytes);
    misuse_block(bytes);
    misuse_free(block);
    const uintptr_t before = holder[4];
    misuse_put(block, 1, (uintptr_t)&holder[2]);
    const misuse_outcome outcome = misuse_judge(bytes);
    return holder[4] == before ? outcome : MISUSE_SUCCEEDED;
}

/* What is left of the heap is told to be all there is; then a size that reaches the target. */
static misuse_outcome rest_grown(size_t bytes, size_t by)
{
    (void)by;
    char *block = misuse_malloc(bytes);
    const uintptr_t start = (uintptr_t)block + misuse_glibc_size(bytes);
    misuse_put(block + misuse_glibc_size(bytes) - 2 * WORD, 1, UINTPTR_MAX);
    misuse_guard(target, sizeof target);
    misuse_malloc((uintptr_t)target - start - 4 * WORD);
    return misuse_judge(bytes);
}

const misuse_case misuse_attack[] = {
    { "link_to_target", "attack", link_to_target, 0 },
    { "second_word_to_target", "attack", link_to_target, 1 },
    { "all_words_to_target", "attack", all_words_to_target, 0 },
    { "encoded_link_to_target", "attack", encoded_link, 0 },
    { "link_of_known_key", "attack", link_of_known_key, 0 },
    { "link_to_live", "attack", link_to_live, 0 },
    { "link_to_itself", "attack", link_to_itself, 0 },
    { "link_to_inside", "attack", link_to_inside, 16 },
    { "partial_link_16", "attack", partial_link, 16 },
    { "partial_link_128", "attack", partial_link, 128 },
    { "remote_link_to_target", "attack", remote_link, 0 },
    { "overflow_into_link", "attack", overflow_into_link, 0 },
    { "double_free_mark_cleared", "attack", mark_cleared, 0 },
    { "double_free_replayed", "attack", replayed, 16 },
    { "size_grown_twice", "attack", size_grown, 2 },
    { "size_grown_thrice", "attack", size_grown, 3 },
    { "joined_backwards", "attack", joined_backwards, 0 },
    { "unlinked", "attack", unlinked, 0 },
    { "two_links", "attack", two_links, 0 },
    { "rest_grown", "attack", rest_grown, 0 },
    { NULL, NULL, NULL, 0 },
};
