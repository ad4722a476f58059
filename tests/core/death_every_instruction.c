/* test: uninstrumented */
/* A thread dies, by the kernel's own call, after each n-th instruction of every call that works on an instance: what
 * must hold then stands in emma_calls.h. In a shared instance many die one after the other while another thread
 * goes on, which takes over the heaps that they were not inside: what is lost with them is bounded, told by
 * emma_stats, and useful again after a reset. */
#include "emma_calls.h"
#include <sys/syscall.h>

enum {
    DEATHS = TEST_CHECKED_BUILD ? 10 : 25,
    RETRIES_MAX = 10,
    TRAPS = 12000,
    CHURN_SLOTS = 100,
    VICTIM_STEPS = 300
};
/* Beside blocks of its own a thread may take along those that others freed into its heap and it was taking back. */
#define LOST_CHURNED (BLOCKS + LOST_BLOCKS + LOST_REMOTE + 2 * CHURN_SLOTS)

typedef struct churned {
    unsigned char *at;
    size_t bytes;
} churned;

static const call *current;
static unsigned kind_of_victim;
static uint64_t seed;
static test_rng rng;
static bool ending; /* atomic */

static void on_trap(int number)
{
    (void)number;
    if (!leave_is_due())
        return;
    if (kind_of_victim != SHARED) /* there, those who died before left something abandoned, too */
        note_stop(current);
    left = true;
    syscall(SYS_exit, 0);
}

/* ---- in an instance for each death ---- */

static void *be_victim(void *arg)
{
    prepare(arg, kind_of_victim);
    make(arg);
    release_result();
    return NULL;
}

static void die_once(const call *c, unsigned kind)
{
    kind_of_victim = kind;
    set_up(kind);
    test_thread_run(be_victim, (void *)(uintptr_t)c);
    after(c, kind);
}

/* ---- in one for all of them ---- */

static void churn(churned *slots, test_rng *own)
{
    const size_t i = test_below(own, CHURN_SLOTS);
    churned *b = &slots[i];
    if (b->at)
        CHECK(test_filled(b->at, b->bytes, i));
    emma_free(instance, b->at);
    b->bytes = test_random_size(own, 20000);
    b->at = emma_malloc(instance, b->bytes);
    CHECK(b->at != NULL);
    test_fill(b->at, b->bytes, i);
}

static void free_churned(churned *slots)
{
    for (size_t i = 0; i < CHURN_SLOTS; i++) {
        if (slots[i].at)
            CHECK(test_filled(slots[i].at, slots[i].bytes, i));
        emma_free(instance, slots[i].at);
    }
}

/* Whatever heap the victim has taken over must be sound. */
static void *be_busy_victim(void *arg)
{
    const call *c = arg;
    test_rng own = { 1 + leaves_at };
    churned slots[CHURN_SLOTS] = { { NULL, 0 } };
    for (size_t i = 0; i < VICTIM_STEPS && !(c->flags & FIRST); i++)
        churn(slots, &own);
    free_churned(slots);
    return be_victim(arg);
}

static void *go_on_beside(void *arg)
{
    test_thread *self = arg;
    churned slots[CHURN_SLOTS] = { { NULL, 0 } };
    while (!__atomic_load_n(&ending, __ATOMIC_RELAXED)) {
        for (size_t i = 0; i < 200; i++)
            churn(slots, &self->rng);
        usleep(1000);
    }
    free_churned(slots);
    return NULL;
}

/* Lets a thread die after so many instructions of a call; false if it ended before. */
static bool die_among_others(const call *c, size_t after, churned *slots)
{
    leaves_at = after;
    left = false;
    memset(blocks, 0, sizeof blocks);
    allocate_theirs();
    test_thread_run(be_busy_victim, (void *)(uintptr_t)c);
    verify_all();
    free_all(blocks, BLOCKS);
    free_all(theirs, THEIRS);
    for (size_t i = 0; i < 50; i++)
        churn(slots, &rng);
    return left;
}

/* What the dead left is there again after a reset, also for a thread that dies once more. */
static void reset_all(const call *c, churned *slots)
{
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).abandoned_bytes, 0);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    test_compare_chunks(instance); /* no page is counted that nobody has */
    memset(slots, 0, CHURN_SLOTS * sizeof slots[0]);
    CHECK(die_among_others(c, 1, slots));
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

/* What the dead leave makes later calls longer. */
static void die_often_among_others(const call *c)
{
    churned slots[CHURN_SLOTS] = { { NULL, 0 } };
    test_thread beside;
    kind_of_victim = SHARED;
    set_up(SHARED);
    free_all(theirs, THEIRS);
    ending = false;
    test_threads_start(&beside, 1, go_on_beside, seed);
    die_among_others(c, 0, slots); /* counts */
    const size_t usual = leaves_of(traps, DEATHS, TRAPS);
    size_t stride = 1 + traps / usual;
    const size_t before = test_stats(instance).footprint_bytes;
    size_t deaths = 0, after = 1 + test_below(&rng, stride);
    for (size_t i = 0; i < usual || (deaths == 0 && i < usual + RETRIES_MAX); i++) {
        if (die_among_others(c, after, slots)) {
            deaths++;
            after += stride;
        } else { /* it may have been shorter than the one before */
            stride = 1 + traps / usual;
            after = 1 + test_below(&rng, stride);
        }
    }
    const size_t now = test_stats(instance).footprint_bytes;
    const size_t lost_max = c->run == call_none ? 0 : deaths * LOST_BYTES;
    __atomic_store_n(&ending, true, __ATOMIC_RELAXED);
    test_threads_join(&beside, 1);
    emma_trim(instance);
    const size_t settled = test_stats(instance).footprint_bytes;
    const size_t abandoned = test_stats(instance).abandoned_bytes;
    printf("among others, %s: %zu deaths, every %zu instructions, %zu KiB more, %zu after a trim, "
           "%zu abandoned\n",
           c->name, deaths, stride, now > before ? (now - before) / TEST_KIB : 0,
           settled > before ? (settled - before) / TEST_KIB : 0, abandoned / TEST_KIB);
    CHECK_GT(deaths, 0);
    /* With what is idle, and without. */
    CHECK_LE(now, before + 2 * TEST_MIB + lost_max);
    CHECK_LE(settled, before + TEST_MIB + lost_max);
    CHECK_LE(abandoned, lost_max);
    abandoned_count += abandoned != 0;
    free_churned(slots);
    CHECK_LE(test_stats(instance).live_blocks, deaths * LOST_CHURNED);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    reset_all(c, slots);
    emma_destroy(instance);
}

static void die_often(const call *c, unsigned kind)
{
    current = c;
    if (kind == SHARED && !(c->flags & ALONE))
        die_often_among_others(c);
    else
        leave_often(c, kind, die_once, &rng);
}

int main(int argc, char **argv)
{
    seed = test_choose_seed(argc, argv, 39000);
    rng = test_rng_from(seed);
    test_trap_to(on_trap);
    for_each_call(die_often);
    print_stops();
    CHECK(busy_count && there_count && gone_count);
    CHECK(abandoned_count || TEST_SLOW_BUILD);
    return 0;
}
