/* Ten thousand instances, each with blocks in it, are alive at once within the kernel's limit on
 * mappings, and each has what it was given. */
#include "emma_test.h"

enum { INSTANCES = 10000, MAPPINGS_MAX = 6, BLOCKS = 12 };

static test_maps before, during, after;
static emma *instances[INSTANCES];
static void *blocks[INSTANCES][BLOCKS];

int main(void)
{
    test_need_own_maps();
    test_maps_read(&before);
    for (size_t i = 0; i < INSTANCES; i++) {
        instances[i] = emma_create(NULL);
        CHECK(instances[i] != NULL);
        for (size_t k = 0; k < BLOCKS; k++) {
            blocks[i][k] = emma_malloc(instances[i], (size_t)1 << k);
            CHECK(blocks[i][k] != NULL);
            test_fill(blocks[i][k], (size_t)1 << k, i * BLOCKS + k);
        }
    }
    test_maps_read(&during);
    CHECK_LE(during.count - before.count, (size_t)INSTANCES * MAPPINGS_MAX);
    for (size_t i = 0; i < INSTANCES; i++) {
        for (size_t k = 0; k < BLOCKS; k++) {
            CHECK(test_filled(blocks[i][k], (size_t)1 << k, i * BLOCKS + k));
            CHECK(emma_owns(instances[i], blocks[i][k]));
            CHECK(!emma_owns(instances[(i + 1) % INSTANCES], blocks[i][k]));
        }
        CHECK_EQ(emma_check(instances[i]), EMMA_OK);
    }
    for (size_t i = 0; i < INSTANCES; i++)
        emma_destroy(instances[i]);
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
    return 0;
}
