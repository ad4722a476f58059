/* emma_remote.c - blocks that are freed by a thread that does not own their slab.
 *
 * They stay with the heap of the thread that freed them, in a stash for each class. A full stash goes back
 * to the heaps whose slabs its blocks are of: each heap's share as a chain that is put on its
 * `returned` list. But a thread that frees others' blocks all the time and allocates as many, which its
 * stash tells by filling up again and again, uses them itself: the stash becomes the class's bin. Only
 * then, since blocks of one cache line that several threads use make it travel between them.
 *
 * For its slab a block is out (I1) until the owner of the slab takes it back, which it does when one of
 * its bins is empty.
 *
 *   returned  any thread adds a chain (release), the owner takes all there is (acquire): a thread that
 *             stops has added its chain or not. Stopped inside, it leaves its heap closed, and with it what
 *             the heap's stashes hold and what it was just taking back
 */
#include "emma_internal.h"

/* What a stash may hold at first, and at most; in a limited instance at most this part of
 * the limit, where that is more than at first. */
#define STASH_FIRST_BYTES ((size_t)2 * EMMAI_KIB)
#define STASH_MOST_BYTES  ((size_t)16 * EMMAI_KIB)
#define STASH_PART        ((size_t)512)
#define STASH_LEAST       ((size_t)2)
#define STASH_MOST        ((size_t)512)
/* So many times as much where it was full and then a bin: the thread allocates as much as it frees. */
#define STASH_GROWTH ((size_t)4)
/* Parts of what it may hold: what stays when it is full; what makes it worth to be a bin; and below what
 * it may hold half as much from then on, unless it was full meanwhile. */
#define STASH_KEPT(size) ((size) / 4)
#define STASH_BIN(size)  ((size) / 8)
#define STASH_FEW(size)  ((size) / 16)

/* ---- chains: blocks of slabs of one heap, linked through their first words ---- */

typedef struct remote_chain {
    void *first;
    void *last;
    uint16_t owner; /* number of the heap */
} remote_chain;

/* Chains that are made up at once; heaps share one by their numbers. */
#define CHAINS 8

