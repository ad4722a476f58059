/* Many shared instances times many threads, made and destroyed again and again, also at the same
 * address: no thread takes one for another, and maps, descriptors and memory do not grow. */
#include "emma_threads.h"

enum { INSTANCES = 100, THREADS = 8, CYCLES = 20, BLOCKS = 3 };

static emma *instances[INSTANCES];
static pthread_barrier_t barrier;
static size_t cycles;

static void use(emma *instance, test_rng *rng)
{
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        const size_t bytes = test_random_size(rng, 2000);
        blocks[i] = emma_malloc(instance, bytes);
        CHECK(blocks[i] != NULL && emma_owns(instance, blocks[i]));
        test_fill(blocks[i], bytes, i);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, blocks[i]);
}

/* The first thread makes and destroys, all use. */
static void *work(void *arg)
{
    const size_t self = ((test_thread *)arg)->number;
    test_rng rng = ((test_thread *)arg)->rng;
    for (size_t cycle = 0; cycle < cycles; cycle++) {
        if (self == 0)
            for (size_t i = 0; i < INSTANCES; i++)
                instances[i] = test_create(2 * TEST_MIB, EMMA_SHARED);
        pthread_barrier_wait(&barrier);
        for (size_t i = 0; i < INSTANCES; i++)
            use(instances[(i * (self + 1)) % INSTANCES], &rng);
        pthread_barrier_wait(&barrier);
        if (self == 0)
            for (size_t i = 0; i < INSTANCES; i++) {
                CHECK_EQ(test_stats(instances[i]).live_blocks, 0);
                emma_destroy(instances[i]);
            }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void run(size_t count)
{
    test_thread threads[THREADS];
    cycles = count;
    test_threads_start(threads, THREADS, work, 35000);
    test_threads_join(threads, THREADS);
}

static size_t count_mappings(test_maps *maps)
{
    maps->count = 0;
    test_maps_read(maps);
    return maps->count;
}

static size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%*u %lu", &pages) == 1);
    fclose(file);
    return pages * TEST_PAGE_BYTES;
}

int main(void)
{
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    run(2);
    static test_maps maps;
    const size_t mappings = count_mappings(&maps);
    const size_t resident = resident_bytes();
    const uint64_t descriptors = test_descriptors();
    run(test_scaled(CYCLES));
    CHECK_EQ(test_descriptors(), descriptors);
    if (TEST_SHADOW_MEMORY)
        return 0;
    /* The C library keeps some threads' stacks and heaps, now these, now those. */
    CHECK_LE(count_mappings(&maps), mappings + 2 * THREADS);
    CHECK_LE(resident_bytes(), resident + 2 * TEST_MIB);
    return 0;
}
