/* alternate.c - calls of one thread that go to one shared instance, to two in turn, and to many.
 *
 *     malloc_alternate [--json FD] PAIRS BATCHES
 *
 * Each batch frees and allocates PAIRS times with each number of instances, one after the other, so
 * that what disturbs a batch disturbs all three. The figures are the CPU times of the batches. */
#define _GNU_SOURCE
#include "../bench_child.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emma.h"

#define MANY          64
#define MAX_BATCHES   1000
#define BLOCK_BYTES   40
#define LIMIT_BYTES   ((size_t)64 << 20)
#define COUNT_OF_RUNS 3

const char host_name[] = "malloc_alternate";

typedef struct turn {
    emma *instance;
    void *block; /* of this instance */
} turn;

static const unsigned instance_counts[COUNT_OF_RUNS] = { 1, 2, MANY };
static const char *const figure_names[COUNT_OF_RUNS] = { "one_ns", "two_ns", "many_ns" };
static int64_t batch_ns[COUNT_OF_RUNS][MAX_BATCHES];

static void open_turns(turn *turns)
{
    emma_options options = EMMA_OPTIONS_INIT;
    options.flags = EMMA_SHARED;
    options.limit_bytes = LIMIT_BYTES;
    for (unsigned i = 0; i < MANY; i++) {
        turns[i].instance = emma_create(&options);
        if (turns[i].instance == NULL)
            fail("the kernel refused an instance");
    }
}

/* `instances` is a power of two. */
static int64_t run_pairs(turn *turns, unsigned instances, unsigned pairs)
{
    int64_t from_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned i = 0; i < pairs; i++) {
        turn *turn = &turns[i & (instances - 1)];
        emma_free(turn->instance, turn->block);
        turn->block = emma_malloc(turn->instance, BLOCK_BYTES);
        *(volatile char *)turn->block = 1;
    }
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - from_ns;
}

int main(int argc, char **argv)
{
    static turn turns[MANY];
    if (argc == 5 && strcmp(argv[1], "--json") == 0) {
        json_fd = atoi(argv[2]);
        argv += 2;
        argc -= 2;
    }
    long pairs = argc == 3 ? atol(argv[1]) : 0, batches = argc == 3 ? atol(argv[2]) : 0;
    if (pairs <= 0 || pairs > INT32_MAX || batches <= 0 || batches > MAX_BATCHES)
        fail("usage: malloc_alternate [--json FD] PAIRS BATCHES");
    open_turns(turns);
    for (long batch = -1; batch < batches; batch++) { /* the first warms up, and is written over */
        for (unsigned run = 0; run < COUNT_OF_RUNS; run++)
            batch_ns[run][batch < 0 ? 0 : batch] =
                run_pairs(turns, instance_counts[run], (unsigned)pairs);
    }
    for (unsigned run = 0; run < COUNT_OF_RUNS; run++)
        json_list(figure_names[run], batch_ns[run], (unsigned)batches);
    json_integer("pairs", pairs);
    json_end();
    return EXIT_SUCCESS;
}
