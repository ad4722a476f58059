/* emma_stash.c - what a thread keeps of the blocks that it freed and that are of others' slabs.
 *
 * They stay with its heap, in a stash for each class. A full stash sends most of them home (emma_remote.c).
 * But a thread that frees others' blocks all the time and allocates as many, which its stash tells by filling
 * up again and again, uses them itself: the stash becomes the class's bin. Only then, since blocks of one
 * cache line that several threads use make it travel between them; and only where there are many, since
 * each may keep a slab in use that is otherwise empty. */
#include "emma_internal.h"

/* What a stash may hold at first; when it filled up again and again, but no more than this part of the limit;
 * and when it then was a bin again and again, but no more than this part of the footprint. */
#define STASH_FIRST_BYTES ((size_t)2 * EMMAI_KIB)
#define STASH_MOST_BYTES  ((size_t)8 * EMMAI_KIB)
#define STASH_MOST_PART   ((size_t)512)
#define STASH_GROWN_BYTES ((size_t)32 * EMMAI_KIB)
#define STASH_GROWN_PART  ((size_t)256)
#define STASH_LEAST       ((size_t)2)
/* Parts of what it may hold: what stays when it is full; what makes it worth to be a bin, and at least so
 * many; and below what it may hold half as much from then on, unless it was full meanwhile. */
#define STASH_KEPT(size) ((size) / 4)
#define STASH_BIN(size)  ((size) / 8)
#define STASH_BIN_LEAST  ((size_t)16)
#define STASH_FEW(size)  ((size) / 16)

_Static_assert(EMMAI_CLASS_COUNT <= 64, "a set of classes is a word");

/* Blocks of a class in so many bytes, but not fewer than a stash holds. */
static size_t stash_blocks(unsigned size_class, size_t bytes)
{
    return emmai_max(bytes / emmai_class_bytes(size_class), STASH_LEAST);
}

static size_t stash_first(unsigned size_class)
{
    return stash_blocks(size_class, STASH_FIRST_BYTES);
}

/* As many as fit into a part of `pages`, in `bytes` at most, but not fewer than at first. */
static size_t stash_part(unsigned size_class, size_t pages, size_t part, size_t bytes)
{
    size_t share = pages / part * EMMAI_PAGE_BYTES;
    return stash_blocks(size_class, emmai_max(emmai_min(bytes, share), STASH_FIRST_BYTES));
}

static size_t stash_most(const emma *instance, unsigned size_class)
{
    size_t pages = emmai_footprint_limit_pages(instance->control);
    return stash_part(size_class, pages, STASH_MOST_PART, STASH_MOST_BYTES);
}

static size_t stash_grown(const emma *instance, unsigned size_class)
{
    size_t pages = emmai_sync_get(&instance->control->footprint_pages);
    return stash_part(size_class, pages, STASH_GROWN_PART, STASH_GROWN_BYTES);
}

/* What a stash may hold that held so many: twice as many, unless that is above `most`. */
static size_t stash_doubled(unsigned size_class, size_t size, size_t most)
{
    return size ? emmai_max(size, emmai_min(2 * size, most)) : stash_first(size_class);
}

/* Changes how many a stash may hold, of which it holds `count`. */
static void stash_resize(emmai_stash *stash, size_t size, size_t count)
{
    stash->size = (uint16_t)size;
    stash->room = (uint16_t)(size - count);
}

static void *stash_empty(emmai_stash *stash)
{
    void *blocks = stash->blocks;
    stash->blocks = NULL;
    stash->room = stash->size;
    return blocks;
}

/* Cuts a list behind its first *count blocks, 0 or more, and returns the rest. The list of a stash is shorter
 * than counted where a block in it was freed once more, by its slab's owner; *count then is what it has. */
static void *list_cut(const emma *instance, void **list, size_t *count)
{
    void *last = NULL;
    void *rest = *list;
    size_t kept = 0;
    for (; kept < *count && rest; kept++) {
        last = rest;
        rest = emmai_link_get(instance, rest);
    }
    *count = kept;
    if (last)
        emmai_link_set(instance, last, NULL);
    else
        *list = NULL;
    return rest;
}

