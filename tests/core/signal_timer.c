/* A signal handler that allocates, resizes and frees on the instance that the interrupted code may
 * be inside: its calls are refused or put off then, nothing is corrupted, and what was put off is
 * done later. */
#include "emma_model.h"
#include <sys/time.h>

enum { SECONDS = 2, PERIOD_US = 30, HANDLER_SLOTS = 64, SLOTS = 400 };

static model m;
static emma *volatile instance;
static model_block of_handler[HANDLER_SLOTS];
static test_rng handler_rng = { 99 };
static volatile uint64_t runs, refusals, reentered_checks;

static void handler_step(model_block *block, size_t bytes)
{
    if (!block->at) {
        unsigned char *at = test_chance(&handler_rng, 50) ? emma_malloc(instance, bytes)
                                                          : emma_calloc(instance, 1, bytes);
        refusals += at == NULL;
        if (!at)
            return;
        *block = (model_block){ at, bytes, test_random(&handler_rng) };
        test_fill(at, bytes, block->tag);
        return;
    }
    CHECK(test_filled(block->at, block->bytes, block->tag));
    if (test_chance(&handler_rng, 30)) {
        unsigned char *at = emma_realloc(instance, block->at, bytes);
        refusals += at == NULL;
        if (!at)
            return;
        CHECK(test_filled(at, bytes < block->bytes ? bytes : block->bytes, block->tag));
        block->at = at;
        block->bytes = bytes;
        test_fill(at, bytes, block->tag);
        return;
    }
    emma_free(instance, block->at);
    block->at = NULL;
}

static void on_signal(int number)
{
    (void)number;
    runs++;
    for (int i = 0; i < 3; i++)
        handler_step(&of_handler[test_below(&handler_rng, HANDLER_SLOTS)],
                     test_random_size(&handler_rng, 100000));
    if (test_chance(&handler_rng, 5)) {
        const enum emma_status status = emma_check(instance);
        CHECK(status == EMMA_OK || status == EMMA_BUSY);
        reentered_checks += status == EMMA_BUSY;
    }
}

/* The main code's own figures do not hold while a handler may run: only contents and answers are
 * checked. */
static void run(unsigned flags)
{
    test_rng rng = test_rng_from(flags + 6000);
    instance = test_create(EMMA_UNLIMITED, flags);
    model_init(&m, instance, flags, SLOTS);
    runs = refusals = 0;
    struct sigaction action = { .sa_handler = on_signal };
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    const struct itimerval often = { { 0, PERIOD_US }, { 0, PERIOD_US } };
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (const time_t end = time(NULL) + SECONDS; time(NULL) < end;) {
        for (int i = 0; i < 1000; i++)
            model_random_step(&m, &rng, 300000);
    }
    const struct itimerval never = { { 0, 0 }, { 0, 0 } };
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    signal(SIGALRM, SIG_IGN);

    printf("%llu signals, %llu refusals\n", (unsigned long long)runs, (unsigned long long)refusals);
    CHECK_GT(runs, 100);
    model_free_all(&m);
    for (size_t i = 0; i < HANDLER_SLOTS; i++) {
        if (of_handler[i].at)
            CHECK(test_filled(of_handler[i].at, of_handler[i].bytes, of_handler[i].tag));
        emma_free(instance, of_handler[i].at);
        of_handler[i].at = NULL;
    }
    emma_free(instance, emma_malloc(instance, 1)); /* at the latest this does what was put off */
    emma_free(instance, emma_malloc(instance, 100000));
    const emma_stats stats = test_stats(instance);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_GE(stats.reentered_count, refusals);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    return 0;
}
