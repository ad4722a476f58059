/* test: whole */
/* emma_check finds what it is there to find: each broken invariant, made by hand, is told, and with
 * the damage undone all is well again. */
#include "emma_fault.h"

enum { BLOCKS = 3000 };

static emma *instance;
static void *blocks[BLOCKS];

static emmai_slab *slab_of(void *block)
{
    return emmai_block_slab(instance, block);
}

static void expect_found(const char *what, void *place, size_t bytes, const void *damage)
{
    unsigned char saved[16];
    CHECK_LE(bytes, sizeof saved);
    memcpy(saved, place, bytes);
    CHECK(memcmp(place, damage, bytes) != 0);
    memcpy(place, damage, bytes);
    const enum emma_status status = emma_check(instance);
    memcpy(place, saved, bytes);
    if (status != EMMA_CORRUPT)
        dprintf(STDERR_FILENO, "not found: %s\n", what);
    CHECK_EQ(status, EMMA_CORRUPT);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

#define EXPECT_FOUND(place, value)                                           \
    do {                                                                     \
        __typeof__(place) damage = (__typeof__(place))(value);               \
        expect_found(#place " = " #value, &(place), sizeof(place), &damage); \
    } while (0)

/* A chunk slab with blocks both live and free, a run of several chunks, a free chunk that keeps
 * memory. */
static void prepare(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_ALIGN8);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, 200);
        CHECK(blocks[i] != NULL);
    }
    for (size_t i = 0; i < BLOCKS; i += 3)
        emma_free(instance, blocks[i]);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

/* The units of the young area: of page 0, of a slab, of none. */
static void damage_young(void)
{
    size_t spanning = 0;
    while (instance->young[spanning].unit_count < 2)
        CHECK_LT(++spanning, instance->young_count);
    const size_t first = instance->young[spanning].first_unit;
    EXPECT_FOUND(instance->unit_slab[EMMAI_PAGE_BYTES / EMMAI_UNIT_BYTES], 0);
    EXPECT_FOUND(instance->unit_slab[first], 0);
    EXPECT_FOUND(instance->unit_slab[first + 1], 0);
    EXPECT_FOUND(instance->unit_slab[first + 1], spanning + 2);
    EXPECT_FOUND(instance->young_units, instance->young_units + 1);
}

/* What is known of chunks apart from their entries; the run is the last one. */
static void damage_extents(const emmai_slab *run)
{
    emmai_control *control = instance->control;
    const size_t chunk = (size_t)emmai_id_of_slab(instance, run);
    const size_t end = chunk + emmai_run_chunks(run);
    emma_trim(instance); /* no chunk behind the run that keeps memory: it would be found missing */
    for (size_t i = chunk; i < end; i++)
        EXPECT_FOUND(instance->chunk_map[i / 64], instance->chunk_map[i / 64] ^ 1ull << i % 64);
    EXPECT_FOUND(control->run_committed, chunk);
    EXPECT_FOUND(control->run_committed, chunk + 1);
    EXPECT_FOUND(control->run_committed, end - 1);
    const size_t free_chunk =
        emmai_bits_find(instance->chunk_map, EMMAI_YOUNG_CHUNKS, instance->chunk_count, false);
    EXPECT_FOUND(instance->low_hint, free_chunk + 1);
    EXPECT_FOUND(instance->low_hint, instance->chunk_count);
}

/* The map of blocks that the caller has: `slab` has free ones. */
static void damage_marks(const emmai_slab *slab, const void *large)
{
    if (!EMMA_CHECKS)
        return;
    uint8_t *marks = instance->block_map;
    const size_t free_at = emmai_offset(instance, slab->free);
    const size_t run_at = emmai_offset(instance, large);
    EXPECT_FOUND(marks[free_at >> EMMAI_MARK_SHIFT], 1 | (free_at & 8) << 4);
    EXPECT_FOUND(marks[(free_at >> EMMAI_MARK_SHIFT) + 1], 1);
    EXPECT_FOUND(marks[(run_at >> EMMAI_MARK_SHIFT) + 1], 1);
}

int main(void)
{
    prepare();
    void *large = emma_malloc(instance, 1000000);
    void *gone = emma_malloc(instance, 1000000);
    CHECK(large && gone);
    memset(gone, 1, 1000000);
    emmai_slab *free_chunk = slab_of(gone);
    emma_free(instance, gone);
    emmai_slab *run = slab_of(large), *slab = slab_of(blocks[BLOCKS - 2]);
    emmai_slab *body = emmai_slab_of_id(instance, emmai_id_of_slab(instance, run) + 1);
    emmai_control *control = instance->control;
    CHECK_EQ(slab->kind, EMMAI_SLAB);
    CHECK(slab->free != NULL);

    EXPECT_FOUND(slab->plain_frees, slab->plain_frees + 1);
    EXPECT_FOUND(slab->plain_frees, slab->plain_frees - 1);
    EXPECT_FOUND(slab->plain_frees, -2);
    EXPECT_FOUND(slab->free, NULL);
    EXPECT_FOUND(slab->free, (char *)slab->free + 8);
    EXPECT_FOUND(*(void **)slab->free, slab->free); /* a list that bites its tail */
    EXPECT_FOUND(slab->carved, slab->carved + 1);
    EXPECT_FOUND(slab->carved, UINT32_MAX);
    EXPECT_FOUND(slab->size_class, slab->size_class + 1);
    EXPECT_FOUND(slab->size_class, 0xff);
    EXPECT_FOUND(slab->kind, EMMAI_FULL);
    EXPECT_FOUND(slab->kind, EMMAI_RUN);
    EXPECT_FOUND(slab->kind, EMMAI_FREE);
    EXPECT_FOUND(slab->resident, slab->resident + 1);
    EXPECT_FOUND(slab->resident, 0);
    EXPECT_FOUND(run->kind, EMMAI_BODY);
    EXPECT_FOUND(run->run_bytes, 0);
    EXPECT_FOUND(run->run_bytes, run->run_bytes * 2);
    EXPECT_FOUND(run->run_bytes, run->run_bytes / 2);
    EXPECT_FOUND(run->plain_frees, 1);
    EXPECT_FOUND(body->kind, EMMAI_FREE);
    EXPECT_FOUND(body->plain_frees, 1);
    EXPECT_FOUND(body->resident, 1);
    EXPECT_FOUND(free_chunk->resident, 0);
    EXPECT_FOUND(free_chunk->plain_frees, 1);
    EXPECT_FOUND(control->footprint_pages, control->footprint_pages + 1);
    EXPECT_FOUND(control->footprint_pages, control->footprint_pages - 1);
    EXPECT_FOUND(control->retained_pages, control->retained_pages + 1);
    EXPECT_FOUND(control->metadata_pages, control->metadata_pages + 1);
    EXPECT_FOUND(control->peak_pages, 1);
    EXPECT_FOUND(control->limit_pages, 1);
    EXPECT_FOUND(control->low_committed, 0);
    EXPECT_FOUND(instance->chunk_map[0], 0);
    damage_marks(slab, large);
    damage_young();
    damage_extents(run);
    emma_destroy(instance);
    return 0;
}
