/* The limit counts whole pages down, the spare part whole pages up: emma_options_check refuses just
 * the pairs of them that emma_set_limit would refuse later. */
#include "emma_test.h"

/* Created with a limit that leaves room for any of these spare parts. */
static emma *create_with_spare(size_t spare)
{
    emma_options options = test_options();
    options.limit_bytes = TEST_MIB;
    options.spare_bytes = spare;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    return instance;
}

static void compare(size_t limit, size_t spare)
{
    emma_options options = test_options();
    options.limit_bytes = limit;
    options.spare_bytes = spare;
    const enum emma_status told = emma_options_check(&options);
    emma *as_set = create_with_spare(spare), *as_created = emma_create(&options);
    CHECK_EQ(told, emma_set_limit(as_set, limit));
    CHECK_EQ(as_created != NULL, told == EMMA_OK);
    if (as_created) {
        const emma_stats stats = test_stats(as_created);
        CHECK_GE(stats.limit_bytes - stats.spare_bytes, EMMA_LIMIT_MIN_BYTES);
        CHECK_EQ(emma_set_limit(as_created, limit), EMMA_OK);
    }
    emma_destroy(as_created);
    emma_destroy(as_set);
}

int main(void)
{
    enum { PAGES = 4 };
    for (size_t spare_page = 0; spare_page < PAGES; spare_page++)
        for (size_t limit_page = 0; limit_page < 2 * PAGES; limit_page++)
            for (size_t beside = 0; beside < 9; beside++) { /* -1, 0 and 1 of either */
                const size_t limit = EMMA_LIMIT_MIN_BYTES + limit_page * TEST_PAGE_BYTES;
                const size_t spare = (spare_page + 1) * TEST_PAGE_BYTES;
                compare(limit + beside % 3 - 1, spare + beside / 3 - 1);
            }
    compare(EMMA_LIMIT_MIN_BYTES + 1, 1);
    compare(EMMA_LIMIT_MIN_BYTES + TEST_PAGE_BYTES, 1);
    return 0;
}
