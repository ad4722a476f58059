/* test: +canaries +hardened */
/* emma_realloc between all pairs of sizes up to 2,048: contents kept, and the block never overlaps
 * its neighbours, which stand as close as they come. */
#include "emma_test.h"

enum { SIZE_MAX_BYTES = 2048, GUARDS = 4 };

static unsigned char *guard_blocks[2 * GUARDS];

static void check_guards(size_t bytes)
{
    for (size_t i = 0; i < GUARDS; i++)
        CHECK(test_filled(guard_blocks[i], bytes, i));
}

static void make_guards(emma *instance, size_t first, size_t bytes)
{
    for (size_t i = first; i < first + GUARDS; i++) {
        guard_blocks[i] = emma_malloc(instance, bytes);
        CHECK(guard_blocks[i] != NULL);
        test_fill(guard_blocks[i], bytes, i);
    }
}

/* From `from` to each size and back, with blocks of size `from` on all sides. */
static void try_from(emma *instance, size_t from, size_t stride)
{
    make_guards(instance, 0, from);
    unsigned char *block = emma_malloc(instance, from);
    make_guards(instance, GUARDS, from);
    CHECK(block != NULL);
    for (size_t to = from % stride; to <= SIZE_MAX_BYTES; to += stride) {
        const size_t kept = from < to ? from : to;
        test_fill(block, from, to);
        block = emma_realloc(instance, block, to);
        CHECK(block != NULL);
        CHECK(test_filled(block, kept, to));
        CHECK_GE(emma_usable_size(instance, block), to);
        test_fill(block, to, ~to);
        block = emma_realloc_sized(instance, block, to, from);
        CHECK(block != NULL);
        CHECK(test_filled(block, kept, ~to));
        test_fill(block, from, to);
    }
    check_guards(from);
    for (size_t i = 0; i < 2 * GUARDS; i++) {
        CHECK(test_filled(guard_blocks[i], from, i));
        emma_free(instance, guard_blocks[i]);
    }
    emma_free_sized(instance, block, from);
}

static void run(unsigned flags)
{
    const size_t stride = test_steps(20) < 20 ? 13 : 1;
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    for (size_t from = 0; from <= SIZE_MAX_BYTES; from += stride) {
        try_from(instance, from, stride);
        if (from % 64 == 0)
            CHECK_EQ(emma_check(instance), EMMA_OK);
    }
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    return 0;
}