/* Gives a chain to its heap. A slab without one is nobody's: what is freed into it was free already. */
static void chain_send(const emma *instance, const remote_chain *chain)
{
    emmai_thread_heap *heap = emmai_shared_heap_at(instance, chain->owner);
    if (!heap) {
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, chain->first);
        return;
    }
    void *before = emmai_sync_get(&heap->returned);
    do
        *(void **)chain->last = before;
    while (!__atomic_compare_exchange_n(&heap->returned, &before, chain->first, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* Adds a block to the chain of its slab's heap; the one that another heap has in its place is sent. */
static void chain_add(const emma *instance, remote_chain *chains, void *block)
{
    uint16_t owner = emmai_sync_get(&emmai_tag_of_block(instance, block)->owner);
    remote_chain *chain = &chains[owner % CHAINS];
    if (chain->first && chain->owner != owner) {
        chain_send(instance, chain);
        chain->first = NULL;
    }
    if (!chain->first) {
        chain->owner = owner;
        chain->last = block;
    }
    *(void **)block = chain->first;
    chain->first = block;
}

/* Sends each block of a list to the heap whose slab it is of. */
static void remote_send_list(const emma *instance, void *block)
{
    if (!block)
        return;
    remote_chain chains[CHAINS];
    emmai_arch_zero(chains, sizeof chains);
    while (block) {
        void *next = *(void **)block;
        chain_add(instance, chains, block);
        block = next;
    }
    for (unsigned i = 0; i < CHAINS; i++)
        if (chains[i].first)
            chain_send(instance, &chains[i]);
}

/* ---- stashes ---- */

_Static_assert(EMMAI_CLASS_COUNT <= 64, "a set of classes is a word");

/* Blocks of a class in so many bytes, as far as a stash may hold as many or few. */
static size_t stash_blocks(unsigned size_class, size_t bytes)
{
    size_t blocks = bytes / emmai_class_bytes(size_class);
    return emmai_min(emmai_max(blocks, STASH_LEAST), STASH_MOST);
}

static size_t stash_first(unsigned size_class)
{
    return stash_blocks(size_class, STASH_FIRST_BYTES);
}

static size_t stash_most(const emma *instance, unsigned size_class)
{
    size_t limit_pages = emmai_footprint_limit_pages(instance->control);
    size_t part = limit_pages / STASH_PART * EMMAI_PAGE_BYTES;
    return emmai_max(stash_blocks(size_class, emmai_min(STASH_MOST_BYTES, part)),
                     stash_first(size_class));
}

/* Changes how many a stash may hold, of which it holds `count`. */
static void stash_resize(emmai_stash *stash, size_t size, size_t count)
{
    stash->size = (uint16_t)size;
    stash->room = (uint16_t)(size - count);
}

static void *stash_take(emmai_stash *stash)
{
    void *blocks = stash->blocks;
    stash->blocks = NULL;
    stash->room = stash->size;
    return blocks;
}

/* Cuts a list behind its first *count blocks, 0 or more, and returns the rest. The list of a stash is shorter
 * than counted where a block in it was freed once more, by its slab's owner; *count then is what it has. */
static void *list_cut(void **list, size_t *count)
{
    size_t kept = 0;
    for (; kept < *count && *list; kept++)
        list = *list;
    *count = kept;
    void *rest = *list;
    *list = NULL;
    return rest;
}

/* Makes room in a stash that has none: what came first goes, and from now on it may hold twice as much,
 * unless the limit has fallen. */
static EMMAI_NOINLINE void stash_make_room(const emma *instance, emmai_heap *heap,
                                           unsigned size_class)
{
    emmai_stash *stash = &emmai_thread_heap_of(heap)->stash[size_class];
    size_t old_size = stash->size;
    size_t most = stash_most(instance, size_class);
    size_t size =
        emmai_max(emmai_min(2 * old_size, emmai_max(old_size, most)), stash_first(size_class));
    size_t kept = STASH_KEPT(old_size);
    void *rest = list_cut(&stash->blocks, &kept);
    stash_resize(stash, size, kept);
    stash->was_full = true;
    emmai_thread_heap_of(heap)->stashed |= (uint64_t)1 << size_class;
    remote_send_list(instance, rest);
}

/* Frees a block of another heap's slab, by a thread that is inside `heap`. */
static inline void emmai_remote_free(const emma *instance, emmai_heap *heap, unsigned size_class,
                                     void *block)
{
    emmai_stash *stash = &emmai_thread_heap_of(heap)->stash[size_class];
    if (EMMAI_UNLIKELY(!stash->room))
        stash_make_room(instance, heap, size_class);
    *(void **)block = stash->blocks;
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* the list is whole wherever the thread stops */
    stash->blocks = block;
    stash->room--;
}

/* The same by a thread that has no heap, or is interrupted inside it. */
static void emmai_remote_free_alone(const emma *instance, const emmai_slab *slab, void *block)
{
    remote_chain chain = { block, block, emmai_slab_owner(instance, slab) };
    chain_send(instance, &chain);
}

/* Makes the class's stash its bin, which is empty, and pops a block; NULL when there is none. */
static void *emmai_remote_take(emmai_heap *heap, unsigned size_class)
{
    void *block = stash_take(&emmai_thread_heap_of(heap)->stash[size_class]);
    if (block)
        heap->bins[size_class] = *(void **)block;
    return block;
}

/* The same, but NULL unless that pays. */
static void *emmai_remote_refill(const emma *instance, emmai_heap *heap, unsigned size_class)
{
    emmai_stash *stash = &emmai_thread_heap_of(heap)->stash[size_class];
    size_t size = stash->size;
    if (EMMAI_LIKELY(!size))
        return NULL;
    size_t count = size - stash->room;
    bool was_full = stash->was_full;
    stash->was_full = false;
    size_t most = stash_most(instance, size_class);
    if (size >= most && count > STASH_BIN(size)) {
        if (was_full) /* room follows when it is taken */
            stash->size = (uint16_t)emmai_min(2 * size, STASH_GROWTH * most);
        return emmai_remote_take(heap, size_class);
    }
    if (!was_full && count < STASH_FEW(size) && size / 2 >= stash_first(size_class))
        stash_resize(stash, size / 2, count);
    return NULL;
}

/* Whether a class's bin was a stash: it is as a whole, or not at all. */
EMMAI_LOOKS_AT_OTHERS static bool bin_is_remote(const emma *instance, const emmai_heap *heap,
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
    remote_send_list(instance, stash_take(stash));
    stash_resize(stash, 0, 0);
    if (!bin_is_remote(instance, heap, size_class))
        return;
    void *blocks = heap->bins[size_class];
    heap->bins[size_class] = NULL;
    remote_send_list(instance, blocks);
}

/* The lowest class in a set of bits, which it is taken out of. */
static unsigned next_class(uint64_t *classes)
{
    unsigned size_class = (unsigned)__builtin_ctzll(*classes);
    *classes &= *classes - 1;
    return size_class;
}

/* Sends all that a heap keeps of other heaps' blocks back. */
static void emmai_remote_give_back(const emma *instance, emmai_heap *heap)
{
    uint64_t *stashed = &emmai_thread_heap_of(heap)->stashed;
    while (*stashed)
        give_back_class(instance, heap, next_class(stashed));
}

/* ---- taking back ---- */

/* Takes back what other threads freed; the caller is inside the heap. A block that cannot be out was freed
 * twice, and what it is linked to may be anything: the rest of the list is lost. */
static void emmai_remote_drain(emma *instance, emmai_heap *heap)
{
    void **returned = &emmai_thread_heap_of(heap)->returned;
    if (!emmai_sync_get(returned))
        return;
    void *block = __atomic_exchange_n(returned, NULL, __ATOMIC_ACQUIRE);
    while (block) {
        void *next = *(void **)block;
        emmai_slab *slab = emmai_slab_of_offset(instance, emmai_offset(instance, block));
        if (EMMAI_UNLIKELY(!emmai_slab_has_out(slab))) {
            emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, block);
            return;
        }
        emmai_slab_free(instance, heap, slab, block);
        block = next;
    }
}

/* Does so for all heaps that are idle, so that every free block is in a list of its slab's or in a bin
 * of its class's head; slabs may be empty now. Only while no other thread uses the instance. */
static void emmai_remote_settle(emma *instance)
{
    for (unsigned step = 0; step < 2; step++) {
        size_t cursor = 0;
        emmai_heap *heap;
        while ((heap = emmai_heap_next(instance, &cursor))) {
            if (!emmai_sync_get(&heap->gate))
                continue;
            emmai_gate_close(heap);
            if (step == 0)
                emmai_remote_give_back(instance, heap);
            else
                emmai_remote_drain(instance, heap);
            emmai_sync_set(&emmai_thread_heap_of(heap)->stocked, true);
            emmai_leave(heap);
        }
    }
}

/* Forgets all: every block of the instance is being freed. */
static void emmai_remote_clear(emmai_heap *heap)
{
    emmai_arch_zero(emmai_thread_heap_of(heap)->stash, sizeof emmai_thread_heap_of(heap)->stash);
    emmai_thread_heap_of(heap)->stashed = 0;
    emmai_thread_heap_of(heap)->returned = NULL;
}

/* ---- looking at them ---- */

/* The class of a carved block; 0 when there is no such block, since another thread changes the list that
 * this was found in. */
EMMAI_LOOKS_AT_OTHERS static unsigned remote_class(const emma *instance, const void *block)
{
    size_t offset = emmai_offset(instance, block);
    size_t chunk = offset >> EMMA_CHUNK_SHIFT;
    if (offset >= instance->region_bytes || offset % EMMAI_CLASS_STEP_BYTES ||
        !emmai_chunk_is_accessible(instance, chunk))
        return 0;
    const emmai_slab *slab = emmai_slab_of_id(instance, (ptrdiff_t)chunk);
    size_t end = slab->carved * emmai_class_bytes(slab->size_class);
    return offset % EMMAI_CHUNK_BYTES < end ? slab->size_class : 0;
}

/* What is done with each block of a list. */
typedef void (*remote_visit)(const emma *instance, const void *block, unsigned size_class,
                             void *arg);

/* Visits the blocks of a list, until *left of all lists are seen: another thread may be changing it, and may
 * tie it to itself. */
EMMAI_LOOKS_AT_OTHERS static void visit_list(const emma *instance, const void *block, size_t *left,
                                             remote_visit visit, void *arg)
{
    unsigned size_class;
    while (block && *left && (size_class = remote_class(instance, block))) {
        visit(instance, block, size_class, arg);
        --*left;
        block = *(void *const *)block;
    }
}

/* More blocks than there can be. */
static size_t visits_max(const emma *instance)
{
    size_t pages = emmai_sync_get(&instance->control->footprint_pages);
    return pages * (EMMAI_PAGE_BYTES / EMMAI_CLASS_STEP_BYTES);
}

/* Visits what a heap has of a class: its stash, and its bin if that was one. */
EMMAI_LOOKS_AT_OTHERS static void visit_class(const emma *instance, emmai_heap *heap,
                                              unsigned size_class, size_t *left, remote_visit visit,
                                              void *arg)
{
    visit_list(instance, emmai_thread_heap_of(heap)->stash[size_class].blocks, left, visit, arg);
    if (bin_is_remote(instance, heap, size_class))
        visit_list(instance, heap->bins[size_class], left, visit, arg);
}

/* A slab, and marks of its free blocks. */
typedef struct slab_marks {
    const emmai_slab *slab;
    uint64_t *marks;
} slab_marks;

static void visit_mark(const emma *instance, const void *block, unsigned size_class, void *arg)
{
    const slab_marks *in = arg;
    size_t offset = (size_t)((const char *)block - emmai_slab_address(instance, in->slab));
    if (offset < in->slab->carved * emmai_class_bytes(in->slab->size_class))
        emmai_bits_set(in->marks, offset / emmai_class_bytes(size_class), 1);
}

static void visit_count(const emma *instance, const void *block, unsigned size_class, void *arg)
{
    (void)instance;
    (void)block;
    ((size_t *)arg)[size_class]++;
}

/* Marks the free blocks of a slab that could not be settled: those that closed heaps have. */
static void emmai_remote_mark(const emma *instance, const emmai_slab *slab, uint64_t *marks)
{
    slab_marks in = { slab, marks };
    size_t left = visits_max(instance);
    size_t cursor = 0;
    emmai_heap *heap;
    while ((heap = emmai_heap_next(instance, &cursor))) {
        if (emmai_sync_get(&heap->gate))
            continue;
        visit_list(instance, emmai_thread_heap_of(heap)->returned, &left, visit_mark, &in);
        visit_class(instance, heap, slab->size_class, &left, visit_mark, &in);
    }
}

/* Adds to `counts`, by class, the blocks that are free but out for their slabs. */
EMMAI_LOOKS_AT_OTHERS static void emmai_remote_count(const emma *instance, size_t *counts)
{
    size_t left = visits_max(instance);
    size_t cursor = 0;
    emmai_heap *heap;
    while ((heap = emmai_heap_next(instance, &cursor))) {
        visit_list(instance, emmai_thread_heap_of(heap)->returned, &left, visit_count, counts);
        uint64_t classes = emmai_thread_heap_of(heap)->stashed;
        while (classes)
            visit_class(instance, heap, next_class(&classes), &left, visit_count, counts);
    }
}
