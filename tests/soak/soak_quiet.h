/* soak_quiet.h - what is verified while no thread uses anything: after each round all contents, and each instance's view
 * of them; after each epoch, with all blocks freed, what instances and process still have, which must not
 * grow from epoch to epoch. */
#ifndef EMMA_SOAK_QUIET_H
#define EMMA_SOAK_QUIET_H

#include "soak_threads.h"

/* ---- all that is known to be live in a shared instance ---- */

enum { KNOWN_MAX = (WORKERS * (SETS + 1) + 2) * STORM_SLOTS + STORM_TABLE };

typedef struct known_blocks {
    const storm_parcel *at[KNOWN_MAX];
    size_t count, visited, unknown;
    const emma *instance;
} known_blocks;

static known_blocks known;

static void know(const storm_parcel *parcel)
{
    if (!parcel)
        return;
    CHECK_LT(known.count, KNOWN_MAX);
    storm_verify(parcel);
    CHECK(emma_owns(known.instance, parcel));
    known.at[known.count++] = parcel;
}

static void know_set(const storm_set *set)
{
    CHECK_EQ(set->changing, 0);
    for (size_t i = 0; i < STORM_SLOTS; i++)
        know(set->slots[i]);
}

static int by_address(const void *left, const void *right)
{
    const uintptr_t a = *(const uintptr_t *)left, b = *(const uintptr_t *)right;
    return (a > b) - (a < b);
}

static void know_all(enum shared_kind kind)
{
    known.instance = shareds[kind].instance;
    known.count = known.visited = known.unknown = 0;
    for (size_t i = 0; i < WORKERS; i++)
        for (int j = 0; j < SETS; j++)
            know_set(&workers[i].sets[kind][j]);
    know_set(&shareds[kind].of_main);
    for (size_t i = 0; i < STORM_TABLE; i++)
        know(shareds[kind].table[i]);
    qsort(known.at, known.count, sizeof known.at[0], by_address);
    for (size_t i = 1; i < known.count; i++)
        CHECK_LE((uintptr_t)known.at[i - 1] + known.at[i - 1]->bytes, known.at[i]);
    count(VERIFIED, known.count);
}

/* The walk goes by address. Of a struck instance it may pass over slabs that were left in the middle of a change. */
static bool visit_known(void *arg, void *block, size_t bytes)
{
    const bool exact = *(const bool *)arg;
    while (!exact && known.visited < known.count &&
           (uintptr_t)known.at[known.visited] < (uintptr_t)block)
        known.visited++;
    if (known.visited < known.count && known.at[known.visited] == block) {
        CHECK_GE(bytes, known.at[known.visited]->bytes);
        known.visited++;
        return true;
    }
    CHECK(!exact);
    known.unknown++;
    return true;
}

/* ---- a shared instance after a round ---- */

/* What a thread may leave in the middle here, as so many times what the storms say: a huge block that it was just
 * freeing, or what a trim was just giving back; and a huge block that it just had, as so many others. */
enum { LEFT_FACTOR = 16, LEFT_LOST = 64 };

static void verify_classes(const emma *instance, const emma_stats *stats)
{
    size_t blocks = stats->large_blocks, bytes = stats->large_bytes;
    emma_class_stats kind = { .struct_bytes = sizeof kind };
    for (unsigned i = 0; emma_get_class_stats(instance, i, &kind); i++) {
        blocks += kind.live_blocks;
        bytes += kind.live_blocks * kind.block_bytes;
        CHECK_LE(kind.live_blocks * kind.block_bytes, kind.footprint_bytes);
    }
    CHECK_EQ(blocks, stats->live_blocks);
    CHECK_EQ(bytes, stats->live_bytes);
}

/* The limit's handler was called once each way. */
static void verify_crossings(shared *s)
{
    const emma_stats before = test_stats(s->instance);
    const size_t same = before.soft_limit_bytes ? before.soft_limit_bytes : 1;
    CHECK_EQ(emma_set_soft_limit(s->instance, same), EMMA_OK);
    const uint64_t overs = __atomic_load_n(&s->overs, __ATOMIC_RELAXED);
    const uint64_t unders = __atomic_load_n(&s->unders, __ATOMIC_RELAXED);
    CHECK_EQ(overs - unders, before.footprint_bytes > before.soft_limit_bytes);
}

