/* test: whole */
/* emma_set_limit goes as low as it would after a trim, whatever there is to give back: what free
 * chunks keep, what chunks in use keep idle, slabs that are empty, frees that were put off. */
#include "emma_fault.h"
#include "emma_model.h"

enum { SCENES = 3, BLOCKS = 64, SEEDS = 40, STEPS = 600 };

static model m;
static emma *put_off_in; /* whose blocks a signal handler will free; NULL: it does nothing */
static void *blocks[BLOCKS];

static void free_put_off(long number)
{
    (void)number;
    if (!put_off_in)
        return;
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(put_off_in, blocks[i]);
    put_off_in = NULL;
}

static void malloc_all(emma *instance, size_t bytes)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK((blocks[i] = emma_malloc(instance, bytes)) != NULL);
        memset(blocks[i], 1, bytes);
    }
}

static void shrunk_runs(emma *instance)
{
    malloc_all(instance, 16384 - 16);
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = emma_realloc(instance, blocks[i], 8200)) != NULL);
}

static void empty_slabs(emma *instance)
{
    for (size_t bytes = 16; bytes <= 8000; bytes *= 2) {
        malloc_all(instance, bytes);
        for (size_t i = 0; i < BLOCKS; i++)
            emma_free(instance, blocks[i]);
    }
}

/* By the last call: none comes later that would free in their place. */
static void frees_put_off(emma *instance)
{
    malloc_all(instance, 12000);
    put_off_in = instance;
    CHECK(emma_malloc(instance, EMMAI_HUGE_RUN_BYTES) != NULL); /* gives the kernel advice */
    CHECK_EQ(put_off_in, NULL);
}

static void random_heap(emma *instance, uint64_t seed)
{
    test_rng rng = { seed * 2 + 1 };
    model_init(&m, instance, 0, 200);
    for (size_t i = 0; i < STEPS; i++)
        model_random_step(&m, &rng, 200000);
}

/* The same heap each time that it is asked for: the clock stands still. */
static emma *create(uint64_t scene)
{
    emma *instance = test_create(EMMA_UNLIMITED, 0);
    switch (scene) {
    case 0:
        shrunk_runs(instance);
        break;
    case 1:
        empty_slabs(instance);
        break;
    case 2:
        frees_put_off(instance);
        break;
    default:
        random_heap(instance, scene);
        break;
    }
    return instance;
}

/* The least limit after a trim, and how far that is below the footprint without one. */
static size_t least_limit(uint64_t scene, size_t *trimmed)
{
    emma *instance = create(scene);
    const size_t before = test_stats(instance).footprint_bytes;
    *trimmed = emma_trim(instance);
    const size_t least = test_stats(instance).footprint_bytes;
    CHECK_EQ(least, before - *trimmed);
    CHECK_EQ(emma_set_limit(instance, least - TEST_PAGE_BYTES), EMMA_NO_MEMORY);
    CHECK_EQ(emma_set_limit(instance, least), EMMA_OK);
    emma_destroy(instance);
    return least;
}

int main(void)
{
    fault.before = free_put_off;
    for (uint64_t scene = 0; scene < SCENES + SEEDS; scene++) {
        size_t trimmed;
        const size_t least = least_limit(scene, &trimmed);
        CHECK_GT(trimmed, 0);
        for (size_t above = 0; above <= trimmed; above = 2 * above + TEST_PAGE_BYTES) {
            test_seed = scene;
            emma *instance = create(scene);
            CHECK_EQ(emma_set_limit(instance, least + above), EMMA_OK);
            CHECK_LE(test_stats(instance).footprint_bytes, least + above);
            CHECK_EQ(emma_check(instance), EMMA_OK);
            emma_destroy(instance);
        }
        emma *instance = create(scene);
        CHECK_EQ(emma_set_limit(instance, least - TEST_PAGE_BYTES), EMMA_NO_MEMORY);
        emma_destroy(instance);
    }
    return 0;
}
