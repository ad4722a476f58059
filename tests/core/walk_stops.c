/* emma_walk stops where the visitor says, calls nobody in an empty instance, and lets the visitor
 * ask. */
#include "emma_test.h"

enum { BLOCKS = 300 };

typedef struct visits {
    emma *instance;
    size_t count, stop_after;
    const unsigned char *last;
} visits;

static bool visit(void *arg, void *block, size_t bytes)
{
    visits *seen = arg;
    CHECK_GT(block, seen->last);
    CHECK_EQ(emma_usable_size(seen->instance, block), bytes);
    CHECK(emma_owns(seen->instance, block));
    CHECK_EQ(test_stats(seen->instance).live_blocks, BLOCKS);
    seen->last = block;
    return ++seen->count != seen->stop_after;
}

int main(void)
{
    emma *instance = test_create(EMMA_UNLIMITED, EMMA_ALIGN8);
    visits seen = { instance, 0, 0, NULL };
    CHECK(emma_walk(instance, visit, &seen));
    CHECK_EQ(seen.count, 0);
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK(emma_malloc(instance, i * i) != NULL);
    for (size_t stop = 1; stop <= BLOCKS; stop++) {
        seen = (visits){ instance, 0, stop, NULL };
        CHECK(!emma_walk(instance, visit, &seen));
        CHECK_EQ(seen.count, stop);
    }
    seen = (visits){ instance, 0, BLOCKS + 1, NULL };
    CHECK(emma_walk(instance, visit, &seen));
    CHECK_EQ(seen.count, BLOCKS);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK(emma_walk(instance, visit, &seen));
    CHECK_EQ(seen.count, BLOCKS);
    emma_destroy(instance);
    return 0;
}
