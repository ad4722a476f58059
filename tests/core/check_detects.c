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
    EXPECT_FOUND(instance->unit_slab[EMMAI_PAGE_BYTES / EMMAI_UNIT_BYTES], 0);
    emma_destroy(instance);
    return 0;
}
