/* test: uninstrumented */
/* As signal_every_instruction, in three shared instances: a handler that runs after every instruction of a
 * thread's first allocation, of allocating, resizing, freeing what is its own and what is another's,
 * trimming, leaving the instance and taking over a heap that was left, is served, in the
 * instance that it interrupts and in others, and all contents stay. */
#include "emma_step.h"
#include "emma_threads.h"

enum { LIVES = 3, STEPS = 6, SLOTS = 40, HANDLER_SLOTS = 16, FEW_CLASSES_BYTES = 40 };
/* A thread that leaves the instance leaves all its heaps, and handlers that never stop give it ever
 * more of them. */
enum { ACTS_MAX = 3000 };

enum { INSTANCES = 3 }; /* one more than a thread remembers */

typedef struct block {
    emma *from;
    unsigned char *at;
    size_t bytes;
    uint64_t tag;
} block;

static emma *instances[INSTANCES];
static block blocks[SLOTS], of_handler[HANDLER_SLOTS];
static test_rng handler_rng;
static uint64_t traps;
static unsigned act_every; /* traps between two acts of the handler */
static unsigned acts;      /* of the handler, in this call */

static size_t size_for(test_rng *rng)
{
    return test_chance(rng, 92) ? test_below(rng, FEW_CLASSES_BYTES) : test_below(rng, 6000);
}

static emma *any(test_rng *rng)
{
    return instances[test_below(rng, INSTANCES)];
}

static void set(block *b, unsigned char *at, size_t bytes, uint64_t tag)
{
    CHECK(at != NULL);
    b->at = at;
    b->bytes = bytes;
    b->tag = tag;
    test_fill(at, bytes, tag);
}

static void verify(const block *b)
{
    CHECK(test_filled(b->at, b->bytes, b->tag));
}

static void handler_act(void)
{
    block *b = &of_handler[test_below(&handler_rng, HANDLER_SLOTS)];
    const size_t bytes = size_for(&handler_rng);
    if (!b->at) {
        b->from = any(&handler_rng);
        set(b, emma_malloc(b->from, bytes), bytes, test_random(&handler_rng));
        return;
    }
    verify(b);
    if (test_chance(&handler_rng, 10)) {
        unsigned char *at = emma_realloc(b->from, b->at, bytes);
        CHECK(at && test_filled(at, bytes < b->bytes ? bytes : b->bytes, b->tag));
        set(b, at, bytes, b->tag);
        return;
    }
    emma_free(b->from, b->at);
    b->at = NULL;
}

static void on_trap(int number)
{
    (void)number;
    if (++traps % act_every == 0 && ++acts <= ACTS_MAX)
        handler_act();
}

static void stepped_begin(void)
{
    acts = 0;
    test_trap_on();
}

static unsigned char *stepped_allocate(emma *instance, unsigned entry, size_t bytes)
{
    unsigned char *at;
    stepped_begin();
    switch (entry) {
    case 0:
        at = emma_calloc(instance, 1, bytes);
        break;
    case 1:
        at = emma_aligned_alloc(instance, 64, bytes);
        break;
    case 2:
        at = emma_malloc(instance, bytes + 100000);
        break;
    default:
        at = emma_malloc(instance, bytes);
        break;
    }
    test_trap_off();
    return at;
}

static unsigned char *stepped_resize(const block *b, size_t bytes)
{
    stepped_begin();
    unsigned char *at = emma_realloc(b->from, b->at, bytes);
    test_trap_off();
    return at;
}

static void stepped_free(const block *b)
{
    stepped_begin();
    emma_free(b->from, b->at);
    test_trap_off();
}

static void stepped_trim(emma *instance)
{
    stepped_begin();
    emma_trim(instance);
    test_trap_off();
}

static void stepped_detach(emma *instance)
{
    stepped_begin();
    emma_thread_detach(instance);
    test_trap_off();
}

/* One call, on a block that any of the threads may have allocated. */
static void step(test_rng *rng)
{
    enum { ALLOCATE_ENTRIES = 10 };
    block *b = &blocks[test_below(rng, SLOTS)];
    const size_t bytes = size_for(rng);
    if (!b->at) {
        b->from = any(rng);
        const unsigned entry = (unsigned)test_below(rng, ALLOCATE_ENTRIES);
        unsigned char *at = stepped_allocate(b->from, entry, bytes);
        CHECK(entry != 0 || test_zeroed(at, bytes));
        set(b, at, bytes + (entry == 2 ? 100000 : 0), test_random(rng));
        return;
    }
    verify(b);
    if (test_chance(rng, 25)) {
        unsigned char *at = stepped_resize(b, bytes);
        CHECK(at && test_filled(at, bytes < b->bytes ? bytes : b->bytes, b->tag));
        set(b, at, bytes, b->tag);
        return;
    }
    stepped_free(b);
    b->at = NULL;
}

/* A thread from its first call on; those that leave come back, so that one life takes a heap over
 * that the one before left, or that it left itself. */
static void *live(void *arg)
{
    test_thread *self = arg;
    for (size_t i = 0; i < STEPS; i++)
        step(&self->rng);
    if (test_chance(&self->rng, 30))
        stepped_trim(any(&self->rng));
    if (test_chance(&self->rng, 60))
        stepped_detach(any(&self->rng));
    step(&self->rng);
    return NULL;
}

static void free_all(block *some, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (some[i].at)
            verify(&some[i]);
        emma_free(some[i].from, some[i].at);
        some[i].at = NULL;
    }
}

static void run(unsigned flags, unsigned every, uint64_t seed)
{
    test_rng rng = test_rng_from(seed);
    handler_rng = test_rng_from(seed + 1);
    for (size_t i = 0; i < INSTANCES; i++)
        instances[i] = test_create(EMMA_UNLIMITED, EMMA_SHARED | flags);
    act_every = every;
    traps = 0;
    const size_t lives = 2 + test_steps(LIVES);
    for (size_t i = 0; i < lives; i++) {
        test_thread thread;
        test_threads_start(&thread, 1, live, test_random(&rng) & UINT32_MAX);
        test_threads_join(&thread, 1);
        for (size_t k = 0; k < SLOTS / 8; k++) { /* this thread's own, for others to free */
            block *b = &blocks[test_below(&rng, SLOTS)];
            if (!b->at) {
                b->from = any(&rng);
                set(b, emma_malloc(b->from, 24), 24, test_random(&rng));
            }
        }
        for (size_t k = 0; k < INSTANCES; k++)
            CHECK_EQ(emma_check(instances[k]), EMMA_OK);
    }
    printf("%llu traps\n", (unsigned long long)traps);
    CHECK_GT(traps, lives * STEPS * 20);
    free_all(blocks, SLOTS);
    free_all(of_handler, HANDLER_SLOTS);
    for (size_t i = 0; i < INSTANCES; i++) {
        CHECK_EQ(emma_check(instances[i]), EMMA_OK);
        CHECK_EQ(test_stats(instances[i]).live_blocks, 0);
        emma_destroy(instances[i]);
    }
}

int main(int argc, char **argv)
{
    const uint64_t seed = test_choose_seed(argc, argv, 38000);
    test_trap_to(on_trap);
    run(0, 1, seed);
    run(EMMA_ALIGN8, 1, seed + 10);
    run(0, 5, seed + 20); /* the handler's blocks live on through more of the core */
    return 0;
}
