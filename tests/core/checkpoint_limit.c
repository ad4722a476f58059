/* A checkpoint is charged in full: it is refused where the limit does not allow a copy of what is in use, and
 * after it no limit is accepted under which a rollback could not be. Resident memory, the image included, is
 * never above the footprint, nor the footprint above the limit. */
#include "emma_model.h"

enum { SLOTS = 400, ROUNDS = 60, STEPS = 800 };
#define LIMIT_BYTES (6 * TEST_MIB)

static model m, saved;
static test_maps before, after, own;

/* The instance's mappings, those of checkpoints among them. */
static size_t resident(void)
{
    test_maps_read(&after);
    test_maps_added(&before, &after, &own);
    return test_resident_bytes(&own);
}

static void refused_in_full(emma *instance)
{
    enum { BLOCK_BYTES = 300000, BLOCKS = LIMIT_BYTES / BLOCK_BYTES };
    static void *blocks[BLOCKS];
    unsigned level;
    size_t count = 0;
    while (emma_checkpoint(instance, &level) == EMMA_OK) {
        CHECK_EQ(emma_checkpoint_drop(instance, level), EMMA_OK);
        if (test_stats(instance).checkpoint_bytes)
            break; /* so near to the limit that there is no room for a piece of the image's copy */
        CHECK_LT(count, BLOCKS);
        blocks[count] = emma_malloc(instance, BLOCK_BYTES);
        CHECK(blocks[count] != NULL);
        test_fill(blocks[count], BLOCK_BYTES, count);
        count++;
    }
    const emma_stats stats = test_stats(instance);
    CHECK_GT(2 * stats.footprint_bytes, LIMIT_BYTES - 2 * BLOCK_BYTES);
    for (size_t i = 0; i < count; i++)
        CHECK(test_filled(blocks[i], BLOCK_BYTES, i));
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK(stats.checkpoint_bytes || emma_malloc(instance, BLOCK_BYTES));
}

/* A call that was served once is served again after each rollback, also at the limit. */
static void same_again(emma *instance)
{
    unsigned level;
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    for (int i = 0; i < 6; i++) {
        void *block = emma_malloc(instance, LIMIT_BYTES / 10 * 9);
        CHECK(block != NULL);
        memset(block, 1, LIMIT_BYTES / 10 * 9);
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    }
    CHECK_EQ(emma_checkpoint_drop(instance, level), EMMA_OK);
}

/* What was freed at a second level is not in the block that a third one has in its place. */
static void clean_again(emma *instance)
{
    enum { BYTES = 200000 };
    unsigned level;
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    char *block = emma_malloc(instance, BYTES);
    memset(block, 'A', BYTES);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    emma_free(instance, block);
    emma_trim(instance);
    CHECK_EQ(emma_malloc(instance, BYTES), block);
    const char before_it = block[BYTES / 2];
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    memset(block, 'B', BYTES);
    CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    CHECK_EQ(block[BYTES / 2], before_it);
}

/* Back to a large heap from a small one with a level of its own: never above the limit, on the way either. */
static void larger_again(emma *instance)
{
    unsigned level, further;
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    void *block = emma_malloc(instance, LIMIT_BYTES / 3);
    memset(block, 1, LIMIT_BYTES / 3);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    emma_free(instance, block);
    memset(emma_malloc(instance, LIMIT_BYTES / 4), 2, LIMIT_BYTES / 4);
    CHECK_EQ(emma_checkpoint(instance, &further), EMMA_OK);
    CHECK_EQ(emma_set_limit(instance, LIMIT_BYTES), EMMA_OK);
    CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    CHECK_LE(test_stats(instance).peak_footprint_bytes, LIMIT_BYTES);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

/* Nor is there room for a piece of the image's copy at the limit itself: the image stays until there is. */
static void image_stays(emma *instance)
{
    unsigned level;
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    void *block = emma_malloc(instance, LIMIT_BYTES / 4);
    memset(block, 1, LIMIT_BYTES / 4);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    for (size_t bytes = TEST_MIB; bytes >= 8; bytes /= 2)
        while (emma_malloc(instance, bytes))
            continue;
    CHECK_EQ(emma_set_limit(instance, test_stats(instance).footprint_bytes), EMMA_OK);
    CHECK_EQ(emma_checkpoint_drop(instance, level), EMMA_OK);
    CHECK_GT(test_stats(instance).checkpoint_bytes, LIMIT_BYTES / 4);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK(((char *)block)[LIMIT_BYTES / 4 - 1] == 1);
    CHECK_EQ(emma_set_limit(instance, LIMIT_BYTES), EMMA_OK);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).checkpoint_bytes, 0);
}

static enum emma_status lowered;

static void lower(void *arg, emma *from, bool over)
{
    (void)arg;
    if (!over)
        lowered = emma_set_limit(from, test_stats(from).footprint_bytes);
}

