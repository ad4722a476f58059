/* Checkpoints where they cannot be: an instance made without them, shared ones, levels that are none, from a
 * handler inside the instance, where files may not be so large. Each gets its status, and nothing changes. */
#include "emma_test.h"

static emma *instance;
static unsigned level;
static enum emma_status from_handler[3];

static void inside(void *arg, emma *of, bool over)
{
    (void)arg;
    (void)over;
    unsigned other;
    from_handler[0] = emma_checkpoint(of, &other);
    from_handler[1] = emma_rollback(of, level);
    from_handler[2] = emma_checkpoint_drop(of, level);
}

static void none_possible(void)
{
    emma *plain = test_create(EMMA_UNLIMITED, 0);
    CHECK_EQ(emma_checkpoint(plain, &level), EMMA_UNSUPPORTED);
    CHECK_EQ(emma_rollback(plain, 1), EMMA_UNSUPPORTED);
    CHECK_EQ(emma_checkpoint_drop(plain, 1), EMMA_UNSUPPORTED);
    emma_destroy(plain);
    emma_options shared = test_options();
    shared.flags = EMMA_SHARED | EMMA_CHECKPOINTS;
    CHECK_EQ(emma_options_check(&shared), EMMA_UNSUPPORTED);
    CHECK_EQ(emma_create(&shared), NULL);
}

/* The kernel would end a process that makes a file larger than it may. */
static void with_small_files(void *arg)
{
    (void)arg;
    struct rlimit usual;
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &usual), 0);
    const struct rlimit small = { TEST_PAGE_BYTES, usual.rlim_max };
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    emma *checkpointed = test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS);
    void *block = emma_malloc(checkpointed, 100000);
    CHECK(block != NULL);
    const size_t footprint = test_stats(checkpointed).footprint_bytes;
    CHECK_EQ(emma_checkpoint(checkpointed, &level), EMMA_NO_MEMORY);
    CHECK_EQ(test_stats(checkpointed).footprint_bytes, footprint);
    CHECK_EQ(emma_check(checkpointed), EMMA_OK);
    emma_destroy(checkpointed);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &usual), 0);
}

int main(void)
{
    none_possible();
    test_in_child(with_small_files, NULL);
    emma_options options = test_options();
    options.flags = EMMA_CHECKPOINTS;
    options.soft_limit_bytes = TEST_MIB;
    options.limit_handler = inside;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    CHECK_EQ(emma_rollback(instance, 0), EMMA_INVALID);
    CHECK_EQ(emma_rollback(instance, 1), EMMA_INVALID);
    CHECK_EQ(emma_checkpoint_drop(instance, 1), EMMA_INVALID);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    void *block = emma_malloc(instance, 2 * TEST_MIB);
    CHECK(block != NULL);
    for (size_t i = 0; i < TEST_COUNT(from_handler); i++)
        CHECK_EQ(from_handler[i], EMMA_BUSY);
    CHECK_EQ(emma_checkpoint_drop(instance, level), EMMA_OK);
    CHECK_EQ(emma_rollback(instance, level), EMMA_INVALID);
    unsigned next;
    CHECK_EQ(emma_checkpoint(instance, &next), EMMA_OK);
    CHECK_GT(next, level);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_rollback(instance, next), EMMA_INVALID);
    CHECK_EQ(test_stats(instance).checkpoint_bytes, 0);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
