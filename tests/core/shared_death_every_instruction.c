/* test: uninstrumented */
/* A thread of a shared instance dies, by the kernel's own call, after each n-th instruction of an
 * allocation, a free, a resize, a trim, of leaving the instance: the others go on, all contents stay,
 * heaps that it was not inside are taken over, and what is lost with it is bounded, told by emma_stats,
 * and useful again after a reset. */
#include "emma_step.h"
#include "emma_threads.h"
#include <sys/syscall.h>

enum { DEATHS = TEST_CHECKED_BUILD ? 8 : 20, BLOCKS = 24, CHURN_SLOTS = 100, VICTIM_STEPS = 300 };
/* What a thread may take along: the heap that it is inside, the slabs in it, and a run. In these slabs are blocks that
 * it has, and those that the two others freed into that heap and it was just taking back. */
#define LOST_BYTES  (TEST_MIB)
#define LOST_BLOCKS (BLOCKS + 2 + 2 * CHURN_SLOTS)

typedef struct block {
    unsigned char *at;
    size_t bytes;
} block;

static emma *instance;
static block blocks[BLOCKS]; /* the victim's */
static void *remote;         /* this thread's, for the victim to free */
static size_t traps, traps_max;
static bool ending; /* atomic */
static size_t abandoned_ever;

/* ---- what all threads do ---- */

static void churn(block *slots, test_rng *rng)
{
    const size_t i = test_below(rng, CHURN_SLOTS);
    block *b = &slots[i];
    if (b->at)
        CHECK(test_filled(b->at, b->bytes, i));
    emma_free(instance, b->at);
    b->bytes = test_random_size(rng, 20000);
    b->at = emma_malloc(instance, b->bytes);
    CHECK(b->at != NULL);
    test_fill(b->at, b->bytes, i);
}

static void free_churned(block *slots)
{
    for (size_t i = 0; i < CHURN_SLOTS; i++) {
        if (slots[i].at)
            CHECK(test_filled(slots[i].at, slots[i].bytes, i));
        emma_free(instance, slots[i].at);
    }
}

/* ---- what the victim does when it dies ---- */

static void *be_outside(void)
{
    for (size_t i = 0; i < 100; i++)
        __asm__ volatile("nop");
    return NULL;
}

static void *first_call(void)
{
    return emma_malloc(instance, 64);
}

static void *allocate_small(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        emma_malloc(instance, 500);
    return NULL;
}

static void *allocate_medium(void)
{
    return emma_malloc(instance, blocks[0].bytes + 3000);
}

static void *allocate_large(void)
{
    return emma_malloc(instance, 70000);
}

static void *free_own(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, blocks[i].at);
    return NULL;
}

static void *free_remote(void)
{
    emma_free(instance, remote);
    remote = NULL;
    return NULL;
}

static void *resize(void)
{
    return emma_realloc(instance, blocks[0].at, 9000);
}

static void *trim(void)
{
    emma_trim(instance);
    return NULL;
}

static void *detach(void)
{
    emma_thread_detach(instance);
    return NULL;
}

typedef struct act {
    const char *name;
    void *(*run)(void);
    bool first;         /* the thread has no heap yet */
    bool frees_remote;  /* or not */
    size_t frees_count; /* of the blocks, the first so many, or not */
} act;

static const act acts[] = {
    { "be outside", be_outside, false, false, 0 },
    { "first call", first_call, true, false, 0 },
    { "allocate small", allocate_small, false, false, 0 },
    { "allocate medium", allocate_medium, false, false, 0 },
    { "allocate large", allocate_large, false, false, 0 },
    { "free own", free_own, false, false, BLOCKS },
    { "free remote", free_remote, false, true, 0 },
    { "resize", resize, false, false, 1 },
    { "trim", trim, false, false, 0 },
    { "detach", detach, false, false, 0 },
};

static void on_trap(int number)
{
    (void)number;
    if (++traps == traps_max)
        syscall(SYS_exit, 0);
}

