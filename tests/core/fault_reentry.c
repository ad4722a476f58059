/* test: whole */
/* Every entry, called from inside a system call that another entry makes, as a signal handler may:
 * allocations are refused, frees are put off and done by a later call, the rest says that the
 * instance is busy. */
#include "emma_fault.h"
#include "emma_model.h"

enum { SLOTS = 50, STEPS = 4000, SPARE_BLOCKS = 400 };

static model m;
static emma *instance; /* NULL: no re-entry */
static void *to_free[SPARE_BLOCKS];
static size_t freed, inside;

static bool visit_none(void *arg, void *block, size_t bytes)
{
    (void)arg, (void)block, (void)bytes;
    CHECK(false);
    return true;
}

static bool visit_no_chunk(void *arg, const emma_chunk_stats *chunk)
{
    (void)arg, (void)chunk;
    CHECK(false);
    return true;
}

static void reenter(long number)
{
    (void)number;
    if (!instance)
        return;
    inside++;
    void *block = to_free[freed];
    const uint64_t count = test_stats(instance).reentered_count;
    CHECK_EQ(emma_malloc(instance, 10), NULL);
    CHECK_EQ(emma_malloc(instance, 5000), NULL);
    CHECK_EQ(emma_malloc(instance, 500000), NULL);
    CHECK_EQ(emma_calloc(instance, 10, 10), NULL);
    CHECK_EQ(emma_calloc(instance, 10, 100000), NULL);
    CHECK_EQ(emma_aligned_alloc(instance, 64, 10), NULL);
    CHECK_EQ(emma_aligned_alloc(instance, 4096, 10), NULL);
    CHECK_EQ(emma_realloc(instance, NULL, 10), NULL);
    if (block)
        CHECK_EQ(emma_realloc(instance, block, 1000000), NULL);
    CHECK_EQ(emma_check(instance), EMMA_BUSY);
    CHECK_EQ(emma_reset(instance), EMMA_BUSY);
    CHECK(!emma_walk(instance, visit_none, NULL));
    CHECK(!emma_walk_chunks(instance, visit_no_chunk, NULL));
    CHECK_EQ(emma_trim(instance), 0);
    CHECK_GE(test_stats(instance).reentered_count, count + 8);
    if (block && freed + 1 < SPARE_BLOCKS) {
        CHECK(emma_owns(instance, block));
        emma_free(instance, block);
        to_free[freed++] = NULL;
    }
}

int main(void)
{
    test_rng rng = test_rng_from(9000);
    emma *made = test_create(EMMA_UNLIMITED, EMMA_ALIGN8);
    for (size_t i = 0; i < SPARE_BLOCKS; i++) {
        to_free[i] = emma_malloc(made, i * i * 2);
        CHECK(to_free[i] != NULL);
    }
    model_init(&m, made, EMMA_ALIGN8, SLOTS);
    fault.before = reenter;
    const size_t steps = STEPS; /* few of them make a system call */
    for (size_t step = 0; step < steps; step++) {
        instance = made;
        model_random_step(&m, &rng, 2 * TEST_MIB);
        if (step % 100 == 0)
            emma_trim(made);
        instance = NULL;
        fault.clock_ms += 30;
    }
    CHECK_GT(inside, 3);
    CHECK_GT(freed, 3);
    printf("%zu re-entries, %zu frees put off\n", inside, freed);
    model_free_all(&m);
    for (size_t i = freed; i < SPARE_BLOCKS; i++)
        emma_free(made, to_free[i]);
    emma_free(made, emma_malloc(made, 1));
    emma_free(made, emma_malloc(made, 100000));
    CHECK_EQ(test_stats(made).live_blocks, 0);
    CHECK_EQ(emma_check(made), EMMA_OK);
    emma_destroy(made);
    return 0;
}
