/* mix.c - runs one workload of malloc calls in one process; the figures are a JSON object.
 *
 *     malloc_mix [--json FD] WORKLOAD THREADS PERCENT
 *     malloc_mix [--json FD] where
 *
 * PERCENT is the share of the full size; the work is the same however many threads do it. With one
 * thread the process has but one (unless the workload is about creating some). "where" tells only
 * which file serves malloc. A block that is not as it was written ends the program with a message.
 *
 * The figures: operations, the work's wall and CPU time, the process's peak, and the clocks at the
 * start of main, from which the runner reckons to the end of the process. */
#include "mix.h"

#include <stdio.h>
#include <unistd.h>

#define EXIT_USAGE  2
#define PERCENT     100
#define MAX_PERCENT 10000

const char host_name[] = "malloc_mix";

const mix_workload mix_workloads[] = {
    { "own", 9000000, NULL, run_own, NULL },
    { "producer_consumer", 6000000, prepare_queue, run_queue, finish_queue },
    { "cross", 7000000, prepare_slots, run_cross, finish_slots },
    { "larson", 10000000, NULL, run_larson, NULL },
    { "threads", 10000, NULL, run_spawn, NULL },
    { "false_active", 400000, NULL, run_false_active, NULL },
    { "false_passive", 400000, prepare_false_passive, run_false_passive, NULL },
    { "realloc", 6000, NULL, run_realloc, NULL },
    { "large", 2000, NULL, run_large, NULL },
    { "objects", 2000000, prepare_objects, run_objects, NULL },
    { "threadtest", 24000000, NULL, run_threadtest, NULL },
    { "shared_objects", 12000000, prepare_shared_objects, run_shared_objects, NULL },
    { "big_numbers", 20000, NULL, run_big_numbers, NULL },
    { NULL, 0, NULL, NULL, NULL },
};

/* A thread alone in its cache lines, so that none waits for another's counter. */
typedef struct mix_slot {
    _Alignas(2 * CACHE_LINE_BYTES) mix_thread thread;
    const mix_workload *workload;
    pthread_t id;
} mix_slot;

static mix_slot slots[MIX_MAX_THREADS];

static void *run_slot(void *argument)
{
    mix_slot *slot = argument;
    pthread_barrier_wait(slot->thread.barrier); /* all begin together */
    slot->workload->run(&slot->thread);
    return NULL;
}

/* Returns the number of operations. */
static uint64_t run_workload(const mix_workload *workload, unsigned threads, unsigned percent)
{
    pthread_barrier_t barrier;
    must_be_zero(pthread_barrier_init(&barrier, NULL, threads), "pthread_barrier_init");
    void *shared = workload->prepare != NULL ? workload->prepare(threads) : NULL;
    uint64_t share = workload->iterations * percent / PERCENT / threads;
    for (unsigned i = 0; i < threads; i++) {
        mix_thread thread = { .index = i,
                              .count = threads,
                              .iterations = share > 0 ? share : 1,
                              .random = i + 1,
                              .shared = shared,
                              .barrier = &barrier };
        thread.random *= UINT64_C(0x2545f4914f6cdd1d);
        slots[i].thread = thread;
        slots[i].workload = workload;
    }
    for (unsigned i = 1; i < threads; i++)
        must_be_zero(pthread_create(&slots[i].id, NULL, run_slot, &slots[i]), "pthread_create");
    run_slot(&slots[0]);
    for (unsigned i = 1; i < threads; i++)
        must_be_zero(pthread_join(slots[i].id, NULL), "pthread_join");
    if (workload->finish != NULL)
        workload->finish(shared);
    uint64_t operations = 0;
    for (unsigned i = 0; i < threads; i++)
        operations += slots[i].thread.operations;
    return operations;
}

static const mix_workload *find_workload(const char *name)
{
    const mix_workload *workload = mix_workloads;
    while (workload->name != NULL && strcmp(workload->name, name) != 0)
        workload++;
    if (workload->name == NULL)
        fail("there is no workload '%s'", name);
    return workload;
}

static unsigned read_number(const char *what, const char *text, unsigned most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || value == 0 || value > most)
        fail("%s: '%s' is not a number from 1 to %u", what, text, most);
    return (unsigned)value;
}

int main(int argc, char **argv)
{
    stamp start = stamp_now();
    json_fd = STDOUT_FILENO;
    if (argc > 2 && strcmp(argv[1], "--json") == 0) {
        json_fd = (int)read_number("--json", argv[2], 255);
        argv += 2;
        argc -= 2;
    }
    bool where = argc == 2 && strcmp(argv[1], "where") == 0;
    if (!where && argc != 4) {
        fputs("usage: malloc_mix [--json FD] WORKLOAD THREADS PERCENT | where\n", stderr);
        return EXIT_USAGE;
    }
    if (!where) {
        const mix_workload *workload = find_workload(argv[1]);
        unsigned threads = read_number("THREADS", argv[2], MIX_MAX_THREADS);
        unsigned percent = read_number("PERCENT", argv[3], MAX_PERCENT);
        uint64_t operations = run_workload(workload, threads, percent);
        json_phase("run", start, stamp_now());
        json_integer("operations", (int64_t)operations);
        json_integer("start_wall_ns", start.wall_ns);
        json_integer("start_cpu_ns", start.cpu_ns);
        json_memory("at_end", memory_now());
    }
    json_malloc_from();
    json_end();
    return EXIT_SUCCESS;
}
