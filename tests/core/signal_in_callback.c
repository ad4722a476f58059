/* test: whole */
/* A limit handler may call emma_set_limit and the like; a signal handler that interrupts that very
 * call may not: it is told that the instance is busy, and the instance is sound afterwards. */
#include "emma_fault.h"

enum { RUNS = 24, RUN_BYTES = 1 << 20, SOFT_RUNS = 14 };

static emma *instance;
static void *runs[RUNS];
static bool over_now;    /* the next call of the limit handler lowers the limit */
static bool in_callback; /* its emma_set_limit is inside */
static size_t signals, callbacks;

static void on_signal(int number)
{
    (void)number;
    signals++;
    CHECK_EQ(emma_set_limit(instance, 13 * TEST_MIB), EMMA_BUSY);
    CHECK_EQ(emma_set_soft_limit(instance, 13 * TEST_MIB), EMMA_BUSY);
    CHECK_EQ(emma_use_spare(instance, true), EMMA_BUSY);
    CHECK_EQ(emma_check(instance), EMMA_BUSY);
    CHECK_EQ(emma_malloc(instance, 10), NULL);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
}

static void interrupt(long number)
{
    if (in_callback && number == SYS_madvise)
        raise(SIGUSR1);
}

static void lower(void *arg, emma *from, bool over)
{
    (void)arg;
    if (!over || !over_now)
        return;
    over_now = false;
    callbacks++;
    in_callback = true;
    CHECK_EQ(emma_set_limit(from, 12 * TEST_MIB), EMMA_OK);
    in_callback = false;
    CHECK_GE(test_stats(from).large_blocks, RUNS / 4); /* this is a callback still */
    CHECK_EQ(emma_use_spare(from, false), EMMA_OK);
}

/* Runs that are live, free ones that keep memory, and a footprint just below the soft limit. */
static void prepare(void)
{
    for (size_t i = 0; i < RUNS; i++) {
        CHECK((runs[i] = emma_malloc(instance, RUN_BYTES - 64)) != NULL);
        test_fill(runs[i], RUN_BYTES - 64, i);
    }
    for (size_t i = RUNS / 2; i < RUNS; i++)
        emma_free(instance, runs[i]);
    emma_trim(instance);
    for (size_t i = 0; i < RUNS / 2; i += 2)
        emma_free(instance, runs[i]);
}

int main(void)
{
    signal(SIGUSR1, on_signal);
    fault.before = interrupt;
    emma_options options = test_options();
    options.limit_bytes = 64 * TEST_MIB;
    options.soft_limit_bytes = SOFT_RUNS * TEST_MIB;
    options.limit_handler = lower;
    options.reserve_bytes = TEST_GIB;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    prepare();
    CHECK_LT(test_stats(instance).footprint_bytes, SOFT_RUNS * TEST_MIB);
    CHECK_GE(test_stats(instance).retained_bytes, RUNS / 4 * (RUN_BYTES - TEST_KIB * 16));
    over_now = true;
    emma_malloc(instance, 3 * RUN_BYTES);
    printf("%zu callbacks, %zu signals\n", callbacks, signals);
    CHECK_EQ(callbacks, 1);
    CHECK_GT(signals, 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).limit_bytes, 12 * TEST_MIB);
    CHECK_LE(test_stats(instance).footprint_bytes, 12 * TEST_MIB);
    for (size_t i = 1; i < RUNS / 2; i += 2)
        CHECK(test_filled(runs[i], RUN_BYTES - 64, i));
    emma_destroy(instance);
    return 0;
}
