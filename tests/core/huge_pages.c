/* test: whole +hardened */
/* Where huge pages are asked for: for slabs of a large heap, but not near the limit nor where there are checkpoints; for
 * runs of 32 MiB and more, whose part that is given up loses them; never where there are guards. Where the kernel does not withdraw the advice for
 * a part, the whole instance is without. */
#include "emma_fault.h"

enum { BLOCK_BYTES = 1000 };

static bool refuses; /* to change the advice for a huge page alone */
static size_t of_all;
static bool guarded;
static size_t mapping_bytes;

static bool answer(long number, long b, long *result)
{
    of_all += number == SYS_madvise && (size_t)b == mapping_bytes;
    *result = -ENOMEM;
    return refuses && number == SYS_madvise && (size_t)b == HUGE_BYTES;
}

static emma *create(unsigned flags, size_t limit_bytes)
{
    emma_options options = test_options();
    options.flags = flags;
    options.limit_bytes = limit_bytes;
    options.reserve_bytes = TEST_GIB;
    options.decay_ms = EMMA_DECAY_NEVER;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    mapping_bytes = instance->control->mapping_bytes;
    guarded = instance->control->guards;
    of_all = 0;
    return instance;
}

/* Fills an instance with small blocks; returns how often it then had most of a huge page in hand. */
static size_t fill(unsigned flags, size_t limit_bytes)
{
    size_t ahead = 0;
    emma *instance = create(flags, limit_bytes);
    for (size_t bytes = 0; bytes < 24 * TEST_MIB; bytes += BLOCK_BYTES) {
        if (!emma_malloc(instance, BLOCK_BYTES))
            break;
        ahead += instance->control->retained_pages > 3 * HUGE_PAGES / 4;
    }
    CHECK_GT(test_stats(instance).footprint_bytes, 16 * TEST_MIB);
    CHECK_LE(test_stats(instance).footprint_bytes, limit_bytes);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return ahead;
}

static void slabs(void)
{
    CHECK_EQ(fill(0, EMMA_UNLIMITED) != 0, !guarded);
    CHECK_EQ(of_all, 0);
    CHECK_EQ(fill(0, 20 * TEST_MIB - 64 * TEST_KIB), 0);
    CHECK_EQ(fill(EMMA_CHECKPOINTS, EMMA_UNLIMITED), 0);
    refuses = true;
    CHECK_EQ(fill(0, EMMA_UNLIMITED) != 0, !guarded);
    CHECK_EQ(of_all != 0, !guarded);
    refuses = false;
}

static void *resized(emma *instance, void *block, size_t bytes, bool advised)
{
    CHECK_EQ(emma_realloc(instance, block, bytes), block);
    const emmai_slab *run = emmai_slab_of_offset(instance, emmai_offset(instance, block));
    CHECK_EQ(run->huge_advised, advised && !guarded);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    return block;
}

static void runs(void)
{
    emma *instance = create(0, EMMA_UNLIMITED);
    void *block = emma_malloc(instance, 40 * TEST_MIB);
    resized(instance, block, 40 * TEST_MIB + EMMAI_CHUNK_BYTES, true);
    resized(instance, block, 40 * TEST_MIB, true);
    resized(instance, block, 50 * TEST_MIB, true);
    resized(instance, block, 34 * TEST_MIB, true);
    resized(instance, block, 20 * TEST_MIB, false);
    resized(instance, block, 24 * TEST_MIB, false);
    emma_free(instance, block);
    emma_destroy(instance);
}

int main(void)
{
    fault.answer = answer;
    slabs();
    runs();
    return 0;
}
