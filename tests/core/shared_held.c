/* Chunks that idle threads hold for their next slabs are there for whoever needs memory: at the limit,
 * for a trim, for a lower limit and after a reset. */
#include "emma_threads.h"

enum { THREADS = 40, BLOCKS = 400, BLOCK_BYTES = 1000 };
#define LIMIT_BYTES (8 * TEST_MIB)

static emma *instance;
static pthread_barrier_t barrier;

/* Opens and closes slabs, so that the thread's heap holds chunks. */
static void churn(void)
{
    void *blocks[BLOCKS];
    size_t count = 0;
    while (count < BLOCKS && (blocks[count] = emma_malloc(instance, BLOCK_BYTES)))
        count++;
    while (count > 0)
        emma_free(instance, blocks[--count]);
}

static void *idle(void *arg)
{
    (void)arg;
    churn();
    pthread_barrier_wait(&barrier); /* all have churned */
    pthread_barrier_wait(&barrier); /* the main thread is done */
    return NULL;
}

/* Opens and closes more slabs than a heap may hold; returns what of their memory is for all to take. */
static size_t churn_much(void)
{
    static void *blocks[8 * BLOCKS];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        emma_free(instance, blocks[i]);
    return test_stats(instance).retained_bytes;
}

/* After a trim took what the heap held, it holds as much again. */
static void hold_again(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    const size_t at_first = churn_much();
    for (int turn = 0; turn < 4; turn++) {
        emma_trim(instance);
        CHECK_LE(churn_much(), at_first);
    }
    emma_destroy(instance);
}

static void use_large(size_t bytes)
{
    void *block = emma_malloc(instance, bytes);
    CHECK(block != NULL);
    memset(block, 0x11, bytes);
    emma_free(instance, block);
}

static void with_idle_threads(void (*body)(void))
{
    pthread_t threads[THREADS];
    instance = test_create(LIMIT_BYTES, EMMA_SHARED);
    void *own = emma_malloc(instance, 16);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, idle, NULL), 0);
    pthread_barrier_wait(&barrier);
    emma_free(instance, own);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    body();
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

/* Two pages of each heap, its head slabs, and what the main thread has. */
#define IDLE_BYTES (THREADS * 40 * TEST_KIB + TEST_MIB)

static void want_most(void)
{
    use_large(LIMIT_BYTES - IDLE_BYTES);
}

static void trim(void)
{
    emma_trim(instance);
    CHECK_LE(test_stats(instance).footprint_bytes, IDLE_BYTES);
}

static void lower_limit(void)
{
    CHECK_EQ(emma_set_limit(instance, IDLE_BYTES), EMMA_OK);
}

static void reset(void)
{
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_LE(test_stats(instance).footprint_bytes, TEST_MIB);
    use_large(LIMIT_BYTES - TEST_MIB);
}

/* What a thread itself holds does not make its own request fail. */
static void run_alone(void)
{
    instance = test_create(LIMIT_BYTES, EMMA_SHARED);
    churn();
    use_large(LIMIT_BYTES - 300 * TEST_KIB);
    emma_destroy(instance);
}

int main(void)
{
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
    hold_again();
    with_idle_threads(want_most);
    with_idle_threads(trim);
    with_idle_threads(lower_limit);
    with_idle_threads(reset);
    run_alone();
    return 0;
}