static void verify_shared(enum shared_kind kind)
{
    shared *s = &shareds[kind];
    bool exact = kind != STRUCK;
    doing = shared_names[kind];
    know_all(kind);
    CHECK_EQ(emma_check(s->instance), EMMA_OK);
    CHECK(emma_walk(s->instance, visit_known, &exact));
    const emma_stats stats = test_stats(s->instance);
    if (exact) {
        CHECK_EQ(known.visited, known.count);
        CHECK_EQ(stats.live_blocks, known.count);
        CHECK_EQ(stats.abandoned_bytes, 0);
        test_compare_chunks(s->instance);
        verify_classes(s->instance, &stats);
        verify_crossings(s);
    }
    CHECK_LE(known.unknown, s->lost);
    CHECK_LE(stats.live_blocks, known.count + s->lost);
    CHECK_LE(stats.abandoned_bytes, s->left * LEFT_FACTOR * STORM_LEFT_BYTES);
    CHECK_LE(stats.footprint_bytes, stats.limit_bytes);
    CHECK_LE(stats.footprint_bytes, stats.peak_footprint_bytes);
    CHECK_LE(stats.retained_bytes + stats.live_bytes, stats.footprint_bytes);
    doing = NULL;
}

static void verify_local(local *l)
{
    doing = "a local one";
    local_close(l);
    model_verify(&l->m);
    const emma_stats stats = test_stats(l->m.instance);
    CHECK_EQ(stats.abandoned_bytes, 0);
    CHECK_LE(stats.footprint_bytes, stats.limit_bytes);
    count(VERIFIED, l->m.live_blocks);
    l->closed = false;
    doing = NULL;
}

/* ---- what is left after an epoch ---- */

/* A figure of each epoch, by quarters of the soak. In the first it may grow. */
typedef struct figure {
    const char *name;
    size_t
        rise_percent; /* that it may rise by: what stays as high as it ever was, by chance, may once more */
    size_t count[4], least[4], most[4], last;
} figure;

enum figure_kind {
    LEFT_STEADY,   /* footprint of that instance, but for metadata and heaps */
    LEFT_STRUCK,   /* after a reset */
    LEFT_METADATA, /* of the steady instance */
    LEFT_HEAPS,    /* that it has */
    LEFT_LOCAL,    /* footprint of all local instances */
    LEFT_BEYOND,   /* resident memory of the process beyond what instances account for */
    LEFT_MAPPINGS,
    FIGURES
};

static figure figures[FIGURES] = {
    [LEFT_STEADY] = { .name = "KiB of the steady instance" },
    [LEFT_STRUCK] = { .name = "KiB of the struck instance", .rise_percent = 100 },
    [LEFT_METADATA] = { .name = "KiB of metadata", .rise_percent = 1000 },
    [LEFT_HEAPS] = { .name = "heaps", .rise_percent = 25 },
    [LEFT_LOCAL] = { .name = "KiB of local instances" },
    [LEFT_BEYOND] = { .name = "KiB resident beside", .rise_percent = 25 },
    [LEFT_MAPPINGS] = { .name = "mappings", .rise_percent = 25 },
};

static unsigned quarter; /* of the soak */

static void note(enum figure_kind kind, size_t value)
{
    figure *f = &figures[kind];
    if (!f->count[quarter] || value < f->least[quarter])
        f->least[quarter] = value;
    if (value > f->most[quarter])
        f->most[quarter] = value;
    f->count[quarter]++;
    f->last = value;
}

/* What grows all the time is in the last quarter always above what it was in the second. By chance that happens
 * once in 700,000 times if there are so many values; the short form has fewer. */
static void judge(void)
{
    enum { LEAST_VALUES = 11 };
    for (int kind = 0; kind < FIGURES; kind++) {
        const figure *f = &figures[kind];
        doing = f->name;
        if (f->count[1] >= LEAST_VALUES && f->count[3] >= LEAST_VALUES)
            CHECK_LE(f->least[3], f->most[1] + f->most[1] * f->rise_percent / 100);
    }
    doing = NULL;
}

typedef struct process_figures {
    size_t resident_bytes, mappings;
} process_figures;

static void take_resident(void *arg, const char *line)
{
    if (strncmp(line, "Rss:", 4) == 0)
        ((process_figures *)arg)->resident_bytes = strtoul(line + 4, NULL, 10) * TEST_KIB;
}

static void take_mapping(void *arg, const char *line)
{
    (void)line;
    ((process_figures *)arg)->mappings++;
}

static process_figures process_now(void)
{
    process_figures figures_now = { 0, 0 };
    test_read_lines("/proc/self/smaps_rollup", take_resident, &figures_now);
    test_read_lines("/proc/self/maps", take_mapping, &figures_now);
    return figures_now;
}

static process_figures at_start;
static uint64_t descriptors_at_start;

/* What instances account for: as resident, and as mappings. */
typedef struct accounted {
    size_t footprint_bytes, mappings;
} accounted;

static void account(accounted *sum, const emma *instance)
{
    const emma_stats stats = test_stats(instance);
    sum->footprint_bytes += stats.footprint_bytes;
    sum->mappings += stats.mapping_count;
}

