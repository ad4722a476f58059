/* An instance belongs to no thread: made in one, used in turn by several, destroyed in another; and
 * instances in different threads at the same time do not meet. */
#include "emma_model.h"
#include <pthread.h>

enum { THREADS = 4, STEPS = 100000, TURNS = 8 };

typedef struct worker {
    model m;
    test_rng rng;
    size_t steps;
} worker;

static worker workers[THREADS];

static void *work(void *arg)
{
    worker *w = arg;
    for (size_t i = 0; i < w->steps; i++)
        model_random_step(&w->m, &w->rng, 500000);
    CHECK_EQ(emma_check(w->m.instance), EMMA_OK);
    return NULL;
}

static void *make_and_work(void *arg)
{
    worker *w = arg;
    model_init(&w->m, test_create(EMMA_UNLIMITED, EMMA_ALIGN8), EMMA_ALIGN8, 1000);
    return work(w);
}

static void *destroy(void *arg)
{
    emma_destroy(arg);
    return NULL;
}

static void run_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, body, arg), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    const uint64_t seed = test_choose_seed(argc, argv, 11000);
    for (size_t i = 0; i < THREADS; i++) {
        workers[i].rng = test_rng_from(seed + i);
        workers[i].steps = test_steps(STEPS);
        CHECK_EQ(pthread_create(&threads[i], NULL, make_and_work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    for (size_t turn = 0; turn < TURNS; turn++) {
        workers[0].steps = test_steps(STEPS) / TURNS + 1;
        run_thread(work, &workers[0]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        model_verify(&workers[i].m);
        run_thread(destroy, workers[i].m.instance);
    }
    return 0;
}
