/* An instance belongs to no thread: made in one, used in turn by several, destroyed in another; and
 * instances in different threads at the same time do not meet. */
#include "emma_model.h"
#include "emma_threads.h"

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
    const test_thread *self = arg;
    worker *w = &workers[self->number];
    w->rng = self->rng;
    w->steps = test_steps(STEPS);
    model_init(&w->m, test_create(EMMA_UNLIMITED, EMMA_ALIGN8), EMMA_ALIGN8, 1000);
    return work(w);
}

static void *destroy(void *arg)
{
    emma_destroy(arg);
    return NULL;
}

int main(int argc, char **argv)
{
    test_thread threads[THREADS];
    test_threads_start(threads, THREADS, make_and_work, test_choose_seed(argc, argv, 11000));
    test_threads_join(threads, THREADS);
    for (size_t turn = 0; turn < TURNS; turn++) {
        workers[0].steps = test_steps(STEPS) / TURNS + 1;
        test_thread_run(work, &workers[0]);
    }
    for (size_t i = 0; i < THREADS; i++) {
        model_verify(&workers[i].m);
        test_thread_run(destroy, workers[i].m.instance);
    }
    return 0;
}
