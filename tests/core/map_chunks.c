/* emma_walk_chunks shows what each chunk is used for as it changes, stops where the visitor says, lets it ask, and
 * agrees with the figures, of a shared instance too. */
#include "emma_test.h"

enum { SMALL_BYTES = 60, SLAB_BLOCKS = 500, SLAB_BLOCK_BYTES = 1024, RUN_BYTES = 1000000 };

typedef struct visits {
    const emma *instance;
    size_t count, stop_after;
    size_t of_kind[EMMA_CHUNK_HEAP + 1];
    size_t run_bytes, run_space, run_resident;
    size_t slab_blocks; /* live ones of SLAB_BLOCK_BYTES, in slabs of their own */
} visits;

static bool visit(void *arg, const emma_chunk_stats *chunk)
{
    visits *seen = arg;
    const emma_stats stats = test_stats(seen->instance);
    CHECK_LE(chunk->live_blocks, stats.live_blocks);
    CHECK_LE(chunk->kind, EMMA_CHUNK_HEAP);
    CHECK_LT(chunk->offset_bytes, stats.reserve_bytes);
    seen->of_kind[chunk->kind]++;
    if (chunk->kind == EMMA_CHUNK_RUN) {
        CHECK_EQ(chunk->live_blocks, 1);
        CHECK_EQ(chunk->free_blocks, 0);
        seen->run_bytes = chunk->block_bytes;
        seen->run_space = chunk->bytes;
        seen->run_resident = chunk->resident_bytes;
    } else if (chunk->kind == EMMA_CHUNK_SLAB && chunk->block_bytes >= SLAB_BLOCK_BYTES) {
        seen->slab_blocks += chunk->live_blocks;
    } else if (chunk->kind == EMMA_CHUNK_FREE || chunk->kind == EMMA_CHUNK_HEAP) {
        CHECK_EQ(chunk->live_blocks + chunk->free_blocks + chunk->block_bytes, 0);
        CHECK_GT(chunk->resident_bytes, 0);
    }
    return ++seen->count != seen->stop_after;
}

static visits look(const emma *instance)
{
    visits seen = { .instance = instance };
    CHECK(emma_walk_chunks(instance, visit, &seen));
    test_compare_chunks(instance);
    return seen;
}

static void run(unsigned flags)
{
    static void *blocks[SLAB_BLOCKS];
    emma_options options = test_options();
    options.flags = flags;
    options.decay_ms = EMMA_DECAY_NEVER;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    CHECK_EQ(look(instance).of_kind[EMMA_CHUNK_YOUNG], 1);
    for (size_t bytes = 1; bytes < SMALL_BYTES; bytes++) /* packed, in a local instance */
        CHECK(emma_malloc(instance, bytes) != NULL);
    look(instance);

    void *block = emma_malloc(instance, RUN_BYTES);
    CHECK(block != NULL);
    visits seen = look(instance);
    CHECK_EQ(seen.of_kind[EMMA_CHUNK_RUN], 1);
    CHECK_GE(seen.run_bytes, RUN_BYTES);
    CHECK_GE(seen.run_resident, seen.run_bytes);
    CHECK_GE(seen.run_space, seen.run_resident);
    CHECK_EQ(seen.of_kind[EMMA_CHUNK_HEAP] != 0, (flags & EMMA_SHARED) != 0);
    emma_free(instance, block);
    seen = look(instance);
    CHECK_EQ(seen.of_kind[EMMA_CHUNK_RUN], 0);
    CHECK_GT(seen.of_kind[EMMA_CHUNK_FREE], 0);

    for (size_t i = 0; i < SLAB_BLOCKS; i++)
        CHECK((blocks[i] = emma_malloc(instance, SLAB_BLOCK_BYTES)) != NULL);
    seen = look(instance);
    CHECK_GT(seen.slab_blocks, SLAB_BLOCKS / 2);
    const size_t all = seen.count;
    for (size_t stop = 1; stop <= all; stop++) {
        seen = (visits){ .instance = instance, .stop_after = stop };
        CHECK(!emma_walk_chunks(instance, visit, &seen));
        CHECK_EQ(seen.count, stop);
    }
    for (size_t i = 0; i < SLAB_BLOCKS; i += 2)
        emma_free(instance, blocks[i]);
    CHECK_LE(look(instance).slab_blocks, SLAB_BLOCKS / 2);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    look(instance);
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    run(EMMA_CHECKPOINTS);
    run(EMMA_SHARED);
    return 0;
}