/* The first level is refused when its image is there already: the host lowers the limit, which it may when it is told
 * that the footprint fell below the soft limit. What is left of it goes when there is room again. */
static void lowered_meanwhile(void)
{
    enum { BYTES = 200000 };
    size_t refused = 0, footprint = TEST_MIB;
    for (size_t soft = 0; soft < 2 * footprint; soft += TEST_PAGE_BYTES) {
        emma_options options = test_options();
        options.flags = EMMA_CHECKPOINTS;
        options.limit_bytes = LIMIT_BYTES;
        emma *instance = emma_create(&options);
        CHECK(instance != NULL);
        unsigned level;
        memset(emma_malloc(instance, BYTES), 1, BYTES);
        footprint = test_stats(instance).footprint_bytes;
        CHECK_EQ(emma_set_limit(instance, footprint + TEST_PAGE_BYTES), EMMA_OK);
        CHECK_EQ(emma_checkpoint(instance, &level), EMMA_NO_MEMORY); /* no room for a level */
        CHECK_EQ(emma_set_limit(instance, LIMIT_BYTES), EMMA_OK);
        emma_destroy(instance);

        options.soft_limit_bytes = footprint + soft;
        options.limit_handler = lower;
        lowered = EMMA_INVALID;
        instance = emma_create(&options);
        CHECK(instance != NULL);
        unsigned char *block = emma_malloc(instance, BYTES);
        memset(block, 1, BYTES);
        if (emma_checkpoint(instance, &level) != EMMA_OK) {
            refused++;
            CHECK_EQ(lowered, EMMA_OK);
            CHECK_EQ(emma_rollback(instance, 1), EMMA_INVALID);
            CHECK_EQ(emma_check(instance), EMMA_OK);
            CHECK_EQ(emma_set_soft_limit(instance, EMMA_UNLIMITED), EMMA_OK);
            CHECK_EQ(emma_set_limit(instance, LIMIT_BYTES), EMMA_OK);
            CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
        }
        memset(block, 2, BYTES);
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
        CHECK_EQ(block[BYTES - 1], 1);
        CHECK_EQ(emma_check(instance), EMMA_OK);
        emma_destroy(instance);
    }
    CHECK_GT(refused, 0);
}

/* Slabs of which one page is in use, in chunks that have all of theirs from a use before. */
static void keep_idle(emma *instance)
{
    enum { CHUNKS = 8, BYTES = 16000 };
    void *runs[CHUNKS];
    for (size_t i = 0; i < CHUNKS; i++) {
        CHECK((runs[i] = emma_malloc(instance, BYTES)) != NULL);
        memset(runs[i], 1, BYTES);
    }
    for (size_t i = 0; i < CHUNKS; i++)
        emma_free(instance, runs[i]);
    for (size_t i = 0; i < CHUNKS; i++)
        CHECK(emma_malloc(instance, 100 + 130 * i) != NULL);
}

/* Blocks of slabs, and one that is a run: the kernel is asked about both by themselves. */
enum { SMALL_BLOCKS = 600, SMALL_BYTES = 1000, RUN_BYTES = 300000 };
static unsigned char *small[SMALL_BLOCKS], *run;

/* Only what is of every second page is written to later, so that the kernel tells of each page by itself. */
static bool is_of_second_page(const unsigned char *block)
{
    return (uintptr_t)block / TEST_PAGE_BYTES % 2;
}

static void set_all(unsigned char value)
{
    for (size_t i = 0; i < SMALL_BLOCKS; i++)
        memset(small[i], value, SMALL_BYTES);
    memset(run, value, RUN_BYTES);
}

static void set_scattered(unsigned char value)
{
    for (size_t i = 0; i < SMALL_BLOCKS; i++)
        if (is_of_second_page(small[i]))
            small[i][0] = value;
    for (size_t at = TEST_PAGE_BYTES; at < RUN_BYTES; at += 2 * TEST_PAGE_BYTES)
        run[at] = value;
}

static void verify_scattered(unsigned char value)
{
    for (size_t i = 0; i < SMALL_BLOCKS; i++)
        CHECK_EQ(small[i][0], is_of_second_page(small[i]) ? value : 1);
    for (size_t at = 0; at < RUN_BYTES; at += TEST_PAGE_BYTES)
        CHECK_EQ(run[at], at / TEST_PAGE_BYTES % 2 ? value : 1);
}

/* At every limit a second level is made or refused; that room is made for it while it is made changes nothing in it:
 * by what the last rollback kept of a block of so many bytes, and by what slabs do. Returns how often it was refused. */
