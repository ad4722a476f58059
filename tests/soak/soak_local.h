/* soak_local.h - what a thread does in its local instance: all calls, against a model of it, with checkpoints pushed,
 * rolled back to and dropped, limits changed, and resets; while signal handlers use it as well. */
#ifndef EMMA_SOAK_LOCAL_H
#define EMMA_SOAK_LOCAL_H

#include "soak_world.h"

enum { LOCAL_SLOTS = 96, LOCAL_LARGEST = 200000, LOCAL_SPARE_KIB = 64 };

static const unsigned local_flags[] = { EMMA_CHECKPOINTS, EMMA_CHECKPOINTS | EMMA_ALIGN8, 0,
                                        EMMA_ALIGN8 };

static void local_on_limit(void *arg, emma *instance, bool over)
{
    (void)arg;
    emma_stats stats = { .struct_bytes = EMMA_STATS_COUNTERS_BYTES };
    emma_get_stats(instance, &stats);
    CHECK(over == (stats.footprint_bytes > stats.soft_limit_bytes));
    count(CROSSINGS, 1);
}

static void local_begin(local *l, unsigned flags)
{
    emma_options options = world_options("local", flags);
    options.limit_handler = local_on_limit;
    options.spare_bytes = LOCAL_SPARE_KIB * TEST_KIB;
    options.decay_ms = 3;
    l->flags = flags;
    l->depth = 0;
    l->gift = NULL;
    model_init(&l->m, world_create(&options), flags & EMMA_ALIGN8, LOCAL_SLOTS);
    CHECK(l->m.instance != NULL);
    l->m.faults = fault_failures;
}

/* ---- signal handlers ---- */

/* What a handler does in it: refused where the code that it interrupted is inside. */
static void local_in_handler(worker *w, test_rng *rng)
{
    emma *instance = w->local.m.instance;
    if (w->local.closed)
        return;
    w->kept = w->kept + 1;
    const uint64_t failures = fault_failures();
    const bool busy = emma_is_busy(instance);
    const size_t bytes = storm_size(rng);
    storm_parcel *parcel = emma_malloc(instance, bytes);
    CHECK(!busy || !parcel);
    CHECK(busy || parcel || w->local.m.may_refuse || fault_failures() != failures);
    if (parcel) {
        storm_fill(parcel, bytes, test_random(rng));
        storm_verify(parcel);
        emma_free(instance, parcel);
    }
    if (test_chance(rng, 2))
        CHECK_EQ(emma_check(instance), busy ? EMMA_BUSY : EMMA_OK);
    storm_parcel *gift = __atomic_exchange_n(&w->local.gift, NULL, __ATOMIC_RELAXED);
    if (gift) {
        storm_verify(gift);
        emma_free(instance, gift); /* put off, maybe */
    }
    w->kept = w->kept - 1;
}

static bool local_stop(void *arg, void *block, size_t bytes)
{
    (void)arg, (void)block, (void)bytes;
    return false;
}

/* Keeps handlers out, so that what the model knows is all there is. */
static void local_close(local *l)
{
    l->closed = true;
    storm_parcel *gift = __atomic_exchange_n(&l->gift, NULL, __ATOMIC_RELAXED);
    if (gift)
        storm_verify(gift);
    emma_free(l->m.instance, gift);
    emma_walk(l->m.instance, local_stop, NULL); /* this does what was put off */
}

static void local_give(local *l, test_rng *rng)
{
    const size_t bytes = storm_size(rng);
    storm_parcel *gift = l->gift ? NULL : emma_malloc(l->m.instance, bytes);
    if (!gift)
        return;
    storm_fill(gift, bytes, test_random(rng));
    __atomic_store_n(&l->gift, gift, __ATOMIC_RELAXED);
}

/* ---- checkpoints ---- */

static void local_push(local *l)
{
    local_level *level = &l->levels[l->depth];
    const uint64_t failures = fault_failures();
    if (l->depth == LEVELS)
        return;
    const enum emma_status status = emma_checkpoint(l->m.instance, &level->name);
    if (!(l->flags & EMMA_CHECKPOINTS)) {
        CHECK_EQ(status, EMMA_UNSUPPORTED);
        return;
    }
    if (status != EMMA_OK) {
        CHECK_EQ(status, EMMA_NO_MEMORY);
        CHECK(l->m.may_refuse || fault_failures() != failures);
        return;
    }
    model_save(&l->m, &level->m);
    level->stats = test_stats(l->m.instance);
    l->depth++;
    count(CHECKPOINTS, 1);
}

/* Makes the model what it was, but for what does not roll back. */
static void local_restore(local *l, const model *saved)
{
    const bool may_refuse = l->m.may_refuse;
    model_restore(&l->m, saved);
    l->m.may_refuse = may_refuse;
}

