/* test: whole +hardened */
/* What a signal handler frees while a checkpoint is taken or rolled back to stays allocated as it was, by a sized free,
 * too: the instance is busy. */
#include "emma_fault.h"

#include <signal.h>

enum { BLOCKS = 64, BLOCK_BYTES = 40 };

static emma *instance;
static unsigned char *blocks[BLOCKS];
static bool sized, armed;
static unsigned handled;

static void free_all(int number)
{
    (void)number;
    handled++;
    for (size_t i = 0; i < BLOCKS; i++) {
        if (sized)
            emma_free_sized(instance, blocks[i], BLOCK_BYTES);
        else
            emma_free(instance, blocks[i]);
    }
}

static void interrupt(long number)
{
    if (!armed || number != SYS_close)
        return;
    armed = false;
    raise(SIGUSR1);
}

static void try(bool rolls_back)
{
    unsigned level;
    instance = test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
        test_fill(blocks[i], BLOCK_BYTES, i);
    }
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    for (size_t i = 0; i < BLOCKS; i++)
        test_fill(blocks[i], BLOCK_BYTES, BLOCKS + i);
    const unsigned before = handled;
    armed = true;
    CHECK_EQ(rolls_back ? emma_rollback(instance, level) : emma_checkpoint(instance, &level),
             EMMA_OK);
    CHECK_EQ(handled, before + 1);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[i], BLOCK_BYTES, rolls_back ? i : BLOCKS + i));
        CHECK_GE(emma_usable_size(instance, blocks[i]), BLOCK_BYTES);
        emma_free(instance, blocks[i]);
    }
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
}

int main(void)
{
    CHECK(signal(SIGUSR1, free_all) != SIG_ERR);
    fault.before = interrupt;
    for (unsigned i = 0; i < 4; i++) {
        sized = i % 2;
        try(i / 2);
    }
    return 0;
}