static void compare_process(void)
{
    /* Stacks, and what the C library has for each thread, stay for those that come. */
    enum { THREADS_MAX = 4 * WORKERS, MAPPINGS_PER_THREAD = 3 };
    const size_t beside_max = (size_t)THREADS_MAX * 64 * TEST_KIB;
    accounted sum = { 0, 0 };
    for (int kind = 0; kind < SHARED_KINDS; kind++)
        account(&sum, shareds[kind].instance);
    for (size_t i = 0; i < WORKERS; i++)
        account(&sum, workers[i].local.m.instance);
    const process_figures is = process_now();
    const size_t before = at_start.resident_bytes + sum.footprint_bytes;
    CHECK_LE(is.resident_bytes, before + beside_max);
    CHECK_LE(is.mappings, at_start.mappings + sum.mappings + THREADS_MAX * MAPPINGS_PER_THREAD);
    CHECK_EQ(test_descriptors(), descriptors_at_start);
    note(LEFT_BEYOND, is.resident_bytes > before ? (is.resident_bytes - before) / TEST_KIB : 0);
    note(LEFT_MAPPINGS, is.mappings);
}

/* ---- the end of an epoch ---- */

typedef struct heaps_left {
    size_t count, bytes;
} heaps_left;

static bool count_heap(void *arg, const emma_chunk_stats *chunk)
{
    heaps_left *heaps = arg;
    heaps->count += chunk->kind == EMMA_CHUNK_HEAP;
    heaps->bytes += chunk->kind == EMMA_CHUNK_HEAP ? chunk->resident_bytes : 0;
    return true;
}

/* Frees all, by the main thread, when the others are gone. */
static void free_all_shared(enum shared_kind kind)
{
    shared *s = &shareds[kind];
    for (size_t i = 0; i < WORKERS; i++)
        for (int j = 0; j < SETS; j++) {
            storm_end(&workers[i].sets[kind][j]);
            set_count(&workers[i].sets[kind][j]);
        }
    storm_end(&s->of_main);
    storm_end_table(&s->of_main);
    set_count(&s->of_main);
    CHECK(emma_set_limit(s->instance, EMMA_UNLIMITED) == EMMA_OK);
    emma_trim(s->instance);
}

static void rest_shared(enum shared_kind kind)
{
    /* Threads that live at one time, with a heap for each handler, and those that the kernel has not forgotten. */
    enum { HEAPS_MAX = 4 * (WORKERS * SETS + 1) };
    shared *s = &shareds[kind];
    doing = shared_names[kind];
    free_all_shared(kind);
    if (s->left > s->left_most)
        s->left_most = s->left;
    const size_t heaps_max = HEAPS_MAX + s->left_most * SIGNALS; /* those that were left stay */
    const emma_stats stats = storm_verify_end(s->instance, heaps_max, s->left * LEFT_FACTOR,
                                              s->lost + s->left * LEFT_LOST);
    if (kind != STRUCK) {
        CHECK_EQ(stats.live_blocks, 0);
        CHECK_EQ(stats.abandoned_bytes, 0);
    }
    if (kind == STEADY) {
        heaps_left heaps = { 0, 0 };
        CHECK(emma_walk_chunks(s->instance, count_heap, &heaps));
        CHECK_LE(heaps.count, HEAPS_MAX);
        note(LEFT_HEAPS, heaps.count);
        note(LEFT_METADATA, stats.metadata_bytes / TEST_KIB);
        note(LEFT_STEADY, (stats.footprint_bytes - stats.metadata_bytes - heaps.bytes) / TEST_KIB);
    }
    if (kind == STRUCK) {
        CHECK_EQ(emma_reset(s->instance), EMMA_OK);
        emma_trim(s->instance);
        s->left = s->lost = 0;
        count(RESETS, 1);
        test_compare_chunks(s->instance);
        const emma_stats fresh = storm_verify_end(s->instance, heaps_max, 0, 0);
        note(LEFT_STRUCK, (fresh.footprint_bytes - fresh.metadata_bytes) / TEST_KIB);
    }
    doing = NULL;
}

static void rest_local(local *l, size_t *footprint_bytes)
{
    doing = "a local one";
    local_close(l);
    CHECK_EQ(emma_set_limit(l->m.instance, EMMA_UNLIMITED), EMMA_OK);
    model_free_all(&l->m);
    if (l->flags &
        EMMA_CHECKPOINTS) { /* the image goes with that, also one that a limit made stay */
        if (!l->depth)
            local_push(l);
        CHECK_EQ(emma_checkpoint_drop(l->m.instance, l->levels[0].name), EMMA_OK);
    }
    l->depth = 0;
    emma_trim(l->m.instance);
    CHECK_EQ(test_stats(l->m.instance).checkpoint_bytes, 0);
    const emma_stats stats = storm_verify_end(l->m.instance, 1, 0, 0);
    *footprint_bytes += stats.footprint_bytes;
    l->closed = false;
    doing = NULL;
}

#endif
