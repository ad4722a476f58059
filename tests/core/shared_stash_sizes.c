/* test: whole plain tiny */
/* What a stash may hold doubles when it was full and is halved when little was in it, but not below what it is at
 * first; few blocks do not become a bin, as many as pay do. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { BYTES = 16, BLOCKS = 4000 };

static emma *instance;
static void *theirs[BLOCKS];
static size_t used; /* of them */
static emmai_stash *stash;
static emmai_heap *own;
static unsigned size_class;

static void *allocate(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((theirs[i] = emma_malloc(instance, BYTES)) != NULL);
    return NULL;
}

static void free_theirs(size_t count)
{
    for (size_t i = 0; i < count; i++)
        emma_free(instance, theirs[used++]);
}

static size_t stashed(void)
{
    return (size_t)stash->size - stash->room;
}

/* Allocates once with the bin empty. */
static void refill(void)
{
    while (own->bins[size_class])
        CHECK(emma_malloc(instance, BYTES) != NULL);
    CHECK(emma_malloc(instance, BYTES) != NULL);
}

/* As if all others in the stash had been used. */
static void keep(size_t count)
{
    list_cut(instance, &stash->blocks, &count);
    stash_resize(stash, stash->size, count);
}

int main(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    const void *first = emma_malloc(instance, BYTES);
    const emmai_slab *slab = emmai_slab_of_offset(instance, emmai_offset(instance, first));
    size_class = slab->size_class;
    own = emmai_shared_heap_of(instance, slab);
    stash = &emmai_thread_heap_of(own)->stash[size_class];
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, allocate, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);

    const size_t least = stash_first(size_class);
    CHECK_EQ(stash->size, 0);
    free_theirs(STASH_BIN_LEAST);
    CHECK_EQ(stash->size, least);
    CHECK_EQ(stashed(), STASH_BIN_LEAST);
    CHECK_EQ(STASH_BIN(least), STASH_BIN_LEAST);
    refill(); /* so many are not more than an eighth */
    CHECK_EQ(stashed(), STASH_BIN_LEAST);

    free_theirs(least - STASH_BIN_LEAST + 1);
    CHECK_EQ(stash->size, 2 * least);
    refill(); /* it was full */
    CHECK_EQ(stash->size, 2 * least);
    emmai_stash_give_back(instance, own);
    free_theirs(1);
    CHECK_EQ(stash->size, least);
    refill(); /* was full, as it is at first */
    refill();
    CHECK_EQ(stash->size, least); /* not below */

    free_theirs(least);
    CHECK_EQ(stash->size, 2 * least);
    refill();
    keep(1);
    refill();
    CHECK_EQ(stash->size, least);

    while (stash->size < stash_most(instance, size_class))
        free_theirs(1);
    keep(STASH_BIN(stash->size));
    refill();
    CHECK(!emmai_stash_is_bin(instance, own, size_class));
    free_theirs(1);
    refill();
    CHECK(emmai_stash_is_bin(instance, own, size_class));
    CHECK_EQ(stashed(), 0);
    emma_destroy(instance);
    return 0;
}
