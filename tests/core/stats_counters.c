/* test: races */
/* Counters of a local instance can be read by any thread while its owner uses it: each is right, nothing behind
 * them is written, and the owner is not disturbed. */
#include "emma_model.h"
#include "emma_threads.h"

#include <stdatomic.h>
#include <stddef.h>

enum { STEPS = 4000, SLOTS = 200, LIMITS = 2, READS_LEAST = 100, MARK = 0xa5 };

static const size_t limits[LIMITS] = { 8 * TEST_MIB, 12 * TEST_MIB };

static emma *instance;
static atomic_bool ends;
static atomic_size_t reads;

/* Nothing is written behind the counters. */
static emma_stats counters_of(const emma *of)
{
    union {
        emma_stats stats;
        unsigned char bytes[sizeof(emma_stats)];
    } out;
    memset(&out, MARK, sizeof out);
    out.stats.struct_bytes = EMMA_STATS_COUNTERS_BYTES;
    emma_get_stats(of, &out.stats);
    CHECK_EQ(out.stats.struct_bytes, EMMA_STATS_COUNTERS_BYTES);
    for (size_t i = EMMA_STATS_COUNTERS_BYTES; i < sizeof out; i++)
        CHECK_EQ(out.bytes[i], MARK);
    return out.stats;
}

static void *read_counters(void *arg)
{
    emma_stats before = counters_of(instance);
    (void)arg;
    while (!atomic_load(&ends)) {
        const emma_stats now = counters_of(instance);
        CHECK(now.limit_bytes == limits[0] || now.limit_bytes == limits[1]);
        CHECK_EQ(now.soft_limit_bytes, EMMA_UNLIMITED);
        CHECK_EQ(now.reserve_bytes, before.reserve_bytes);
        CHECK_GT(now.footprint_bytes, 0);
        CHECK_LE(now.footprint_bytes, limits[1]);
        CHECK_LE(now.metadata_bytes, limits[1]);
        CHECK_LE(now.retained_bytes, limits[1]);
        CHECK_LE(now.checkpoint_bytes, limits[1]);
        CHECK_GE(now.peak_footprint_bytes, before.peak_footprint_bytes);
        CHECK_LE(now.peak_footprint_bytes, limits[1]);
        CHECK_GE(now.moved_bytes, before.moved_bytes);
        CHECK_GE(now.returned_bytes, before.returned_bytes);
        CHECK_GE(now.refused_count, before.refused_count);
        CHECK_EQ(now.reentered_count, 0);
        before = now;
        atomic_fetch_add(&reads, 1);
    }
    return NULL;
}

/* What is not a step of the model. */
static void disturb(test_rng *rng, unsigned *level, bool checkpoints)
{
    switch (test_below(rng, 4)) {
    case 0:
        emma_trim(instance);
        break;
    case 1:
        emma_set_limit(instance, limits[test_below(rng, LIMITS)]);
        break;
    case 2:
        if (checkpoints && !*level)
            emma_checkpoint(instance, level);
        break;
    default:
        if (*level && emma_checkpoint_drop(instance, *level) == EMMA_OK)
            *level = 0;
    }
}

static void run(unsigned flags, uint64_t seed)
{
    static model m;
    test_rng rng = test_rng_from(seed);
    unsigned level = 0;
    instance = test_create(limits[0], flags);
    model_init(&m, instance, flags & EMMA_ALIGN8, SLOTS);
    m.may_refuse = true;
    atomic_store(&ends, false);
    atomic_store(&reads, 0);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, read_counters, NULL), 0);
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps || atomic_load(&reads) < READS_LEAST; i++) {
        model_random_step(&m, &rng, 200000);
        if (test_below(&rng, 40) == 0)
            disturb(&rng, &level, flags & EMMA_CHECKPOINTS);
    }
    atomic_store(&ends, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    printf("%zu reads\n", atomic_load(&reads));

    const emma_stats all = test_stats(instance);
    const emma_stats counters = counters_of(instance);
    CHECK_EQ(memcmp(&all.limit_bytes, &counters.limit_bytes,
                    EMMA_STATS_COUNTERS_BYTES - offsetof(emma_stats, limit_bytes)),
             0);
    CHECK_GT(all.live_blocks, 0);
    CHECK_GT(all.moved_bytes, 0);
    model_free_all(&m);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

/* A rollback, of which the model knows nothing. */
static void roll_back(void)
{
    unsigned level;
    instance = test_create(limits[0], EMMA_CHECKPOINTS);
    void *kept = emma_malloc(instance, 100 * TEST_KIB);
    CHECK(kept != NULL);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    atomic_store(&ends, false);
    atomic_store(&reads, 0);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, read_counters, NULL), 0);
    const size_t rounds = test_steps(STEPS / 10);
    for (size_t i = 0; i < rounds || atomic_load(&reads) < READS_LEAST; i++) {
        for (size_t bytes = 16; bytes < 200 * TEST_KIB; bytes *= 3) {
            void *block = emma_malloc(instance, bytes);
            CHECK(block != NULL);
            test_fill(block, bytes, i);
        }
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    }
    atomic_store(&ends, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 4100);
    run(0, seed);
    run(EMMA_ALIGN8, seed + 1);
    run(EMMA_CHECKPOINTS, seed + 2);
    roll_back();
    return 0;
}
