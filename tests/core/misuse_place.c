/* test: +hardened */
/* What the message says of the address that a misuse came with: the class, the run, that nothing is
 * there, and nothing more where nothing is known. */
#include "emma_test.h"

enum {
    SMALL_BYTES = 40,
    SLAB_BYTES = 3000,
    RUN_BYTES = 300000,
    SHORT_RUN_BYTES = 4400,
    PASSES_MAX = 10000
};

static const char *name;
static char seen[TEST_LINE_BYTES];
static unsigned reports;

static void keep(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                 const char *message)
{
    (void)arg, (void)instance, (void)crime, (void)address;
    snprintf(seen, sizeof seen, "%s", message);
    reports++;
}

static emma *create(const char *its_name, unsigned flags)
{
    emma_options options = test_options();
    options.name = name = its_name;
    options.flags = flags;
    options.misuse_handler = keep;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    return instance;
}

/* The last report, and no other one, was of this. */
static void expect(const char *crime, const void *address, const char *place)
{
    char line[TEST_LINE_BYTES];
    test_misuse_line(line, name, crime, address, place);
    if (strcmp(seen, line) != 0)
        dprintf(STDERR_FILENO, "expected \"%s\", got \"%s\"\n", line, seen);
    CHECK(strcmp(seen, line) == 0);
    CHECK_EQ(reports, 1);
    reports = 0;
}

static void expect_free(emma *instance, const char *crime, void *address, const char *place)
{
    emma_free(instance, address);
    expect(crime, address, place);
}

/* A plain build finds it when more blocks were freed than the slab had. */
static void twice(emma *instance, size_t bytes)
{
    char place[TEST_PLACE_BYTES];
    size_t block_bytes;
    void *block = test_malloc_counted(instance, bytes, &block_bytes);
    snprintf(place, sizeof place, "%zu-byte class", block_bytes);
    CHECK_GE(block_bytes, bytes);
    for (int i = 0; i < PASSES_MAX && reports == 0; i++)
        emma_free(instance, block);
    expect("double free of", block, place);
}

static void runs(emma *instance)
{
    char place[TEST_PLACE_BYTES];
    size_t block_bytes;
    char *run = test_malloc_counted(instance, RUN_BYTES, &block_bytes);
    snprintf(place, sizeof place, "%zu-byte run", block_bytes);
    CHECK_GE(block_bytes, RUN_BYTES);
    expect_free(instance, "interior pointer", run + 16, place);
    expect_free(instance, "interior pointer", run + RUN_BYTES / 2 / 16 * 16, place);
    expect_free(instance, "interior pointer", run + RUN_BYTES / 16 * 16 - 16, place);
    emma_free(instance, run);
    CHECK_EQ(reports, 0);
    expect_free(instance, "double free of", run, "free chunk");
    expect_free(instance, "double free of", run + RUN_BYTES - 16, "free chunk");
}

static void foreign(emma *instance)
{
    char *origin = (char *)((uintptr_t)instance & ~(uintptr_t)(TEST_PAGE_BYTES - 1));
    char *end = origin + test_stats(instance).reserve_bytes;
    expect_free(instance, "foreign pointer", origin - 1, "outside the region");
    expect_free(instance, "foreign pointer", end, "outside the region");
    expect_free(instance, "double free of", end - 16, "free chunk");
    expect_free(instance, "foreign pointer", (void *)1, "outside the region");
    expect_free(instance, "foreign pointer", (void *)UINTPTR_MAX, "outside the region");
}

static bool find_heap(void *arg, const emma_chunk_stats *chunk)
{
    if (chunk->kind != EMMA_CHUNK_HEAP)
        return true;
    *(size_t *)arg = chunk->offset_bytes;
    return false;
}

/* The state of a thread's heap, and the chunk of a short run, which the heap holds once it is free. */
static void heaps(emma *instance)
{
    char *origin = (char *)((uintptr_t)instance & ~(uintptr_t)(TEST_PAGE_BYTES - 1));
    size_t offset = 0;
    CHECK(!emma_walk_chunks(instance, find_heap, &offset));
    expect_free(instance, "misaligned pointer", origin + offset + 64, "no block");
    void *run = NULL;
    for (size_t bytes = SHORT_RUN_BYTES; !run;
         bytes += SHORT_RUN_BYTES) { /* the first that is one */
        const size_t large = test_stats(instance).large_blocks;
        run = emma_malloc(instance, bytes);
        if (test_stats(instance).large_blocks == large)
            run = NULL;
    }
    emma_free(instance, run);
    expect_free(instance, "double free of", run, "free chunk");
}

static void all(unsigned flags)
{
    emma *instance = create(flags & EMMA_SHARED ? "shared" : "local", flags);
    /* The page of the instance itself. */
    if (!(flags & EMMA_SHARED) || TEST_CHECKED_BUILD) {
        emma_free(instance, instance);
        expect("misaligned pointer", instance, "no block");
    }
    runs(instance);
    foreign(instance);
    if (flags & EMMA_SHARED)
        heaps(instance);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
}

/* A slab of the young area, and one that is a chunk; a plain build's lists do not stay whole. */
static void slabs(unsigned flags)
{
    emma *instance = create("slabs", flags);
    twice(instance, SMALL_BYTES);
    twice(instance, SLAB_BYTES);
    emma_destroy(instance);
}

int main(void)
{
    slabs(0);
    slabs(EMMA_ALIGN8);
    all(0);
    all(EMMA_ALIGN8);
    all(EMMA_CHECKPOINTS);
    all(EMMA_SHARED);
    return 0;
}
