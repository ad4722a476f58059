/* Threads with a sandbox each, killed at random: whatever runs just then, each goes on after a rollback. */
#include "sandbox_victim.h"

#include "../core/emma_threads.h"

enum { THREADS = 4, RANDOM_MS = 700 };

static victim victims[THREADS];
static unsigned levels[THREADS];
static atomic_bool over;

static void *run_at_random(void *arg)
{
    static const char *const texts[] = { "while true do end", VICTIM_C_LOOP,
                                         "for i = 1, 999 do end", "while true do pcall(error) end",
                                         "while true do ('x'):rep(9999):gsub('.', '%0%0') end" };
    test_thread *self = arg;
    victim *v = &victims[self->number];
    while (!atomic_load(&over)) {
        const char *text = texts[test_below(&self->rng, TEST_COUNT(texts))];
        const enum emma_sandbox_status status = sandbox_test_run(v->sandbox, text);
        CHECK(status == EMMA_SANDBOX_KILLED || status == EMMA_SANDBOX_DONE ||
              status == EMMA_SANDBOX_DEADLINE);
        CHECK_EQ(emma_sandbox_rollback(v->sandbox, levels[self->number]), EMMA_SANDBOX_DONE);
        CHECK_EQ(emma_check(emma_sandbox_instance(v->sandbox)), EMMA_OK);
    }
    return NULL;
}

int main(void)
{
    test_thread threads[THREADS];
    test_rng rng = test_rng_from(9);
    struct timespec start, now;
    uint64_t killed = 0;
    for (size_t i = 0; i < THREADS; i++) {
        victims[i] = victim_create(SANDBOX_TEST_DEADLINE_US * 10);
        CHECK_EQ(emma_sandbox_checkpoint(victims[i].sandbox, &levels[i]), EMMA_SANDBOX_DONE);
    }
    test_threads_start(threads, THREADS, run_at_random, 1);
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        emma_sandbox_kill(victims[test_below(&rng, THREADS)].sandbox);
        usleep((useconds_t)test_below(&rng, 2 * VICTIM_WAIT_US));
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
             RANDOM_MS);
    atomic_store(&over, true);
    test_threads_join(threads, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        killed += sandbox_test_stats(victims[i].sandbox).calls[EMMA_SANDBOX_KILLED];
        emma_sandbox_destroy(victims[i].sandbox);
    }
    CHECK_GT(killed, THREADS);
    return 0;
}
