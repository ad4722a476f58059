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
    EXPECT_FOUND(instance->young_count, EMMAI_YOUNG_SLABS + 1);
    emmai_slab *young = &instance->young[spanning];
    EXPECT_FOUND(young->unit_count, EMMAI_UNIT_COUNT);
    EXPECT_FOUND(young->kind, EMMAI_RUN);
    EXPECT_FOUND(young->carved, UINT16_MAX);
    emmai_slab *chunk = emmai_slab_of_id(instance, 0);
    EXPECT_FOUND(chunk->kind, EMMAI_FREE);
    EXPECT_FOUND(chunk->plain_frees, 1);
}

/* A slab that has nothing to offer, and the head of its class. */
static void damage_full(void)
{
    enum { FULL_BYTES = 600, FULL_BLOCKS = 60 };
    void *at[FULL_BLOCKS];
    emmai_slab *full = NULL;
    for (size_t i = 0; i < FULL_BLOCKS; i++)
        CHECK((at[i] = emma_malloc(instance, FULL_BYTES)) != NULL);
    for (size_t i = 0; i < FULL_BLOCKS; i++)
        if (slab_of(at[i])->kind == EMMAI_FULL && !emmai_slab_is_young(instance, slab_of(at[i])))
            full = slab_of(at[i]);
    CHECK(full != NULL);
    EXPECT_FOUND(full->plain_frees, 1);
    EXPECT_FOUND(full->free, at[0]);
    EXPECT_FOUND(full->carved, full->carved - 1);
    EXPECT_FOUND(full->size_class, 0);
    if (EMMA_CHECKS) {
        const size_t second = emmai_offset(instance, emmai_slab_address(instance, full)) + 16;
        EXPECT_FOUND(instance->block_map[second >> EMMAI_MARK_SHIFT], 1);
    }
    EXPECT_FOUND(instance->heap.heads[full->size_class], full);
    for (size_t i = 0; i < FULL_BLOCKS; i++)
        emma_free(instance, at[i]);
}

/* The rings, and the bin of a head that has blocks in it. */
static void damage_rings(emmai_slab *slab)
{
    emmai_heap *heap = &instance->heap;
    const unsigned size_class = slab->size_class;
    emmai_slab *head = heap->heads[size_class];
    emmai_slab *next = emmai_slab_of_id(instance, head->next);
    CHECK(next != head);
    EXPECT_FOUND(next->prev, next->prev + 1);
    EXPECT_FOUND(heap->bins[EMMAI_CLASS_COUNT - 1], slab->free);
    EXPECT_FOUND(heap->heads[size_class + 1], head);
    emma_free(instance, emma_malloc(instance, 200)); /* the bin is filled now */
    head = heap->heads[size_class];
    CHECK(heap->bins[size_class] != NULL);
    EXPECT_FOUND(heap->bins[size_class], (char *)heap->bins[size_class] + 8);
    EXPECT_FOUND(head->plain_frees, -1);
    /* A slab in a ring that is not known to be in use. */
    const size_t chunk = (size_t)emmai_id_of_slab(instance, slab);
    const uint32_t hint = instance->low_hint;
    instance->low_hint = EMMAI_YOUNG_CHUNKS;
    EXPECT_FOUND(instance->chunk_map[chunk / 64],
                 instance->chunk_map[chunk / 64] & ~(1ull << chunk % 64));
    instance->low_hint = hint;
}

/* The chunks that are free and keep memory. */
static void damage_retained(emmai_slab *free_chunk, const emmai_slab *used)
{
    uint64_t *map = instance->retained_map;
    const size_t in_use = (size_t)emmai_id_of_slab(instance, used);
    const size_t last = instance->chunk_count - 1;
    EXPECT_FOUND(free_chunk->kind, EMMAI_SLAB);
    EXPECT_FOUND(free_chunk->free, free_chunk);
    EXPECT_FOUND(map[in_use / 64], map[in_use / 64] | 1ull << in_use % 64);
    EXPECT_FOUND(map[last / 64], map[last / 64] | 1ull << last % 64);
}

/* Levels: in order, and of as many pages as they say. */
static void damage_levels(void)
{
    unsigned number;
    instance = test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 20; k++)
            CHECK(emma_malloc(instance, 3000) != NULL);
        CHECK_EQ(emma_checkpoint(instance, &number), EMMA_OK);
    }
    emmai_checkpoints *checkpoints = instance->control->checkpoints;
    emmai_level *top = (emmai_level *)(uintptr_t)checkpoints->top;
    CHECK_GT(top->count, 1);
    CHECK_EQ(mprotect(top, top->mapping_bytes, PROT_READ | PROT_WRITE),
             0); /* it is to be read only */
    CHECK_EQ(emma_check(instance), EMMA_OK);
    EXPECT_FOUND(top->index[1], top->index[0]);
    EXPECT_FOUND(top->number, 0);
    EXPECT_FOUND(checkpoints->pages, checkpoints->pages + 1);
    EXPECT_FOUND(checkpoints->image.low_pages, checkpoints->image.view_pages + 1);
    emma_destroy(instance);
}

