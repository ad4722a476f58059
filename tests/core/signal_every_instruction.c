/* test: uninstrumented */
/* As tests/storm/signals.c, but with no luck needed: the processor's single-step trap runs the handler after
 * every instruction of the core, so each state that a signal can meet is met. */
#include "emma_step.h"

enum { SLOTS = 48, HANDLER_SLOTS = 16, STEPS = 300, CHECK_EVERY = 101, BALLAST = 8000 };
/* Few classes, so that the handler and what it interrupts often want the same one. */
enum { FEW_CLASSES_BYTES = 40 };

typedef struct block {
    unsigned char *at;
    size_t bytes;
    uint64_t tag;
} block;

static emma *instance;
static block blocks[SLOTS], of_handler[HANDLER_SLOTS];
static void *ballast[BALLAST];
static test_rng handler_rng = { 7 };
static uint64_t traps, refusals;
static unsigned act_every; /* traps between two acts of the handler */

static void handler_allocate(block *b)
{
    const size_t bytes = test_chance(&handler_rng, 97) ? test_below(&handler_rng, FEW_CLASSES_BYTES)
                                                       : test_below(&handler_rng, 50000);
    const bool busy = emma_is_busy(instance);
    b->at = emma_malloc(instance, bytes);
    CHECK_EQ(b->at == NULL, busy);
    refusals += busy;
    b->bytes = bytes;
    b->tag = test_random(&handler_rng);
    if (b->at)
        test_fill(b->at, bytes, b->tag);
}

static void handler_release(block *b)
{
    CHECK(test_filled(b->at, b->bytes, b->tag));
    if (test_chance(&handler_rng, 10)) {
        unsigned char *at = emma_realloc(instance, b->at, 2 * b->bytes);
        if (at) {
            CHECK(test_filled(at, b->bytes, b->tag));
            *b = (block){ at, 2 * b->bytes, b->tag };
            test_fill(at, b->bytes, b->tag);
        }
        return;
    }
    emma_free_sized(instance, b->at, b->bytes);
    b->at = NULL;
}

static void on_trap(int number)
{
    (void)number;
    if (++traps % act_every != 0)
        return;
    if (traps % CHECK_EVERY == 0) {
        const enum emma_status status = emma_check(instance);
        CHECK(status == EMMA_OK || status == EMMA_BUSY);
        return;
    }
    block *b = &of_handler[test_below(&handler_rng, HANDLER_SLOTS)];
    if (b->at)
        handler_release(b);
    else
        handler_allocate(b);
}

/* String instructions trap after each round: a large block would take as many signals as it has
 * bytes. */
static size_t size_for(test_rng *rng)
{
    return test_chance(rng, 90) ? test_below(rng, FEW_CLASSES_BYTES) : test_below(rng, 6000);
}

/* The one call that is interrupted. */
static unsigned char *stepped_allocate(unsigned entry, size_t bytes)
{
    unsigned char *at;
    test_trap_on();
    switch (entry) {
    case 0:
        at = emma_calloc(instance, 1, bytes);
        break;
    case 1:
        at = emma_aligned_alloc(instance, 64, bytes);
        break;
    case 2:
        at = emma_resize(instance, NULL, 0, bytes + 1);
        break;
    case 3:
        at = emma_realloc_sized(instance, NULL, 0, bytes);
        break;
    case 4:
        at = emma_malloc(instance, bytes + 100000);
        break;
    default:
        at = emma_malloc(instance, bytes);
        break;
    }
    test_trap_off();
    return at;
}

static unsigned char *stepped_resize(unsigned entry, const block *b, size_t bytes)
{
    unsigned char *at;
    test_trap_on();
    switch (entry) {
    case 0:
        at = emma_realloc(instance, b->at, bytes);
        break;
    case 1:
        at = emma_resize(instance, b->at, b->bytes, bytes + 1);
        break;
    default:
        at = emma_realloc_sized(instance, b->at, b->bytes, bytes);
        break;
    }
    test_trap_off();
    return at;
}

