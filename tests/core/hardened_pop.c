/* test: whole uninstrumented hardened */
/* At each instruction of an allocation the list of free blocks is whole: a block is on it with the link that it had,
 * or is not on it. A thread may stop there for good, and others walk the list. */
#include "emma_fault.h"
#include "emma_step.h"

enum { BLOCKS = 60, BLOCK_BYTES = 100 };

static emmai_heap *heap;
static unsigned size_class;
static const uint64_t *first;
static uint64_t link_before;
static size_t stops, on_list;

static void look(int number)
{
    (void)number;
    stops++;
    if (!first || heap->bins[size_class] != first)
        return;
    on_list++;
    if (*first != link_before) {
        test_trap_off();
        CHECK_EQ(*first, link_before);
    }
}

int main(void)
{
    test_trap_to(look);
    for (unsigned shared = 0; shared < 2; shared++) {
        emma *instance = test_create(EMMA_UNLIMITED, shared ? EMMA_SHARED : 0);
        CHECK(emma_malloc(instance, BLOCK_BYTES) != NULL);
        heap = shared ? emmai_thread_last(instance) : &instance->heap;
        size_class = emmai_class_of(heap, emmai_checked_bytes(BLOCK_BYTES));
        for (size_t i = 0; i < BLOCKS; i++) {
            first = heap->bins[size_class];
            link_before = first ? *first : 0;
            test_trap_on();
            const void *block = emma_malloc(instance, BLOCK_BYTES);
            test_trap_off();
            CHECK(block != NULL && (!first || block == first));
        }
        CHECK_EQ(test_stats(instance).live_blocks, BLOCKS + 1);
        emma_destroy(instance);
    }
    CHECK_GT(stops, on_list);
    CHECK_GT(on_list, BLOCKS);
    return 0;
}
