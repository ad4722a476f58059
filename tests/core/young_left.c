/* test: whole plain */
/* A heap that has outgrown the young area leaves it class by class, also where a young slab always has a free
 * block at hand. */
#include "../../core/emma.c"

#include "emma_test.h"

enum { EARLY = 64, EARLY_BYTES = 96, LATER = 1000, LATER_BYTES = 2000, TURN = 6 };

static emma *instance;

static void turn_over(size_t count)
{
    void *blocks[EARLY];
    for (size_t i = 0; i < count; i++)
        CHECK((blocks[i] = emma_malloc(instance, EARLY_BYTES)) != NULL);
    for (size_t i = 0; i < count; i++)
        emma_free(instance, blocks[i]);
}

static bool is_young(void)
{
    unsigned size_class = emmai_class_of(&instance->heap, EARLY_BYTES);
    return emmai_slab_is_young(instance, instance->heap.heads[size_class]);
}

int main(void)
{
    instance = test_create(EMMA_UNLIMITED, 0);
    turn_over(EARLY);
    CHECK(is_young());
    for (size_t i = 0; i < LATER; i++)
        CHECK(emma_malloc(instance, LATER_BYTES) != NULL);
    for (size_t i = 0; i < EARLY; i++)
        turn_over(TURN);
    CHECK(!is_young());
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
