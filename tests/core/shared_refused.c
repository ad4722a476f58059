/* test: whole */
/* A shared instance whose limit leaves just so many pages: a thread gets a heap or none, with nothing lost on the way;
 * so does one that comes when all numbers of heaps are given out. A thread without a heap can still free, and its
 * mistakes are told. What a heap holds is no run for which the limit has no pages. */
#include "emma_fault.h"
#include "emma_threads.h"

enum { PAGES_MAX = 24, FREES = 200, RUN_BYTES = EMMAI_SLAB_BYTES };

static emma *instance;
static void *blocks[FREES];
static size_t reports;

static void report(void *arg, emma *from, enum emma_misuse crime, const void *address,
                   const char *message)
{
    (void)arg, (void)from, (void)crime, (void)address, (void)message;
    reports++;
}

static void create(void)
{
    emma_options options = test_options();
    options.flags = EMMA_SHARED;
    options.misuse_handler = report;
    instance = emma_create(&options);
    CHECK(instance != NULL);
}

/* The first heap, which needs a page of the table of heaps, too. */
static void first_heap(void)
{
    size_t refused = 0, none = 0;
    for (size_t more = 0; more < PAGES_MAX; more++) {
        create();
        emmai_control *control = instance->control;
        const size_t before = control->footprint_pages;
        control->limit_pages = before + more;
        void *block = emma_malloc(instance, 100);
        CHECK_LE(control->footprint_pages, before + more);
        refused += !block;
        none += control->heap_count == 0;
        control->limit_pages = SIZE_MAX >> EMMAI_PAGE_SHIFT;
        CHECK_EQ(emma_check(instance), EMMA_OK);
        emma_free(instance, block);
        CHECK(emma_malloc(instance, 100) != NULL);
        emma_destroy(instance);
    }
    CHECK_GT(none, 1);
    CHECK_GT(refused, none);
    CHECK_LT(refused, PAGES_MAX);
}

static void *without_heap(void *arg)
{
    (void)arg;
    CHECK_EQ(emma_malloc(instance, 100), NULL);
    for (size_t i = 0; i < FREES; i++)
        emma_free(instance, blocks[i]);
    return NULL;
}

/* Frees what is no block as often as leads it to ask for a heap once. */
static void *without_heap_wrongly(void *arg)
{
    (void)arg;
    char *young = emmai_origin(instance);
    for (size_t i = 0; i < FREES; i++)
        emma_free(instance, young + 8 * i);
    return NULL;
}

static void no_numbers(void)
{
    create();
    for (size_t i = 0; i < FREES; i++)
        CHECK((blocks[i] = emma_malloc(instance, 100)) != NULL);
    const size_t count = instance->control->heap_count;
    const size_t footprint = instance->control->footprint_pages;
    instance->control->heap_count = EMMAI_HEAPS_MAX;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, without_heap, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(reports, 0);
    CHECK_EQ(pthread_create(&thread, NULL, without_heap_wrongly, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(reports, FREES); /* each is told */
    instance->control->heap_count = count;
    emma_trim(instance);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_LE(instance->control->footprint_pages, footprint + PAGES_MAX);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

/* A held chunk that has one page. */
static void held_run(void)
{
    create();
    enum { SMALL = EMMAI_PAGE_BYTES / 2 };
    void *small = NULL;
    const emmai_slab *slab;
    do { /* the first block of a slab with one page, which is not the head when it is freed */
        small = emma_malloc(instance, SMALL - 64);
        CHECK(small != NULL);
        slab = emmai_slab_of_offset(instance, emmai_offset(instance, small));
    } while (emmai_offset(instance, small) % EMMAI_CHUNK_BYTES != 0 || slab->resident > 1);
    emmai_thread_heap *heap = emmai_shared_heap_at(instance, emmai_slab_owner(instance, slab));
    const size_t chunk = (size_t)emmai_id_of_slab(instance, slab);
    emma_free(instance, small);
    emmai_gate_close(&heap->heap);
    emmai_slab_shed(instance, &heap->heap);
    emmai_leave(&heap->heap);
    emma_trim(instance);
    CHECK_EQ(heap->held, 0);
    /* Taken for the heap, as it is: nothing of it is resident. */
    CHECK_EQ(chunk_use(instance, chunk, 1, chunk, 0), CHUNK_TAKEN);
    held_add(instance, heap, chunk);
    emmai_control *control = instance->control;
    control->limit_pages = control->footprint_pages;
    CHECK_EQ(emma_malloc(instance, RUN_BYTES), NULL);
    control->limit_pages = SIZE_MAX >> EMMAI_PAGE_SHIFT;
    CHECK(emma_malloc(instance, RUN_BYTES) != NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    first_heap();
    no_numbers();
    held_run();
    return 0;
}