static void *be_victim(void *arg)
{
    const act *a = arg;
    test_rng rng = { 1 + traps_max };
    block slots[CHURN_SLOTS] = { { NULL, 0 } };
    for (size_t i = 0; i < VICTIM_STEPS && !a->first; i++)
        churn(slots, &rng); /* whatever heap it has taken over must be sound */
    free_churned(slots);
    for (size_t i = 0; i < BLOCKS && !a->first; i++) {
        blocks[i].bytes = 100 + i * i * 10;
        blocks[i].at = emma_malloc(instance, blocks[i].bytes);
        CHECK(blocks[i].at != NULL);
        test_fill(blocks[i].at, blocks[i].bytes, i);
    }
    test_trap_on();
    a->run();
    test_trap_off();
    return NULL;
}

/* ---- the others ---- */

static void *go_on(void *arg)
{
    test_thread *self = arg;
    block slots[CHURN_SLOTS] = { { NULL, 0 } };
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED)) {
        for (size_t i = 0; i < 200; i++)
            churn(slots, &self->rng);
        usleep(1000);
    }
    free_churned(slots);
    return NULL;
}

/* Lets a thread die after so many instructions of an act; false if it ended before. */
static bool kill_one(const act *a, size_t after, block *slots, test_rng *rng)
{
    traps = 0;
    traps_max = after;
    memset(blocks, 0, sizeof blocks);
    remote = emma_malloc(instance, 200);
    test_thread_run(be_victim, (void *)(uintptr_t)a);
    if (!a->frees_remote)
        emma_free(instance, remote);
    for (size_t i = a->frees_count; i < BLOCKS; i++) {
        if (blocks[i].at)
            CHECK(test_filled(blocks[i].at, blocks[i].bytes, i));
        emma_free(instance, blocks[i].at);
    }
    for (size_t i = 0; i < 50; i++)
        churn(slots, rng);
    return traps == after;
}

/* What the dead left is there again after a reset, also for a thread that is killed once more. */
static void reset_all(const act *a, block *slots, test_rng *rng)
{
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).abandoned_bytes, 0);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    test_compare_chunks(instance); /* no page is counted that nobody has */
    memset(slots, 0, CHURN_SLOTS * sizeof slots[0]);
    CHECK(kill_one(a, 1, slots, rng));
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

/* All in an instance of its own: what the dead leave makes later calls longer. Returns how many died. */
static size_t kill_many(const act *a, uint64_t seed)
{
    test_rng rng = test_rng_from(seed);
    block slots[CHURN_SLOTS] = { { NULL, 0 } };
    test_thread other;
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    ending = false;
    test_threads_start(&other, 1, go_on, seed + 1);
    kill_one(a, 0, slots, &rng); /* counts */
    const size_t stride = 1 + traps / test_scaled(DEATHS);
    const size_t before = test_stats(instance).footprint_bytes;
    size_t deaths = 0, after = 1 + test_below(&rng, stride);
    for (; deaths < 2 * test_scaled(DEATHS) && kill_one(a, after, slots, &rng); after += stride)
        deaths++;
    const size_t now = test_stats(instance).footprint_bytes;
    const size_t lost_max = a->run == be_outside ? 0 : deaths * LOST_BYTES;
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    test_threads_join(&other, 1);
    emma_trim(instance);
    const size_t settled = test_stats(instance).footprint_bytes;
    const size_t abandoned = test_stats(instance).abandoned_bytes;
    printf(
        "%s: %zu deaths, every %zu instructions, %zu KiB more, %zu after a trim, %zu abandoned\n",
        a->name, deaths, stride, now > before ? (now - before) / TEST_KIB : 0,
        settled > before ? (settled - before) / TEST_KIB : 0, abandoned / TEST_KIB);
    /* With what is idle, and without. */
    CHECK_LE(now, before + 2 * TEST_MIB + lost_max);
    CHECK_LE(settled, before + TEST_MIB + lost_max);
    CHECK_LE(abandoned, lost_max);
    abandoned_ever += abandoned;
    free_churned(slots);
    /* Those that did not die keep what they allocated, too: the first and the last. */
    CHECK_LE(test_stats(instance).live_blocks, (deaths + 2) * LOST_BLOCKS);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    reset_all(a, slots, &rng);
    emma_destroy(instance);
    return deaths;
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 39000);
    size_t deaths = 0;
    test_trap_to(on_trap);
    for (size_t i = 0; i < TEST_COUNT(acts); i++)
        deaths += kill_many(&acts[i], seed + 2 * i);
    CHECK_GT(deaths, test_scaled(5) * TEST_COUNT(acts));
    CHECK_GT(abandoned_ever, 0);
    return 0;
}
