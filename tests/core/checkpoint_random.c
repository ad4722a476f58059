/* test: whole uninstrumented +hardened */
/* Random operations, with checkpoints pushed, rolled back to and dropped, trims, limits and resets between: after
 * each rollback every block is there again with its contents, and the allocator's view of it. With a kernel
 * that tells which pages were written, one without /proc, one that does not know the question, and one that
 * keeps its pages too, or some of them, as where memory is locked. */
#include "emma_fault.h"
#include "emma_model.h"

enum { SLOTS = 300, LEVELS = 6, ROUNDS = 400, STEPS_MAX = 300, LARGEST = 200000 };

enum kernel { TELLS, NO_PROC, NO_SCAN, KEEPS_PAGES, KEEPS_SOME, KERNELS };

static enum kernel kernel;

static bool answer(long number, long b, long *result)
{
    (void)b;
    *result = -EINVAL;
    static unsigned asked;
    if (number == SYS_madvise && kernel == KEEPS_SOME)
        return asked++ % 3 == 0;
    return (number == SYS_openat && (kernel == NO_PROC || kernel >= KEEPS_PAGES)) ||
           (number == SYS_ioctl && kernel == NO_SCAN) ||
           (number == SYS_madvise && kernel == KEEPS_PAGES);
}

typedef struct saved_level {
    unsigned name;
    model m;
    emma_stats stats;
} saved_level;

static model m;
static saved_level levels[LEVELS];
static size_t depth;
static test_maps before, after;

static void push(void)
{
    if (depth == LEVELS)
        return;
    saved_level *level = &levels[depth];
    const size_t taken = test_stats(m.instance).checkpoint_bytes;
    const enum emma_status status = emma_checkpoint(m.instance, &level->name);
    if (status != EMMA_OK) {
        CHECK_EQ(status, EMMA_NO_MEMORY);
        CHECK(m.may_refuse);
        return;
    }
    model_save(&m, &level->m);
    level->stats = test_stats(m.instance);
    CHECK(!depth || level->stats.checkpoint_bytes > taken);
    depth++;
}

static void roll_back(test_rng *rng)
{
    if (!depth)
        return;
    const size_t at = test_below(rng, depth);
    CHECK_EQ(emma_rollback(m.instance, levels[at].name), EMMA_OK);
    if (at + 1 < depth)
        CHECK_EQ(emma_rollback(m.instance, levels[at + 1].name), EMMA_INVALID);
    depth = at + 1;
    const bool may_refuse = m.may_refuse; /* there is a limit, or none: that does not roll back */
    model_restore(&m, &levels[at].m);
    m.may_refuse = may_refuse;
    model_verify(&m);
    const emma_stats stats = test_stats(m.instance);
    CHECK_EQ(stats.live_bytes, levels[at].stats.live_bytes);
    CHECK_EQ(stats.metadata_bytes, levels[at].stats.metadata_bytes);
    CHECK_EQ(stats.footprint_bytes - stats.checkpoint_bytes,
             levels[at].stats.footprint_bytes - levels[at].stats.checkpoint_bytes);
}

static void drop(test_rng *rng)
{
    if (!depth)
        return;
    const size_t at = test_below(rng, depth);
    CHECK_EQ(emma_checkpoint_drop(m.instance, levels[at].name), EMMA_OK);
    CHECK_EQ(emma_checkpoint_drop(m.instance, levels[at].name), EMMA_INVALID);
    depth = at;
    if (!depth && !m.may_refuse)
        CHECK_LE(test_stats(m.instance).checkpoint_bytes, 16 * TEST_PAGE_BYTES); /* kept ones */
}

static void change_limit(test_rng *rng)
{
    const size_t limit = (size_t)test_below(rng, 24) * TEST_MIB / 2 + TEST_MIB;
    const enum emma_status status = emma_set_limit(m.instance, limit);
    CHECK(status == EMMA_OK || status == EMMA_NO_MEMORY);
    m.may_refuse = m.may_refuse || status == EMMA_OK;
}

static void round_of(test_rng *rng)
{
    const uint64_t what = test_below(rng, 100);
    if (what < 12)
        push();
    else if (what < 28)
        roll_back(rng);
    else if (what < 32)
        drop(rng);
    else if (what < 40)
        emma_trim(m.instance);
    else if (what < 45)
        change_limit(rng);
    else if (what < 46 && depth) {
        CHECK_EQ(emma_reset(m.instance), EMMA_OK);
        const bool may_refuse = m.may_refuse;
        const uint64_t tag = m.next_tag;
        model_init(&m, m.instance, m.flags, SLOTS);
        m.may_refuse = may_refuse;
        m.next_tag = tag;
        depth = 0;
    }
    const size_t steps = (size_t)test_below(rng, STEPS_MAX);
    const size_t largest = test_chance(rng, 3) ? LARGEST : 2000;
    for (size_t i = 0; i < steps; i++)
        model_random_step(&m, rng, largest);
}

static void run(test_rng *rng, unsigned flags)
{
    emma_options options = test_options();
    options.flags = flags | EMMA_CHECKPOINTS;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    model_init(&m, instance, flags, SLOTS);
    depth = 0;
    const size_t rounds = test_steps(ROUNDS);
    for (size_t i = 0; i < rounds; i++)
        round_of(rng);
    model_verify(&m);
    emma_destroy(instance);
}

int main(int argc, char **argv)
{
    test_need_own_maps();
    test_rng rng = test_rng_from(test_choose_seed(argc, argv, 1));
    fault.answer = answer;
    test_maps_read(&before);
    for (int i = 0; i < KERNELS; i++) {
        kernel = (enum kernel)i;
        run(&rng, 0);
        run(&rng, EMMA_ALIGN8);
    }
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
    return 0;
}
