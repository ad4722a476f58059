/* The page is found by its descriptor, is sealed, shows what the instances' figures are and goes on showing it, and is gone
 * with all that belongs to it at the end. */
#include "export_test.h"

static void is_sealed(void)
{
    const int descriptor = export_test_open(getpid(), 0);
    CHECK(descriptor >= 0);
    const int seals = fcntl(descriptor, F_GET_SEALS);
    CHECK_EQ(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
             F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    const int writes = open(path, O_RDWR | O_CLOEXEC); /* the same user may open it so */
    if (writes >= 0) {
        CHECK_EQ(ftruncate(writes, 0), -1);
        if (seals & F_SEAL_FUTURE_WRITE)
            CHECK_EQ(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writes, 0), MAP_FAILED);
        close(writes);
    }
    close(descriptor);
}

static void has_head(void)
{
    size_t bytes;
    const export_page *page = export_test_find(getpid(), &bytes);
    CHECK(page != NULL);
    CHECK_EQ(page->version, EXPORT_VERSION);
    CHECK_EQ(page->header_bytes, 192);
    CHECK_EQ(page->slot_bytes, 192);
    CHECK_EQ(page->unshown, 0);
    CHECK(strcmp(page->emma_version, emma_version()) == 0);
    const uint64_t fresh = __atomic_load_n(&page->fresh_ns, __ATOMIC_ACQUIRE);
    for (int i = 0; i < EXPORT_TEST_WAITS; i++) {
        if (__atomic_load_n(&page->fresh_ns, __ATOMIC_ACQUIRE) > fresh)
            break;
        usleep(EXPORT_TEST_WAIT_US);
    }
    CHECK_GT(__atomic_load_n(&page->fresh_ns, __ATOMIC_ACQUIRE), fresh);
    munmap((void *)(uintptr_t)page, bytes);
}

static void shows_figures(emma *instance, const char *name)
{
    const emma_stats stats = test_stats(instance);
    export_slot slot = { .number = 0 };
    export_test_count(getpid(), name, &slot);
    CHECK(slot.number != 0);
    CHECK(strcmp(slot.kind, "test") == 0);
    CHECK_EQ(slot.figures[EXPORT_FIGURE_LIMIT], stats.limit_bytes);
    CHECK_EQ(slot.figures[EXPORT_FIGURE_SOFT_LIMIT], stats.soft_limit_bytes);
    CHECK_EQ(slot.figures[EXPORT_FIGURE_RESERVE], stats.reserve_bytes);
    CHECK_EQ(slot.figures[EXPORT_FIGURE_METADATA], stats.metadata_bytes);
    CHECK_EQ(slot.figures[EXPORT_FIGURE_PEAK], stats.peak_footprint_bytes);
    CHECK_EQ(slot.figures[EXPORT_FIGURE_REFUSED], stats.refused_count);
    CHECK_EQ(slot.figures[EXPORT_FIGURE_FOOTPRINT], stats.footprint_bytes);
}

/* Waits until a figure is what it should be. */
static uint64_t awaited(const char *name, size_t figure, uint64_t wanted)
{
    export_slot slot = { .number = 0 };
    for (int i = 0; i < EXPORT_TEST_WAITS; i++) {
        export_test_count(getpid(), name, &slot);
        if (slot.figures[figure] == wanted)
            break;
        usleep(EXPORT_TEST_WAIT_US);
    }
    return slot.figures[figure];
}

static void follows(emma *local, emma *shared)
{
    CHECK(emma_malloc(local, 3 * TEST_MIB) != NULL);
    CHECK(emma_malloc(local, 900 * TEST_MIB) == NULL);
    CHECK(emma_malloc(shared, 5 * TEST_MIB) != NULL);
    const emma_stats a = test_stats(local), b = test_stats(shared);
    CHECK_EQ(awaited("local", EXPORT_FIGURE_FOOTPRINT, a.footprint_bytes), a.footprint_bytes);
    CHECK_EQ(awaited("local", EXPORT_FIGURE_REFUSED, 1), 1);
    CHECK_EQ(awaited("local", EXPORT_FIGURE_LIVE_BYTES, EXPORT_UNKNOWN), EXPORT_UNKNOWN);
    CHECK_EQ(awaited("shared", EXPORT_FIGURE_LIVE_BYTES, b.live_bytes), b.live_bytes);
    CHECK_EQ(awaited("shared", EXPORT_FIGURE_LIVE_BLOCKS, 1), 1);
    shows_figures(local, "local");
    shows_figures(shared, "shared");
}

/* A name of 40 letters is cut; NULL is none. */
static void names(void)
{
    static const char longest[] = "a23456789b23456789c23456789d23456789e234";
    char cut[EXPORT_NAME_BYTES];
    memcpy(cut, longest, sizeof cut);
    cut[sizeof cut - 1] = '\0';
    emma *instance = test_create(EMMA_UNLIMITED, 0);
    export_slot slot = { .number = 0 };
    emma_export_add(instance, longest, longest, 0);
    export_test_count(getpid(), cut, &slot);
    CHECK(slot.number != 0 && strlen(slot.kind) == EXPORT_KIND_BYTES - 1);
    emma_export_remove(instance);
    emma_export_add(instance, NULL, NULL, 0);
    slot.number = 0;
    export_test_count(getpid(), "", &slot);
    CHECK(slot.number != 0);
    emma_export_remove(instance);
    emma_destroy(instance);
}

int main(void)
{
    const size_t descriptors = export_test_descriptors(), threads = export_test_threads();
    emma *local = test_create(64 * TEST_MIB, 0);
    emma *shared = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    emma_export_add(local, "early", "test", 0); /* nothing is exported yet */
    emma_export_remove(local);
    CHECK_EQ(export_test_open(getpid(), 0), -1);
    emma_export_stop();

    CHECK_EQ(emma_export_start(), 0);
    CHECK_EQ(emma_export_start(), 0);
    CHECK_EQ(export_test_descriptors(), descriptors + 1);
    CHECK_EQ(export_test_threads(), threads + 1);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 0);
    emma_export_add(local, "local", "test", 0);
    emma_export_add(local, "twice", "test", 0);
    emma_export_add(shared, "shared", "test", EMMA_EXPORT_LIVE);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 2);
    is_sealed();
    has_head();
    follows(local, shared);
    names();
    emma_export_add(NULL, "none", "test", 0);
    emma_export_remove(NULL);
    emma_export_remove(local);
    emma_export_remove(local);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 1);
    emma_export_remove(shared);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 0);

    emma_export_stop();
    CHECK_EQ(export_test_open(getpid(), 0), -1);
    CHECK_EQ(export_test_descriptors(), descriptors);
    for (int i = 0; i < EXPORT_TEST_WAITS && export_test_threads() > threads; i++)
        usleep(EXPORT_TEST_WAIT_US); /* the kernel's end of a thread comes after its join */
    CHECK_EQ(export_test_threads(), threads);
    CHECK_EQ(emma_export_start(), 0); /* and again */
    emma_export_add(local, "local", "test", 0);
    CHECK_EQ(export_test_count(getpid(), NULL, NULL), 1);
    emma_export_stop();
    emma_destroy(local);
    emma_destroy(shared);
    return 0;
}
