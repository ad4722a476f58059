/* test: whole */
/* Who asks for figures reads lists that other threads are changing. Whatever it finds there - an address outside, one
 * that is no block, a list that bites its tail, a slab that nobody has any more - it counts no more than there
 * is, and comes to an end. So does a walk past a heap that was left in the middle of a call. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { BLOCKS = 61, BLOCK_BYTES = 600, STASHED = 3 };

static emma *instance;
static void *theirs[BLOCKS];
static emmai_slab *own_slab;
static void *own[BLOCKS];

static void *allocate(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((theirs[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    return NULL;
}

/* This thread's heap, with blocks of another's slabs in the stash of a class. */
static emmai_thread_heap *make(emmai_stash **stash)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((own[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    own_slab = emmai_slab_of_offset(instance, emmai_offset(instance, own[BLOCKS - 1]));
    emmai_thread_heap *heap = emmai_shared_heap_at(instance, emmai_slab_owner(instance, own_slab));
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, allocate, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < STASHED; i++)
        emma_free(instance, theirs[i * BLOCKS / STASHED]); /* of several slabs */
    *stash = &heap->stash[own_slab->size_class];
    CHECK(heap->heap.bins[own_slab->size_class] != NULL);
    CHECK_EQ((*stash)->size - (*stash)->room, STASHED);
    return heap;
}

/* The number of live blocks that the figures tell with *place changed. */
static size_t told_with(void **place, void *value)
{
    void *was = *place;
    *place = value;
    const size_t blocks = test_stats(instance).live_blocks;
    *place = was;
    return blocks;
}

static void figures(emmai_thread_heap *heap, emmai_stash *stash)
{
    const size_t live = 2 * BLOCKS - STASHED;
    char *end = emmai_chunk_start(instance, instance->chunk_count - 1);
    char *uncarved = emmai_slab_address(instance, own_slab) +
                     own_slab->carved * emmai_class_bytes(own_slab->size_class);
    CHECK_EQ(test_stats(instance).live_blocks, live);
    void **link = stash->blocks;
    CHECK_EQ(told_with(link, &instance), live + STASHED - 1);
    CHECK_EQ(told_with(link, (char *)*link + 4), live + STASHED - 1);
    CHECK_EQ(told_with(link, end), live + STASHED - 1);
    CHECK_EQ(told_with(link, emmai_origin(instance)), live + STASHED - 1);
    CHECK_LE(told_with(link, link), live);
    if (uncarved + EMMAI_PAGE_BYTES < emmai_slab_address(instance, own_slab) + EMMAI_SLAB_BYTES)
        CHECK_EQ(told_with(link, uncarved), live + STASHED - 1);
    /* The bin of the heap's own blocks. */
    void **bin = heap->heap.bins[own_slab->size_class];
    CHECK_LE(told_with(bin, bin), live);
    CHECK_GE(told_with(bin, (char *)bin + 4), live);
    CHECK_GE(told_with(bin, &instance), live);
}

/* The owner of a slab that another thread is just giving back. */
static void owner_gone(void)
{
    emmai_tag *tag = emmai_tag_of_slab(instance, own_slab);
    const uint16_t owner = tag->owner;
    tag->owner = 0;
    CHECK_LE(test_stats(instance).live_blocks, 2 * BLOCKS + own_slab->carved);
    CHECK_EQ(emma_check(instance), EMMA_CORRUPT);
    tag->owner = owner;
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

static bool count_block(void *arg, void *block, size_t usable)
{
    (void)usable;
    size_t *found = arg;
    ++*found;
    for (size_t i = 0; i < STASHED; i++)
        CHECK(block != theirs[i * BLOCKS / STASHED]);
    return true;
}

/* What its stash has is free, of whichever slab; its own slabs are passed over by emma_check. */
static void left_inside(emmai_thread_heap *heap)
{
    size_t found = 0;
    heap->heap.gate = 0;
    CHECK(emma_walk(instance, count_block, &found));
    CHECK_EQ(found, 2 * BLOCKS - STASHED);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    heap->heap.gate = EMMAI_GATE_OPEN;
}

int main(void)
{
    emmai_stash *stash;
    emmai_thread_heap *heap = make(&stash);
    figures(heap, stash);
    left_inside(heap);
    owner_gone();
    emma_destroy(instance);
    return 0;
}