/* What a thread leaves that stops anywhere is a loss, not an error. */
static void expect_lost(uint8_t *kind, enum emmai_kind lost)
{
    const uint8_t was = *kind;
    *kind = (uint8_t)lost;
    CHECK_EQ(emma_check(instance), EMMA_OK);
    *kind = was;
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

/* What the threads' heaps and tags say of slabs; sums are at least what is found. */
static void damage_shared(void)
{
    instance = test_create(EMMA_UNLIMITED, EMMA_SHARED);
    void *block = emma_malloc(instance, 100);
    void *large = emma_malloc(instance, 200000);
    CHECK(block && large);
    memset(large, 1, 200000);
    emma_free(instance, large);
    emmai_tag *tag = emmai_tag_of_block(instance, block);
    emmai_control *control = instance->control;
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_GT(control->retained_pages, 0);
    EXPECT_FOUND(tag->size_class, tag->size_class + 1);
    EXPECT_FOUND(tag->owner, 2);
    EXPECT_FOUND(slab_of(block)->size_class, 0); /* claimed for nothing, but in a ring */
    EXPECT_FOUND(control->retained_pages, 0);
    EXPECT_FOUND(control->footprint_pages, 1);

    large = emma_malloc(instance, 200000);
    CHECK(large != NULL);
    const size_t chunk = (size_t)emmai_id_of_slab(instance, slab_of(large));
    expect_lost(&emmai_slab_of_id(instance, (ptrdiff_t)chunk + 1)->kind, EMMAI_FREE);
    emmai_bits_set(instance->retained_map, chunk, 1);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emmai_bits_clear(instance->retained_map, chunk, 1);
    emma_destroy(instance);
}

static bool visit_nothing(void *arg, void *block, size_t usable)
{
    (void)arg, (void)block, (void)usable;
    return true;
}

/* A walk ends at a list that leads out of its slab. */
static void walk_damaged(emmai_slab *slab)
{
    void *was = slab->free;
    CHECK(emma_walk(instance, visit_nothing, NULL));
    slab->free = (char *)was + 8;
    CHECK(!emma_walk(instance, visit_nothing, NULL));
    slab->free = was;
    emmai_slab *young = &instance->young[0];
    was = young->free;
    young->free = emmai_origin(instance);
    CHECK(!emma_walk(instance, visit_nothing, NULL));
    young->free = was;
}

/* An audited build stops at a flaw by itself. */
static void change_damaged(void *arg)
{
    (void)arg;
    instance->control->metadata_pages++;
    for (int i = 0; i < 1000; i++)
        emma_free(instance, emma_malloc(instance, 100000));
}

static void expect_audit(void)
{
    char text[256];
    const int status = test_run_child(change_damaged, NULL, text, sizeof text);
    if (EMMA_AUDIT)
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL);
    else
        CHECK(WIFEXITED(status));
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
    const void *small = emma_malloc(instance, 10);
    const size_t small_at = emmai_offset(instance, small);
    EXPECT_FOUND(marks[small_at >> EMMAI_MARK_SHIFT], 127 | (small_at & 8) << 4);
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
    EXPECT_FOUND(slab->size_class, 0);
    EXPECT_FOUND(slab->kind, EMMAI_FULL);
    EXPECT_FOUND(slab->free, blocks[0]);
    EXPECT_FOUND(slab->kind, EMMAI_RUN);
    EXPECT_FOUND(slab->kind, EMMAI_HEAP);
    EXPECT_FOUND(slab->kind, EMMAI_FREE);
    EXPECT_FOUND(slab->resident, slab->resident + 1);
    EXPECT_FOUND(slab->resident, 0);
    EXPECT_FOUND(run->kind, EMMAI_BODY);
    EXPECT_FOUND(run->run_bytes, 0);
    EXPECT_FOUND(run->run_bytes, run->run_bytes * 2);
    EXPECT_FOUND(run->run_bytes, run->run_bytes / 2);
    EXPECT_FOUND(run->run_bytes, instance->region_bytes);
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
    damage_retained(free_chunk, slab);
    damage_marks(slab, large);
    damage_young();
    damage_full();
    damage_rings(slab);
    walk_damaged(slab);
    expect_audit();
    damage_extents(run);
    emma_destroy(instance);
    damage_levels();
    damage_shared();
    return 0;
}
