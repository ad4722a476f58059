/* test: whole uninstrumented +hardened */
/* As fault_sweep, with threads that allocate, hand blocks over and free in one shared instance, and
 * make and destroy others: the kernel refuses the n-th system call, or all from it on, or each n-th.
 * Who meets a refusal may get NULL and nobody else; live blocks stay, the state verifies, and destroy
 * returns everything. */
#include "emma_fault.h"
#include "emma_model.h"
#include "emma_threads.h"

enum { THREADS = 3, STEPS = 60, SLOTS = 24, SHARED_SLOTS = 12, LARGEST = 200000, SWEEP_MAX = 3000 };

static test_maps before, after;
static emma *instance;
static unsigned flags;
static model models[THREADS];
static model_block handed_over[SHARED_SLOTS];
static pthread_mutex_t exchanging = PTHREAD_MUTEX_INITIALIZER;

static void exchange(model *m, test_rng *rng)
{
    model_block *own = &m->blocks[test_below(rng, SLOTS)];
    model_block *other = &handed_over[test_below(rng, SHARED_SLOTS)];
    pthread_mutex_lock(&exchanging);
    const model_block given = *own;
    *own = *other;
    *other = given;
    pthread_mutex_unlock(&exchanging);
    m->live_blocks += (own->at != NULL) - (size_t)(given.at != NULL);
}

static emma *create(void)
{
    emma_options options = test_options();
    options.flags = flags;
    options.name = "sweep";
    const uint64_t failures = fault_failures();
    emma *made = emma_create(&options);
    CHECK(made || fault_failures() != failures);
    return made;
}

/* Another instance, of which this is the only thread. */
static void use_another(test_rng *rng)
{
    emma *other = create();
    if (!other)
        return;
    const size_t bytes = test_random_size(rng, LARGEST);
    const uint64_t failures = fault_failures();
    void *block = emma_malloc(other, bytes);
    CHECK(block || fault_failures() != failures);
    if (block)
        test_fill(block, bytes, 1);
    CHECK_EQ(emma_check(other), EMMA_OK);
    emma_destroy(other);
}

static void *work(void *arg)
{
    test_thread *self = arg;
    model *m = &models[self->number];
    for (size_t step = 1; step <= STEPS; step++) {
        const uint64_t refused = m->refused;
        const size_t slot = test_below(&self->rng, SLOTS);
        const enum model_op op = (enum model_op)test_below(&self->rng, MODEL_OPS);
        const size_t bytes = test_random_size(&self->rng, LARGEST);
        model_step(m, slot, op, bytes, 6);
        if (m->refused != refused && fault.at) {
            model_step(m, slot, op, bytes, 6);
            CHECK_EQ(m->refused, refused + 1);
        }
        if (step % 3 == 0)
            exchange(m, &self->rng);
        if (step % 16 == 0)
            emma_trim(instance);
        if (step % 20 == 0)
            use_another(&self->rng);
        if (step % 25 == 0)
            emma_thread_detach(instance);
    }
    return NULL;
}

static void take_back(void)
{
    size_t live = 0;
    for (size_t i = 0; i < THREADS; i++)
        live += models[i].live_blocks;
    for (size_t i = 0; i < SHARED_SLOTS; i++)
        live += handed_over[i].at != NULL;
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, live);
    for (size_t i = 0; i < THREADS; i++)
        model_free_all(&models[i]);
    for (size_t i = 0; i < SHARED_SLOTS; i++) {
        if (handed_over[i].at)
            CHECK(test_filled(handed_over[i].at, handed_over[i].bytes, handed_over[i].tag));
        emma_free(instance, handed_over[i].at);
        handed_over[i].at = NULL;
    }
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
}

static void scenario(uint64_t at, uint64_t from, uint64_t every)
{
    test_thread threads[THREADS];
    memset(&fault, 0, sizeof fault);
    fault.at = at;
    fault.from = from;
    fault.every = every;
    instance = create();
    if (instance) {
        for (size_t i = 0; i < THREADS; i++) {
            model_init(&models[i], instance, flags, SLOTS);
            models[i].faults = fault_failures;
            models[i].next_tag = i << 32;
        }
        test_threads_start(threads, THREADS, work, 37000);
        test_threads_join(threads, THREADS);
        take_back();
        emma_destroy(instance);
    }
    fault_none();
}

static void run(uint64_t at, uint64_t from, uint64_t every)
{
    scenario(at, from, every);
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
}

int main(void)
{
    test_need_own_maps();
    CHECK(freopen("/dev/null", "w", stdout) != NULL); /* seeds, a thousand times the same */
    const uint64_t descriptors = test_descriptors();
    for (flags = EMMA_SHARED; flags <= (EMMA_SHARED | EMMA_ALIGN8); flags += EMMA_ALIGN8) {
        scenario(0, 0, 0); /* the C library keeps the threads' stacks */
        test_maps_read(&before);
        uint64_t n = 1;
        for (; n < SWEEP_MAX; n++) {
            run(n, 0, 0);
            if (fault.failures == 0)
                break;
        }
        CHECK_GT(n, 30);
        CHECK_LT(n, SWEEP_MAX);
        for (uint64_t from = 1; from <= n; from += 1 + from / 8)
            run(0, from, 0);
        for (uint64_t every = 1; every <= n; every += 1 + every / 8)
            run(0, 0, every);
    }
    CHECK_EQ(test_descriptors(), descriptors);
    return 0;
}