static size_t room_made_for_level(emma *instance, size_t later_bytes)
{
    enum { TIMES = 2, MADE = 120 };
    unsigned first, second;
    size_t made = 0;
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    for (size_t i = 0; i < SMALL_BLOCKS; i++)
        CHECK((small[i] = emma_malloc(instance, SMALL_BYTES)) != NULL);
    run = emma_malloc(instance, RUN_BYTES);
    set_all(1);
    CHECK_EQ(emma_checkpoint(instance, &first), EMMA_OK);
    size_t pages = 0;
    for (; made < MADE; pages++) {
        CHECK_LT(pages, TEST_MIB / TEST_PAGE_BYTES);
        for (int i = 0; i < TIMES; i++) { /* a rollback keeps as much as the one before found */
            memset(emma_malloc(instance, later_bytes), 1, later_bytes);
            CHECK_EQ(emma_rollback(instance, first), EMMA_OK);
        }
        if (pages % 2)
            keep_idle(instance);
        set_scattered(2);
        const size_t footprint = test_stats(instance).footprint_bytes;
        CHECK_EQ(emma_set_limit(instance, footprint + pages * TEST_PAGE_BYTES), EMMA_OK);
        if (emma_checkpoint(instance, &second) == EMMA_OK) {
            made++;
            set_scattered(3);
            CHECK_EQ(emma_check(instance), EMMA_OK);
            CHECK_EQ(emma_rollback(instance, second), EMMA_OK);
            CHECK_EQ(emma_check(instance), EMMA_OK);
            verify_scattered(2);
        }
        CHECK_EQ(emma_set_limit(instance, LIMIT_BYTES), EMMA_OK);
        CHECK_EQ(emma_rollback(instance, first), EMMA_OK);
        verify_scattered(1);
        CHECK_EQ(emma_check(instance), EMMA_OK);
    }
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    return pages - made;
}

/* A level that was made of the spare part can be rolled back to when that is closed again. */
static void with_spare_closed(void)
{
    emma_options options = test_options();
    options.flags = EMMA_CHECKPOINTS;
    options.limit_bytes = LIMIT_BYTES;
    options.spare_bytes = LIMIT_BYTES / 2;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    unsigned level;
    CHECK_EQ(emma_use_spare(instance, true), EMMA_OK);
    unsigned char *block = emma_malloc(instance, LIMIT_BYTES / 3);
    memset(block, 1, LIMIT_BYTES / 3);
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    const size_t footprint = test_stats(instance).footprint_bytes;
    memset(emma_malloc(instance, TEST_MIB / 4), 1, TEST_MIB / 4);
    CHECK_EQ(emma_use_spare(instance, false), EMMA_OK);
    memset(block, 2, LIMIT_BYTES / 3);
    CHECK_EQ(emma_malloc(instance, TEST_MIB), NULL);
    CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    CHECK_EQ(test_stats(instance).footprint_bytes, footprint); /* no page is kept for later */
    CHECK_EQ(block[0], 1);
    CHECK_EQ(block[LIMIT_BYTES / 3 - 1], 1);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

static void stays_below(emma *instance, test_rng *rng)
{
    unsigned level;
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    saved = m;
    const emma_stats stats = test_stats(instance);
    CHECK_EQ(emma_set_limit(instance, stats.footprint_bytes - TEST_PAGE_BYTES), EMMA_NO_MEMORY);
    const size_t rounds = test_steps(ROUNDS);
    for (size_t i = 0; i < rounds; i++) {
        for (size_t k = 0; k < STEPS; k++)
            model_random_step(&m, rng, test_chance(rng, 2) ? TEST_MIB : 3000);
        const size_t footprint = test_stats(instance).footprint_bytes;
        CHECK_LE(footprint, LIMIT_BYTES);
        if (!TEST_SHADOW_MEMORY)
            CHECK_LE(resident(), footprint);
        if (test_chance(rng, 20))
            emma_trim(instance);
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
        const uint64_t tag = m.next_tag;
        m = saved;
        m.next_tag = tag;
        if (!TEST_SHADOW_MEMORY)
            CHECK_LE(resident(), test_stats(instance).footprint_bytes);
        CHECK_EQ(emma_check(instance), EMMA_OK);
    }
    model_verify(&m);
}

int main(int argc, char **argv)
{
    test_need_own_maps();
    test_rng rng = test_rng_from(test_choose_seed(argc, argv, 3));
    test_maps_read(&before);
    emma_options options = test_options();
    options.flags = EMMA_CHECKPOINTS;
    options.limit_bytes = LIMIT_BYTES;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    refused_in_full(instance);
    same_again(instance);
    clean_again(instance);
    larger_again(instance);
    image_stays(instance);
    CHECK_GT(room_made_for_level(instance, 160000), 3);
    CHECK_EQ(room_made_for_level(instance, 520000), 0); /* what was kept is enough */
    with_spare_closed();
    lowered_meanwhile();
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    model_init(&m, instance, 0, SLOTS);
    m.may_refuse = true;
    for (size_t i = 0; i < STEPS; i++)
        model_random_step(&m, &rng, 3000);
    stays_below(instance, &rng);
    emma_destroy(instance);
    return 0;
}
