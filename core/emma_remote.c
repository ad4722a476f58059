/* emma_remote.c - blocks on their way home: those that a thread freed that does not own their slab.
 *
 * A thread that frees another's block keeps it first (emma_stash.c). What it does not keep goes into its
 * heap's outbox, whatever the class: a chain for each heap that owns some. When enough is in it, each chain is
 * put on the `returned` list of its heap, whose owner takes all there is back when one of its bins is empty. Until
 * then a block is out for its slab (I1).
 *
 *   returned  any thread adds a chain (release), the owner takes all there is (acquire): a thread that
 *             stops has added its chain, or lost it. Stopped inside, it leaves its heap closed, and with it what
 *             the heap's stashes and outbox hold and what it was just taking back
 */
#include "emma_internal.h"

/* What an outbox may hold; no more than this part of the limit. */
#define OUTBOX_BYTES ((size_t)16 * EMMAI_KIB)
#define OUTBOX_PART  ((size_t)256)

/* ---- sending ---- */

/* Gives a chain to its heap. A slab without one is nobody's: what is freed into it was free already. */
static void chain_send(const emma *instance, const emmai_chain *chain)
{
    emmai_thread_heap *heap = emmai_shared_heap_at(instance, chain->owner);
    if (!heap) {
        emmai_misuse(instance, EMMA_MISUSE_DOUBLE_FREE, chain->first);
        return;
    }
    void *before = emmai_sync_get(&heap->returned);
    do
        emmai_link_set(instance, chain->last, before);
    /* By chance in tests: another thread sends a chain, or the owner takes them. */
    while (!__atomic_compare_exchange_n(&heap->returned, &before, chain->first, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* Sends a chain of an outbox, which forgets it first: a thread that stops in between loses it, rather than
 * that its blocks are in two places. */
static void chain_send_off(const emma *instance, emmai_chain *chain)
{
    emmai_chain leaving = *chain;
    chain->first = NULL;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    chain_send(instance, &leaving);
}

/* Adds a block to the chain of its slab's heap; the one that another heap has in its place is sent. */
static void chain_add(const emma *instance, emmai_chain *chains, void *block)
{
    uint16_t owner = emmai_sync_get(&emmai_tag_of_block(instance, block)->owner);
    emmai_chain *chain = &chains[owner % EMMAI_CHAINS];
    if (chain->first && chain->owner != owner)
        chain_send_off(instance, chain);
    if (!chain->first) {
        chain->owner = owner;
        chain->last = block;
    }
    emmai_link_set(instance, block, chain->first);
    chain->first = block;
}

/* Sends what is in a heap's outbox. */
static void emmai_remote_send_off(const emma *instance, emmai_heap *heap)
{
    emmai_thread_heap *owner = emmai_thread_heap_of(heap);
    owner->outbox_bytes = 0;
    for (unsigned i = 0; i < EMMAI_CHAINS; i++)
        if (owner->outbox[i].first)
            chain_send_off(instance, &owner->outbox[i]);
}

/* Puts the blocks of a list, all of one class, into the heap's outbox, and sends that off when it is full. */
static void emmai_remote_send(const emma *instance, emmai_heap *heap, unsigned size_class,
                              void *block)
{
    emmai_thread_heap *owner = emmai_thread_heap_of(heap);
    size_t limit_pages = emmai_footprint_limit_pages(instance->control);
    while (block) {
        void *next = emmai_link_get(instance, block);
        chain_add(instance, owner->outbox, block);
        owner->outbox_bytes += emmai_class_bytes(size_class);
        block = next;
    }
    if (owner->outbox_bytes >=
        emmai_min(OUTBOX_BYTES, limit_pages / OUTBOX_PART * EMMAI_PAGE_BYTES))
        emmai_remote_send_off(instance, heap);
}

/* Frees a block by a thread that has no heap, or is interrupted inside it. */
static void emmai_remote_free_alone(const emma *instance, const emmai_slab *slab, void *block)
{
    emmai_chain chain = { block, block, emmai_slab_owner(instance, slab) };
    chain_send(instance, &chain);
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
        void *next = emmai_link_get(instance, block);
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
                emmai_stash_give_back(instance, heap);
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
    emmai_thread_heap *owner = emmai_thread_heap_of(heap);
    emmai_arch_zero(owner->stash, sizeof owner->stash);
    emmai_arch_zero(owner->outbox, sizeof owner->outbox);
    owner->outbox_bytes = 0;
    owner->stashed = 0;
    owner->returned = NULL;
}

/* ---- looking at them ---- */

/* The class of a carved block; 0 when there is no such block, since another thread changes the list that
 * this was found in. */
EMMAI_LOOKS_AT_OTHERS static unsigned remote_class(const emma *instance, const void *block)
{
    size_t offset = emmai_offset(instance, block);
    size_t chunk = offset >> EMMA_CHUNK_SHIFT;
    if (offset % EMMAI_CLASS_STEP_BYTES ||
        !emmai_chunk_is_accessible(instance, chunk)) /* nor is what lies outside the region */
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
        block = emmai_link_peek(instance, block);
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
    if (emmai_stash_is_bin(instance, heap, size_class))
        visit_list(instance, heap->bins[size_class], left, visit, arg);
}

/* Visits the blocks that are on their way between heaps. */
EMMAI_LOOKS_AT_OTHERS static void visit_under_way(const emma *instance, emmai_heap *heap,
                                                  size_t *left, remote_visit visit, void *arg)
{
    const emmai_thread_heap *owner = emmai_thread_heap_of(heap);
    visit_list(instance, owner->returned, left, visit, arg);
    for (unsigned i = 0; i < EMMAI_CHAINS; i++)
        visit_list(instance, owner->outbox[i].first, left, visit, arg);
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
        visit_under_way(instance, heap, &left, visit_mark, &in);
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
        visit_under_way(instance, heap, &left, visit_count, counts);
        uint64_t classes = emmai_thread_heap_of(heap)->stashed;
        while (classes)
            visit_class(instance, heap, emmai_stash_next_class(&classes), &left, visit_count,
                        counts);
    }
}