static void stepped_free(unsigned entry, const block *b)
{
    test_trap_on();
    switch (entry) {
    case 0:
        emma_free_sized(instance, b->at, b->bytes);
        break;
    case 1:
        emma_resize(instance, b->at, b->bytes, 0);
        break;
    default:
        emma_free(instance, b->at);
        break;
    }
    test_trap_off();
}

static void stepped_trim(void)
{
    test_trap_on();
    emma_trim(instance);
    test_trap_off();
}

static void step(test_rng *rng)
{
    enum { ALLOCATE_ENTRIES = 8, OTHER_ENTRIES = 3, RESIZED_MORE_BYTES = 1 };
    block *b = &blocks[test_below(rng, SLOTS)];
    const size_t bytes = size_for(rng);
    if (!b->at) {
        const unsigned entry = (unsigned)test_below(rng, ALLOCATE_ENTRIES);
        unsigned char *at = stepped_allocate(entry, bytes);
        CHECK(at != NULL);
        CHECK(entry != 0 || test_zeroed(at, bytes));
        const size_t more = entry == 2 ? RESIZED_MORE_BYTES : entry == 4 ? 100000 : 0;
        *b = (block){ at, bytes + more, test_random(rng) };
        test_fill(at, b->bytes, b->tag);
    } else if (test_chance(rng, 50)) {
        const unsigned entry = (unsigned)test_below(rng, OTHER_ENTRIES);
        CHECK(test_filled(b->at, b->bytes, b->tag));
        unsigned char *at = stepped_resize(entry, b, bytes);
        CHECK(at != NULL);
        CHECK(test_filled(at, bytes < b->bytes ? bytes : b->bytes, b->tag));
        *b = (block){ at, bytes + (entry == 1 ? RESIZED_MORE_BYTES : 0), test_random(rng) };
        test_fill(at, b->bytes, b->tag);
    } else {
        CHECK(test_filled(b->at, b->bytes, b->tag));
        stepped_free((unsigned)test_below(rng, OTHER_ENTRIES), b);
        b->at = NULL;
    }
    if (test_below(rng, 400) == 0)
        stepped_trim();
}

/* A new instance puts its first blocks into slabs of another kind: they are filled up first. */
static void fill_young(void)
{
    for (size_t i = 0; i < BALLAST; i++) {
        ballast[i] = emma_malloc(instance, i % FEW_CLASSES_BYTES);
        CHECK(ballast[i] != NULL);
    }
    for (size_t i = BALLAST - BALLAST / 8; i < BALLAST; i++) {
        emma_free(instance, ballast[i]);
        ballast[i] = NULL;
    }
}

static void run(unsigned flags, unsigned every, bool young, uint64_t seed)
{
    test_rng rng = test_rng_from(seed);
    instance = test_create(EMMA_UNLIMITED, flags);
    if (!young)
        fill_young();
    act_every = every;
    traps = refusals = 0;
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps; i++)
        step(&rng);
    for (size_t i = 0; i < SLOTS; i++) {
        emma_free(instance, blocks[i].at);
        blocks[i].at = NULL;
    }
    for (size_t i = 0; i < HANDLER_SLOTS; i++) {
        emma_free(instance, of_handler[i].at);
        of_handler[i].at = NULL;
    }
    for (size_t i = 0; i < BALLAST; i++) {
        emma_free(instance, ballast[i]);
        ballast[i] = NULL;
    }
    emma_free(instance, emma_malloc(instance, 1));
    emma_free(instance, emma_malloc(instance, 100000));
    printf("%llu traps, %llu refusals\n", (unsigned long long)traps, (unsigned long long)refusals);
    CHECK_GT(traps, steps);
    CHECK_GT(refusals, 0);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_GE(test_stats(instance).reentered_count, refusals);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

int main(void)
{
    test_trap_to(on_trap);
    run(0, 1, true, 7000);
    run(EMMA_ALIGN8, 1, true, 7001);
    run(0, 1, false, 7002);
    run(EMMA_ALIGN8, 1, false, 7003);
    run(EMMA_ALIGN8, 5, false, 7004); /* the handler's blocks live on through more of the core */
    return 0;
}
