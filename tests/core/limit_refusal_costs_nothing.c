/* A call that is refused because the limit is far below what it asks for leaves every figure but
 * the count of refusals as it was, and takes nothing from what can be allocated after it. */
#include "emma_test.h"

enum { REQUESTS = 6, SMALL_BYTES = 64, RUN_BYTES = 20000 };

typedef struct instance_blocks {
    emma *instance;
    void *small;
    void *run, *fenced; /* `run` can grow in place, `fenced` has a neighbour; NULL: no room */
} instance_blocks;

static void *request(const instance_blocks *b, unsigned kind, size_t bytes)
{
    switch (kind) {
    case 0:
        return emma_malloc(b->instance, bytes);
    case 1:
        return emma_calloc(b->instance, 2, bytes / 2);
    case 2:
        return emma_aligned_alloc(b->instance, TEST_MIB, bytes);
    case 3:
        return emma_realloc(b->instance, b->small, bytes);
    case 4:
        return emma_realloc(b->instance, b->fenced, bytes);
    default:
        return emma_realloc(b->instance, b->run, bytes);
    }
}

static instance_blocks prepare(size_t limit, size_t reserve)
{
    emma_options options = test_options();
    options.limit_bytes = limit;
    options.reserve_bytes = reserve;
    instance_blocks b = { emma_create(&options), NULL, NULL, NULL };
    CHECK(b.instance != NULL);
    b.small = emma_malloc(b.instance, SMALL_BYTES);
    b.fenced = emma_malloc(b.instance, RUN_BYTES);
    b.run = emma_malloc(b.instance, RUN_BYTES);
    CHECK(b.small != NULL);
    emma_trim(b.instance); /* a refused call may give back what is only kept for reuse */
    return b;
}

static size_t fill(emma *instance, size_t bytes)
{
    size_t count = 0;
    while (emma_malloc(instance, bytes))
        count++;
    emma_destroy(instance);
    return count;
}

static void refuse(const instance_blocks *b, unsigned kind, size_t bytes)
{
    emma_stats before = test_stats(b->instance);
    CHECK_EQ(request(b, kind, bytes), NULL);
    const emma_stats after = test_stats(b->instance);
    CHECK_EQ(after.footprint_bytes, before.footprint_bytes);
    CHECK_EQ(after.metadata_bytes, before.metadata_bytes);
    before.refused_count++;
    CHECK(memcmp(&before, &after, sizeof after) == 0);
    CHECK_EQ(emma_check(b->instance), EMMA_OK);
}

static void run(size_t limit, size_t reserve)
{
    for (size_t bytes = SMALL_BYTES; bytes <= RUN_BYTES; bytes += RUN_BYTES - SMALL_BYTES) {
        const size_t usual = fill(prepare(limit, reserve).instance, bytes);
        for (unsigned kind = 0; kind < REQUESTS; kind++) {
            const instance_blocks b = prepare(limit, reserve);
            for (size_t asked = 2 * limit; asked <= TEST_GIB; asked *= 2)
                refuse(&b, kind, asked);
            refuse(&b, kind, limit + 1);
            CHECK_EQ(fill(b.instance, bytes), usual);
        }
    }
}

int main(void)
{
    for (size_t limit = EMMA_LIMIT_MIN_BYTES; limit <= 4 * TEST_MIB; limit *= 4) {
        run(limit, 0);
        run(limit, 4 * TEST_GIB);
    }
    return 0;
}
