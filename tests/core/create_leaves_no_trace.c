/* emma_destroy returns everything: the mappings and descriptors of the process are as they were,
 * for every kind of option, for one instance and for a thousand, empty or full, in whatever order
 * they go. */
#include "emma_test.h"

enum { KINDS = 8, INSTANCES = 1000 };

static test_maps before, after;
static emma *instances[INSTANCES];

static void ignore_limit(void *arg, emma *instance, bool over)
{
    (void)arg, (void)instance, (void)over;
}

static emma_options kind_of_options(size_t kind)
{
    emma_options options = test_options();
    options.limit_bytes = kind == 1   ? EMMA_LIMIT_MIN_BYTES
                          : kind == 2 ? 64 * TEST_MIB
                                      : EMMA_UNLIMITED;
    options.reserve_bytes = kind == 3 ? EMMA_RESERVE_MIN_BYTES : kind == 4 ? 256 * TEST_MIB : 0;
    options.flags = kind == 5 ? EMMA_ALIGN8 : 0;
    options.name = kind == 6 ? "kind six" : NULL;
    if (kind == 7) {
        options.limit_bytes = TEST_MIB;
        options.spare_bytes = 128 * TEST_KIB;
        options.soft_limit_bytes = 256 * TEST_KIB;
        options.limit_handler = ignore_limit;
    }
    return options;
}

/* Small blocks, runs, a growing one: whatever fits. */
static void use(emma *instance)
{
    for (size_t bytes = 1; bytes < 4 * TEST_MIB; bytes *= 3) {
        void *block = emma_malloc(instance, bytes);
        if (block) {
            memset(block, 1, bytes);
            emma_realloc(instance, block, bytes * 2);
        }
    }
}

static void expect_as_before(uint64_t descriptors)
{
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
    CHECK_EQ(test_descriptors(), descriptors);
}

int main(void)
{
    test_need_own_maps();
    const uint64_t descriptors = test_descriptors();
    test_maps_read(&before);
    for (size_t kind = 0; kind < KINDS; kind++) {
        for (int used = 0; used < 2; used++) {
            const emma_options options = kind_of_options(kind);
            emma *instance = emma_create(&options);
            CHECK(instance != NULL);
            if (used)
                use(instance);
            emma_destroy(instance);
            expect_as_before(descriptors);
        }
    }
    for (size_t i = 0; i < INSTANCES; i++) {
        const emma_options options = kind_of_options(i % KINDS);
        instances[i] = emma_create(&options);
        CHECK(instances[i] != NULL);
        if (i % 16 == 0)
            use(instances[i]);
    }
    enum { COPRIME = 387 }; /* visits each once, in a scattered order */
    for (size_t i = 0; i < INSTANCES; i++)
        emma_destroy(instances[i * COPRIME % INSTANCES]);
    expect_as_before(descriptors);
    emma_destroy(NULL);
    expect_as_before(descriptors);
    return 0;
}