/* Makes room in a stash that has none: what came first goes, and from now on it may hold twice as much. */
static EMMAI_NOINLINE void stash_make_room(const emma *instance, emmai_heap *heap,
                                           unsigned size_class)
{
    emmai_stash *stash = &emmai_thread_heap_of(heap)->stash[size_class];
    size_t old_size = stash->size;
    size_t kept = STASH_KEPT(old_size);
    void *rest = list_cut(instance, &stash->blocks, &kept);
    size_t most = stash_most(instance, size_class);
    stash_resize(stash, stash_doubled(size_class, old_size, most), kept);
    stash->was_full = true;
    emmai_thread_heap_of(heap)->stashed |= (uint64_t)1 << size_class;
    emmai_remote_send(instance, heap, size_class, rest);
}

/* Frees a block of another heap's slab, by a thread that is inside `heap`. */
static inline void emmai_stash_free(const emma *instance, emmai_heap *heap, unsigned size_class,
                                    void *block)
{
    emmai_stash *stash = &emmai_thread_heap_of(heap)->stash[size_class];
    if (EMMAI_UNLIKELY(!stash->room))
        stash_make_room(instance, heap, size_class);
    emmai_link_set(instance, block, stash->blocks);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* the list is whole wherever the thread stops */
    stash->blocks = block;
    stash->room--;
}

/* Makes the class's stash its bin, which is empty, and pops a block; NULL when there is none. */
static void *emmai_stash_take(const emma *instance, emmai_heap *heap, unsigned size_class)
{
    void *block = stash_empty(&emmai_thread_heap_of(heap)->stash[size_class]);
    if (block)
        heap->bins[size_class] = emmai_link_get(instance, block);
    return block;
}

/* The same, but NULL unless that pays. */
static void *emmai_stash_refill(const emma *instance, emmai_heap *heap, unsigned size_class)
{
    emmai_stash *stash = &emmai_thread_heap_of(heap)->stash[size_class];
    size_t size = stash->size;
    if (EMMAI_LIKELY(!size))
        return NULL;
    size_t count = size - stash->room;
    bool was_full = stash->was_full;
    stash->was_full = false;
    if (count >= STASH_BIN_LEAST && count > STASH_BIN(size) &&
        size >= stash_most(instance, size_class)) {
        size_t most = stash_grown(instance, size_class);
        if (was_full) /* room follows when it is taken */
            stash->size = (uint16_t)stash_doubled(size_class, size, most);
        return emmai_stash_take(instance, heap, size_class);
    }
    if (!was_full && count < STASH_FEW(size) && size / 2 >= stash_first(size_class))
        stash_resize(stash, size / 2, count);
    return NULL;
}

/* Whether a class's bin was a stash: it is as a whole, or not at all. */
EMMAI_LOOKS_AT_OTHERS static bool emmai_stash_is_bin(const emma *instance, const emmai_heap *heap,
                                                     unsigned size_class)
{
    const void *block = heap->bins[size_class];
    return block &&
           emmai_slab_of_offset(instance, emmai_offset(instance, block)) != heap->heads[size_class];
}

/* Takes all that a heap keeps of a class's blocks of other heaps, bin or stash; sends it back. */
static void give_back_class(const emma *instance, emmai_heap *heap, unsigned size_class)
{
    emmai_stash *stash = &emmai_thread_heap_of(heap)->stash[size_class];
    emmai_remote_send(instance, heap, size_class, stash_empty(stash));
    stash_resize(stash, 0, 0);
    if (!emmai_stash_is_bin(instance, heap, size_class))
        return;
    void *blocks = heap->bins[size_class];
    heap->bins[size_class] = NULL;
    emmai_remote_send(instance, heap, size_class, blocks);
}

/* The lowest class in a set of bits, which it is taken out of. */
static unsigned emmai_stash_next_class(uint64_t *classes)
{
    unsigned size_class = (unsigned)__builtin_ctzll(*classes);
    *classes &= *classes - 1;
    return size_class;
}

/* Sends all that a heap keeps of other heaps' blocks back. */
static void emmai_stash_give_back(const emma *instance, emmai_heap *heap)
{
    uint64_t *stashed = &emmai_thread_heap_of(heap)->stashed;
    while (*stashed)
        give_back_class(instance, heap, emmai_stash_next_class(stashed));
    emmai_remote_send_off(instance, heap);
}
