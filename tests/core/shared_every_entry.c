/* Threads call every entry that any thread may call at any time, at the same time, in one shared
 * instance with a soft limit that is crossed again and again: each gets what the header promises. */
#include "emma_model.h"
#include "emma_threads.h"

enum { THREADS = 4, STEPS = 12000, SLOTS = 100, LARGEST = 300000 };
#define SOFT_BYTES (2 * TEST_MIB)

static emma *instance;
static model models[THREADS];
static size_t steps;
static unsigned crossed; /* atomic */

static void on_limit(void *arg, emma *one, bool over)
{
    (void)arg, (void)over;
    CHECK_EQ(one, instance);
    CHECK_GT(test_stats(one).footprint_bytes, 0);
    __atomic_add_fetch(&crossed, 1, __ATOMIC_RELAXED);
}

static void call_another(test_rng *rng)
{
    emma_class_stats kind = { .struct_bytes = sizeof kind };
    switch (test_below(rng, 7)) {
    case 0:
        emma_trim(instance);
        break;
    case 1:
        emma_thread_detach(instance);
        break;
    case 2:
        CHECK_EQ(emma_set_limit(instance, 256 * TEST_MIB), EMMA_OK);
        break;
    case 3:
        CHECK_EQ(emma_set_limit(instance, EMMA_UNLIMITED), EMMA_OK);
        break;
    case 4:
        CHECK_EQ(emma_use_spare(instance, test_chance(rng, 50)), EMMA_OK);
        break;
    case 5:
        CHECK_LE(SOFT_BYTES, test_stats(instance).soft_limit_bytes);
        break;
    default:
        CHECK(emma_get_class_stats(instance, (unsigned)test_below(rng, 30), &kind));
        break;
    }
}

static void *work(void *arg)
{
    test_thread *self = arg;
    model *m = &models[self->number];
    for (size_t i = 0; i < steps; i++) {
        model_random_step(m, &self->rng, LARGEST);
        if (i % 10 == 0)
            call_another(&self->rng);
        if (i % 1000 == 999)
            model_free_all(m);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    test_thread threads[THREADS];
    const uint64_t seed = test_choose_seed(argc, argv, 41000);
    emma_options options = test_options();
    options.flags = EMMA_SHARED;
    options.soft_limit_bytes = SOFT_BYTES;
    options.spare_bytes = TEST_MIB;
    options.limit_handler = on_limit;
    options.name = "entries";
    instance = emma_create(&options);
    CHECK(instance != NULL);
    for (size_t i = 0; i < THREADS; i++) {
        model_init(&models[i], instance, options.flags, SLOTS);
        models[i].next_tag = i << 32;
    }
    steps = test_steps(STEPS);
    test_threads_start(threads, THREADS, work, seed);
    test_threads_join(threads, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        model_free_all(&models[i]);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_GT(crossed, 0);
    emma_destroy(instance);
    return 0;
}
