/* Thousands of instances: the page gives way to larger ones, which readers of the old one are told of; places that
 * became free are used again, numbers are not; one descriptor whatever there is. */
#include "export_test.h"

/* Nearly as many as the page has room for then. */
enum { INSTANCES = 5000 };

static emma *instances[INSTANCES];

static void add(size_t i)
{
    emma_options options = test_options();
    options.limit_bytes = TEST_MIB;
    instances[i] = emma_create(&options);
    CHECK(instances[i] != NULL);
    char name[32];
    snprintf(name, sizeof name, "n%zu", i);
    emma_export_add(instances[i], name, "test", 0);
}

static void drop(size_t i)
{
    emma_export_remove(instances[i]);
    emma_destroy(instances[i]);
}

/* Each is there once, under its name. */
static uint64_t highest_number(void)
{
    static bool seen[INSTANCES];
    size_t bytes;
    uint64_t highest = 0;
    const export_page *page = export_test_find(getpid(), &bytes);
    CHECK(page != NULL);
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < page->slot_count; i++) {
        export_slot slot;
        export_test_slot(page, i, &slot);
        if (!slot.number)
            continue;
        const size_t which = strtoull(slot.name + 1, NULL, 10);
        CHECK_LT(which, INSTANCES);
        CHECK(!seen[which]);
        CHECK_EQ(slot.figures[EXPORT_FIGURE_LIMIT], TEST_MIB);
        seen[which] = true;
        highest = slot.number > highest ? slot.number : highest;
    }
    for (size_t i = 0; i < INSTANCES; i++)
        CHECK(seen[i]);
    munmap((void *)(uintptr_t)page, bytes);
    return highest;
}

int main(void)
{
    CHECK_EQ(emma_export_start(), 0);
    const size_t descriptors = export_test_descriptors();
    size_t bytes;
    const export_page *first = export_test_find(getpid(), &bytes);
    CHECK(first != NULL);
    const size_t slots = first->slot_count;
    for (size_t i = 0; i < INSTANCES; i++) {
        add(i);
        CHECK_EQ(__atomic_load_n(&first->closed, __ATOMIC_ACQUIRE), i >= slots);
    }
    munmap((void *)(uintptr_t)first, bytes);
    CHECK_EQ(export_test_descriptors(), descriptors);
    CHECK_EQ(highest_number(), INSTANCES);

    const export_page *page = export_test_find(getpid(), &bytes);
    CHECK_LT(page->slot_count, INSTANCES + INSTANCES / 3);
    for (size_t i = 0; i < INSTANCES; i += 3)
        drop(i);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), INSTANCES - (INSTANCES + 2) / 3);
    for (size_t i = 0; i < INSTANCES; i += 3)
        add(i);
    CHECK_EQ(highest_number(), INSTANCES + (INSTANCES + 2) / 3);
    CHECK(!__atomic_load_n(&page->closed, __ATOMIC_ACQUIRE)); /* there was room */
    munmap((void *)(uintptr_t)page, bytes);
    for (size_t i = 0; i < INSTANCES; i++)
        drop(i);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 0);
    emma_export_stop();
    return 0;
}