static void local_roll_back(local *l, test_rng *rng)
{
    if (!l->depth)
        return;
    const size_t at = test_below(rng, l->depth);
    const local_level *level = &l->levels[at];
    CHECK_EQ(emma_rollback(l->m.instance, level->name), EMMA_OK);
    if (at + 1 < l->depth)
        CHECK_EQ(emma_rollback(l->m.instance, l->levels[at + 1].name), EMMA_INVALID);
    l->depth = at + 1;
    local_restore(l, &level->m);
    for (size_t i = 0; i < l->m.slots; i++)
        if (l->m.blocks[i].at)
            model_verify_block(&l->m, &l->m.blocks[i]);
    const emma_stats stats = test_stats(l->m.instance);
    CHECK_EQ(stats.live_bytes, level->stats.live_bytes);
    CHECK_EQ(stats.live_blocks, l->m.live_blocks);
    CHECK_EQ(stats.metadata_bytes, level->stats.metadata_bytes);
    CHECK_EQ(stats.footprint_bytes - stats.checkpoint_bytes,
             level->stats.footprint_bytes - level->stats.checkpoint_bytes);
    count(ROLLBACKS, 1);
}

static void local_drop(local *l, test_rng *rng)
{
    if (!l->depth)
        return;
    const size_t at = test_below(rng, l->depth);
    CHECK_EQ(emma_checkpoint_drop(l->m.instance, l->levels[at].name), EMMA_OK);
    CHECK_EQ(emma_checkpoint_drop(l->m.instance, l->levels[at].name), EMMA_INVALID);
    l->depth = at;
}

static void local_reset(local *l)
{
    const model before = { .next_tag = l->m.next_tag, .may_refuse = l->m.may_refuse };
    CHECK_EQ(emma_reset(l->m.instance), EMMA_OK);
    model_init(&l->m, l->m.instance, l->m.flags, LOCAL_SLOTS);
    l->m.next_tag = before.next_tag;
    l->m.may_refuse = before.may_refuse;
    l->m.faults = fault_failures;
    l->depth = 0;
    count(RESETS, 1);
}

/* ---- limits ---- */

static void local_limit(local *l, size_t limit_bytes)
{
    const enum emma_status status = emma_set_limit(l->m.instance, limit_bytes);
    CHECK(status == EMMA_OK || status == EMMA_NO_MEMORY);
    if (status == EMMA_OK)
        l->m.may_refuse = limit_bytes != EMMA_UNLIMITED;
    count(LIMITS, status == EMMA_OK);
}

static void local_change_limits(local *l, test_rng *rng)
{
    const size_t kind = test_below(rng, 4);
    if (kind == 0)
        local_limit(l, EMMA_UNLIMITED);
    else if (kind == 1)
        local_limit(l, TEST_MIB + test_below(rng, 8 * TEST_MIB));
    else if (kind == 2)
        CHECK_EQ(emma_use_spare(l->m.instance, test_chance(rng, 50)), EMMA_OK);
    else
        CHECK_EQ(emma_set_soft_limit(l->m.instance, 1 + test_below(rng, 4 * TEST_MIB)), EMMA_OK);
}

/* ---- all of it ---- */

/* What is verified in a raw child of a fork, which must not call the C library's malloc. */
static void local_verify_blocks(const local *l)
{
    for (size_t i = 0; i < l->m.slots; i++)
        if (l->m.blocks[i].at)
            model_verify_block(&l->m, &l->m.blocks[i]);
    CHECK_EQ(emma_check(l->m.instance), EMMA_OK);
}

static void local_steps(local *l, test_rng *rng, size_t steps)
{
    const size_t largest = test_chance(rng, 4) ? LOCAL_LARGEST : 2000;
    for (size_t i = 0; i < steps; i++)
        model_random_step(&l->m, rng, largest);
    count(CALLS, steps);
}

/* What handlers must be kept out of; the model's own search is the main thread's, for it has one for all. */
static void local_change(local *l, test_rng *rng)
{
    const size_t kind = test_below(rng, 100);
    local_close(l);
    if (kind < 30)
        local_push(l);
    else if (kind < 60)
        local_roll_back(l, rng);
    else if (kind < 70)
        local_drop(l, rng);
    else if (kind < 80)
        local_change_limits(l, rng);
    else if (kind < 82)
        local_reset(l);
    else if (kind < 90)
        local_verify_blocks(l);
    else
        model_compare_stats(&l->m);
    l->closed = false;
}

static void local_burst(local *l, test_rng *rng)
{
    enum { STEPS_MAX = 150 };
    local_change(l, rng);
    local_steps(l, rng, test_below(rng, STEPS_MAX));
    local_give(l, rng);
    if (test_chance(rng, 20))
        emma_trim(l->m.instance);
}

#endif
