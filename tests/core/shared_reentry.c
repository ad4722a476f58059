/* test: whole */
/* A signal handler inside a call of a shared instance: it is served and may look at the figures and change the limits;
 * a reset is refused. Where it jumps out, the heap that the call was in stays the thread's, also when that leaves. */
#include "emma_fault.h"

enum { BLOCKS = 40, BLOCK_BYTES = 70000 };

static emma *instance;
static bool interrupts;
static size_t handled;

static void handler(long number)
{
    (void)number;
    if (!interrupts)
        return;
    interrupts = false; /* not what it calls itself */
    handled++;
    CHECK_EQ(emma_reset(instance), EMMA_BUSY);
    CHECK(!emma_is_busy(instance));
    CHECK_EQ(emma_set_soft_limit(instance, 64 * TEST_MIB), EMMA_OK);
    CHECK_EQ(emma_use_spare(instance, true), EMMA_OK);
    void *block = emma_malloc(instance, 100);
    CHECK(block != NULL);
    memset(block, 1, 100);
    emma_free(instance, block);
    CHECK_GE(test_stats(instance).footprint_bytes, TEST_PAGE_BYTES);
}

/* As a handler does that jumps out of a call: it is never left. */
static void jumped_out(void)
{
    emma *from = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    const emmai_thread_heap *left = emmai_thread_heap_of(emmai_enter(from));
    void *block = emma_malloc(from, 100);
    CHECK(block != NULL);
    CHECK_EQ(from->control->heap_count, 2);
    emma_free(from, block);
    emma_thread_detach(from);
    CHECK_EQ(left->owner, emmai_thread_id(emmai_thread_self()));
    CHECK_EQ(emmai_shared_heap_at(from, 2)->owner, 0);
    CHECK_EQ(emma_check(from), EMMA_OK);
    emma_destroy(from);
}

int main(void)
{
    unsigned char *blocks[BLOCKS];
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    CHECK(!emma_is_busy(instance));
    emma_free(instance, emma_malloc(instance, 1)); /* it has a heap to be inside */
    fault.before = handler;
    for (size_t i = 0; i < BLOCKS; i++) {
        interrupts = true;
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES * (1 + i))) != NULL);
        interrupts = false;
        test_fill(blocks[i], BLOCK_BYTES, i);
    }
    CHECK_GT(handled, BLOCKS / 8);
    CHECK_EQ(test_stats(instance).live_blocks, BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(blocks[i], BLOCK_BYTES, i));
        emma_free(instance, blocks[i]);
    }
    emma_thread_detach(instance);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
    jumped_out();
    return 0;
}
