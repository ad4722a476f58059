/* test: uninstrumented */
/* A signal handler frees what is none of the instance's, after every instruction of the core, and
 * the host's misuse handler asks for the figures: it gets those from before or after the call that
 * was interrupted, or no figures of blocks, and always an answer. */
#include "emma_step.h"

enum { BLOCKS = 300, LARGE_BYTES = 70000, SMALL_BYTES = 64, HANG_SECONDS = 60, INSIDE = 100 };

static emma *instance;
static void *blocks[BLOCKS];
static int foreign;
static size_t live_before, live_after; /* of the interrupted call */
static size_t traps, reports, without_blocks;

static void on_misuse(void *arg, emma *from, enum emma_misuse crime, const void *address,
                      const char *message)
{
    (void)arg, (void)message;
    CHECK_EQ(from, instance);
    CHECK_EQ(crime, EMMA_MISUSE_FOREIGN);
    CHECK_EQ(address, &foreign);
    reports++;
    const size_t live = test_stats(instance).live_blocks;
    without_blocks += live == 0;
    CHECK(live == 0 || live == live_before || live == live_after);
}

static void on_trap(int number)
{
    (void)number;
    traps++;
    emma_free(instance, &foreign);
}

static void begin(size_t after)
{
    live_before = test_stats(instance).live_blocks;
    live_after = after;
    CHECK_EQ(reports, traps);
    test_trap_on();
}

static void end(void)
{
    test_trap_off();
    CHECK_EQ(reports, traps);
    CHECK_EQ(test_stats(instance).live_blocks, live_after);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

static void *stepped_malloc(size_t bytes)
{
    begin(test_stats(instance).live_blocks + 1);
    void *block = emma_malloc(instance, bytes);
    end();
    CHECK(block != NULL);
    return block;
}

static void *stepped_realloc(void *block, size_t bytes)
{
    begin(test_stats(instance).live_blocks);
    block = emma_realloc(instance, block, bytes);
    end();
    CHECK(block != NULL);
    return block;
}

static void stepped_free(void *block)
{
    begin(test_stats(instance).live_blocks - 1);
    emma_free(instance, block);
    end();
}

static void stepped_trim(void)
{
    begin(test_stats(instance).live_blocks);
    emma_trim(instance);
    end();
}

static void run(size_t few)
{
    for (size_t i = few; i < BLOCKS; i++)
        blocks[i] = emma_malloc(instance, SMALL_BYTES);
    for (size_t i = 0; i < few; i++)
        blocks[i] = stepped_malloc(SMALL_BYTES);
    stepped_free(stepped_realloc(stepped_malloc(LARGE_BYTES), LARGE_BYTES / 2));
    blocks[0] = stepped_realloc(blocks[0], 2 * SMALL_BYTES);
    for (size_t i = 0; i < few; i++)
        stepped_free(blocks[i]);
    stepped_trim();
    for (size_t i = few; i < BLOCKS; i++)
        emma_free(instance, blocks[i]);
}

int main(void)
{
    test_trap_to(on_trap);
    alarm(HANG_SECONDS);
    emma_options options = test_options();
    options.misuse_handler = on_misuse;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    run(BLOCKS / 10);
    run(BLOCKS / 10);
    printf("%zu traps, %zu inside\n", traps, without_blocks);
    CHECK_GT(without_blocks, INSIDE);
    CHECK_GT(traps - without_blocks, INSIDE);
    emma_destroy(instance);
    return 0;
}
