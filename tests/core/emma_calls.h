/* emma_calls.h - every call that works on an instance, for tests that stop it at each instruction: what is there
 * before, and what must hold after one that was left in the middle, by a jump, by its thread's death, or in the
 * child of a fork. A local instance that is left busy refuses all calls from then on, and can be destroyed; otherwise
 * it goes on, and so does a shared one in any case: contents stay, and lost are the blocks of the call and what
 * emma_stats tells, until a reset. A reset that was left is done again, and so is a destroy. */
#ifndef EMMA_CALLS_H
#define EMMA_CALLS_H

#include "emma_step.h"
#include "emma_threads.h"

enum { BLOCKS = 14, THEIRS = 40, LARGE = BLOCKS - 1 };
enum { LARGE_BYTES = 50000, THEIRS_BYTES = 200, LIMIT_BYTES = 64 << 20 };
/* What a call may lose: the old block and the new one; what the heap that is left was just taking back, too. */
enum { LOST_BLOCKS = 2, LOST_REMOTE = THEIRS };
#define LOST_BYTES (TEST_MIB)

/* Kinds of instances that a call is made on, and more about it. */
enum {
    LOCAL = 1,
    SHARED = 2,
    BOTH = 3,
    CHECKPOINTS = 4,
    ALL = 7,
    FIRST = 8, /* of its thread, which has no blocks yet */
    ALONE = 16 /* needs a shared instance for itself */
};

static const char *const kind_names[] = {
    [LOCAL] = "local", [SHARED] = "shared", [CHECKPOINTS] = "with checkpoints"
};

typedef struct call {
    const char *name;
    void (*run)(void);
    unsigned flags;
} call;

static emma *instance;
static unsigned char *blocks[BLOCKS];     /* of the thread that makes the call */
static unsigned char *theirs[THEIRS];     /* of the main thread, for that one to free */
static unsigned char **volatile changing; /* block that a call may have changed */
static void *volatile result;
static emma *volatile other;
static unsigned level;        /* of the first checkpoint; there is a second one */
static volatile size_t traps; /* in this call */
static volatile size_t leaves_at;
/* EMMA_TEST_EVERY=1: not after so many instructions but before each one in turn, where the call first comes to it. */
static volatile uintptr_t leaves_at_address;
static bool notes; /* the addresses that it comes to, of which so many are known */
static struct {
    uintptr_t at[1 << 14]; /* by hash; 0: none */
    size_t count;
} met;
static volatile bool left; /* in the middle, by a thread that is gone from it */
static bool acts;          /* the handler uses the instance */
static size_t stops, stops_inside;
static size_t busy_count, abandoned_count, refused_count, there_count, gone_count;

/* ---- the blocks ---- */

static size_t size_of(size_t i)
{
    return i == LARGE ? LARGE_BYTES : 24 + i * i * 12;
}

static void allocate_all(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, size_of(i));
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], size_of(i), i);
    }
}

static inline void allocate_theirs(void)
{
    for (size_t i = 0; i < THEIRS; i++) {
        theirs[i] = emma_malloc(instance, THEIRS_BYTES);
        CHECK(theirs[i] != NULL);
        test_fill(theirs[i], THEIRS_BYTES, i);
    }
}

/* The fences: who comes after a call finds which block is being changed, until that is gone. */
static void begin_change(unsigned char **block)
{
    changing = block;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void end_change(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    *changing = NULL;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    changing = NULL;
}

/* Forgets what the call may have changed. */
static void verify_all(void)
{
    if (changing)
        end_change();
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK(!blocks[i] || test_filled(blocks[i], size_of(i), i));
    for (size_t i = 0; i < THEIRS; i++)
        CHECK(!theirs[i] || test_filled(theirs[i], THEIRS_BYTES, i));
}

static void free_all(unsigned char **some, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        emma_free(instance, some[i]);
        some[i] = NULL;
    }
}

/* Allocates, fills, verifies and frees many sizes. */
static void use(emma *one)
{
    unsigned char *own[40];
    for (size_t i = 0; i < TEST_COUNT(own); i++) {
        own[i] = emma_malloc(one, 16 + i * i * 5);
        CHECK(own[i] != NULL);
        test_fill(own[i], 16 + i * i * 5, i);
    }
    for (size_t i = 0; i < TEST_COUNT(own); i++) {
        CHECK(test_filled(own[i], 16 + i * i * 5, i));
        emma_free(one, own[i]);
    }
}

/* ---- the calls ---- */

static void call_none(void)
{
    for (size_t i = 0; i < 100; i++)
        __asm__ volatile("nop");
}

static void call_malloc(void)
{
    result = emma_malloc(instance, 40);
}

static void call_malloc_of_new_class(void)
{
    result = emma_malloc(instance, 6000);
}

static void call_malloc_large(void)
{
    result = emma_malloc(instance, 2 * LARGE_BYTES);
}

static void call_calloc(void)
{
    result = emma_calloc(instance, 3, 100);
}

static void call_aligned_alloc(void)
{
    result = emma_aligned_alloc(instance, 4096, 300);
}

static void resize(size_t i, size_t bytes)
{
    begin_change(&blocks[i]);
    result = emma_realloc(instance, blocks[i], bytes);
    end_change();
}

static void call_realloc_grow(void)
{
    resize(3, 900);
}

static void call_realloc_shrink(void)
{
    resize(BLOCKS - 2, 50);
}

static void call_realloc_large_grow(void)
{
    resize(LARGE, 3 * LARGE_BYTES);
}

static void call_realloc_large_shrink(void)
{
    resize(LARGE, LARGE_BYTES / 2);
}

static void call_realloc_large_to_small(void)
{
    resize(LARGE, 100);
}

static void call_realloc_sized(void)
{
    begin_change(&blocks[5]);
    result = emma_realloc_sized(instance, blocks[5], size_of(5), 30);
    end_change();
}

static void call_resize(void)
{
    begin_change(&blocks[6]);
    emma_resize(instance, blocks[6], size_of(6), 0);
    end_change();
    result = emma_resize(instance, NULL, 0, 77);
}

/* One after the other: each call is one. */
static void release(unsigned char **some, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        begin_change(&some[i]);
        emma_free(instance, some[i]);
        end_change();
    }
}

static void call_free(void)
{
    release(blocks, BLOCKS);
}

static void call_free_sized(void)
{
    begin_change(&blocks[4]);
    emma_free_sized(instance, blocks[4], size_of(4));
    end_change();
}

static void call_free_theirs(void)
{
    release(theirs, THEIRS);
}

static void call_trim(void)
{
    emma_trim(instance);
}

static void call_set_limit(void)
{
    emma_set_limit(instance, LIMIT_BYTES);
}

static void call_set_soft_limit(void)
{
    emma_set_soft_limit(instance, LIMIT_BYTES / 2);
}

static void call_use_spare(void)
{
    emma_use_spare(instance, true);
}

static void call_stats(void)
{
    emma_class_stats stats = { .struct_bytes = sizeof stats };
    test_stats(instance);
    emma_get_class_stats(instance, 3, &stats);
}

static bool visit(void *arg, void *block, size_t bytes)
{
    (void)arg, (void)block, (void)bytes;
    return true;
}

static bool visit_chunk(void *arg, const emma_chunk_stats *chunk)
{
    (void)arg, (void)chunk;
    return true;
}

static void call_walk(void)
{
    emma_walk(instance, visit, NULL);
}

static void call_walk_chunks(void)
{
    emma_walk_chunks(instance, visit_chunk, NULL);
}

static void call_check(void)
{
    emma_check(instance);
}

static void call_usable_size(void)
{
    emma_usable_size(instance, blocks[2]);
    emma_owns(instance, blocks[2]);
}

static void call_detach(void)
{
    emma_thread_detach(instance);
}

static void call_reset(void)
{
    emma_reset(instance);
}

static void call_create(void)
{
    emma_options options = test_options();
    options.reserve_bytes = EMMA_RESERVE_MIN_BYTES;
    other = emma_create(&options);
}

static void call_destroy(void)
{
    emma_destroy(instance);
}

static void call_checkpoint(void)
{
    unsigned next;
    emma_checkpoint(instance, &next);
}

static void call_rollback(void)
{
    emma_rollback(instance, level);
}

static void call_drop(void)
{
    emma_checkpoint_drop(instance, level);
}

static const call calls[] = {
    { "nothing", call_none, SHARED },
    { "malloc", call_malloc, BOTH },
    { "malloc, first", call_malloc, BOTH | FIRST },
    { "malloc of a new class", call_malloc_of_new_class, BOTH },
    { "malloc, large", call_malloc_large, BOTH },
    { "calloc", call_calloc, BOTH },
    { "aligned_alloc", call_aligned_alloc, BOTH },
    { "realloc, grow", call_realloc_grow, BOTH },
    { "realloc, shrink", call_realloc_shrink, BOTH },
    { "realloc, large, grow", call_realloc_large_grow, BOTH },
    { "realloc, large, shrink", call_realloc_large_shrink, BOTH },
    { "realloc, large to small", call_realloc_large_to_small, BOTH },
    { "realloc_sized", call_realloc_sized, BOTH },
    { "resize", call_resize, BOTH },
    { "free", call_free, BOTH },
    { "free_sized", call_free_sized, BOTH },
    { "free of another's", call_free_theirs, SHARED },
    { "trim", call_trim, ALL },
    { "set_limit", call_set_limit, BOTH },
    { "set_soft_limit", call_set_soft_limit, BOTH },
    { "use_spare", call_use_spare, BOTH },
    { "get_stats", call_stats, BOTH },
    { "usable_size", call_usable_size, BOTH },
    { "walk", call_walk, BOTH | ALONE },
    { "walk_chunks", call_walk_chunks, BOTH },
    { "check", call_check, BOTH | ALONE },
    { "thread_detach", call_detach, SHARED },
    { "reset", call_reset, ALL | ALONE },
    { "create", call_create, LOCAL },
    { "destroy", call_destroy, ALL | ALONE },
    { "checkpoint", call_checkpoint, CHECKPOINTS },
    { "rollback", call_rollback, CHECKPOINTS },
    { "checkpoint_drop", call_drop, CHECKPOINTS },
};

/* ---- before a call, and the call ---- */

static void set_up(unsigned kind)
{
    emma_options options = test_options();
    options.flags = kind == SHARED ? EMMA_SHARED : kind == CHECKPOINTS ? EMMA_CHECKPOINTS : 0;
    options.limit_bytes = 2 * LIMIT_BYTES;
    options.spare_bytes = 1 << 20;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    memset(blocks, 0, sizeof blocks);
    memset(theirs, 0, sizeof theirs);
    left = false;
    if (kind == SHARED)
        allocate_theirs();
}

/* By the thread that makes the call. */
static void prepare(const call *c, unsigned kind)
{
    unsigned further;
    if (!(c->flags & FIRST))
        allocate_all();
    if (kind != CHECKPOINTS)
        return;
    CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    test_fill(blocks[LARGE], LARGE_BYTES, LARGE); /* the same, for a level with pages of its own */
    CHECK_EQ(emma_checkpoint(instance, &further), EMMA_OK);
}

static void make(const call *c)
{
    changing = NULL;
    result = NULL;
    other = NULL;
    traps = 0;
    test_trap_on();
    c->run();
    test_trap_off();
}

/* What came of a call that was not left. */
static void release_result(void)
{
    if (result)
        emma_free(instance, result);
    if (other)
        emma_destroy(other);
}

/* What a signal handler does. A local instance refuses that while it is busy. */
static inline void act(void)
{
    const size_t bytes = 20 + traps % 7 * 30;
    const bool busy = emma_is_busy(instance);
    unsigned char *block = emma_malloc(instance, bytes);
    CHECK_EQ(block == NULL, busy);
    if (block)
        test_fill(block, bytes, traps);
    emma_free(instance, block);
    refused_count += busy;
}

static bool is_every(void)
{
    static int answer = -1;
    const char *text = answer < 0 ? getenv("EMMA_TEST_EVERY") : NULL;
    if (answer < 0)
        answer = text && strcmp(text, "1") == 0;
    return answer;
}

static void meet_none(void)
{
    memset(&met, 0, sizeof met);
}

/* Notes an address; true the first time. */
static bool meet(uintptr_t address)
{
    size_t i = address % TEST_COUNT(met.at);
    for (; met.at[i]; i = (i + 1) % TEST_COUNT(met.at))
        if (met.at[i] == address)
            return false;
    CHECK_LT(met.count, TEST_COUNT(met.at) / 2);
    met.at[i] = address;
    met.count++;
    return true;
}

/* By the handler, once for each instruction: whether the call is to be left here. */
static inline bool leave_is_due(void)
{
    traps++;
    if (notes)
        meet(test_trap_address());
    return leaves_at_address ? test_trap_address() == leaves_at_address : traps == leaves_at;
}

/* Counts a stop, and whether it is between a call's entering a heap and its leaving it: to a thread that asks,
 * heaps of its own that are closed are abandoned. */
static void note_stop(const call *c)
{
    if (c->run == call_destroy) /* which enters none, and takes the figures away */
        return;
    stops++;
    stops_inside += emma_is_busy(instance) || test_stats(instance).abandoned_bytes;
}

/* ---- after it ---- */

/* A local instance that was left busy. What a walk was left in tells figures, as to its own callback. */
static void verify_refusals(const call *c)
{
    unsigned next;
    if (c->run == call_reset) {
        changing = NULL;
        memset(blocks, 0, sizeof blocks);
    }
    verify_all();
    CHECK_EQ(emma_malloc(instance, 10), NULL);
    CHECK_EQ(emma_malloc(instance, LARGE_BYTES), NULL);
    CHECK_EQ(emma_calloc(instance, 10, 10), NULL);
    CHECK_EQ(emma_aligned_alloc(instance, 64, 10), NULL);
    if (blocks[10])
        CHECK_EQ(emma_realloc(instance, blocks[10], LARGE_BYTES), NULL);
    CHECK_EQ(emma_check(instance), EMMA_BUSY);
    CHECK_EQ(emma_reset(instance), EMMA_BUSY);
    CHECK_NE(emma_checkpoint(instance, &next), EMMA_OK);
    CHECK_NE(emma_rollback(instance, level), EMMA_OK);
    CHECK_EQ(emma_trim(instance), 0);
    CHECK(!emma_walk(instance, visit, NULL));
    if (c->run != call_walk && c->run != call_walk_chunks)
        CHECK_EQ(test_stats(instance).live_blocks, 0);
    verify_all();
    emma_free(instance, blocks[11]); /* put off for ever */
}

static void go_on(void)
{
    verify_all();
    use(instance);
    verify_all();
    free_all(blocks, BLOCKS);
    use(instance);
}

static void verify_reset(void)
{
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_EQ(test_stats(instance).abandoned_bytes, 0);
    use(instance);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
}

/* By a thread that has no heap: a walk or a check that was left may have left the others' closed, so that a reset
 * by them would be refused. */
static void *verify_shared(void *arg)
{
    const call *c = arg;
    if (c->run != call_reset) {
        CHECK_EQ(emma_check(instance), EMMA_OK);
        emma_trim(instance);
        const emma_stats stats = test_stats(instance);
        const size_t lost = c->run == call_none          ? 0
                            : c->run == call_free_theirs ? LOST_BLOCKS + LOST_REMOTE
                                                         : LOST_BLOCKS;
        CHECK_LE(stats.live_blocks, left ? lost : 0);
        CHECK_LE(stats.abandoned_bytes, left && lost ? LOST_BYTES : 0);
        abandoned_count += stats.abandoned_bytes != 0;
        CHECK(emma_walk(instance, visit, NULL));
        use(instance); /* of whatever heap it took over */
        CHECK_EQ(emma_check(instance), EMMA_OK);
    }
    verify_reset();
    return NULL;
}

static void after_shared(const call *c)
{
    if (c->run != call_reset) {
        go_on();
        free_all(theirs, THEIRS);
    }
    test_thread_run(verify_shared, (void *)(uintptr_t)c);
}

/* The first checkpoint is there, and has all blocks. */
static void verify_level(const call *c)
{
    const bool dropped = c->run == call_drop || c->run == call_reset;
    const enum emma_status status = emma_rollback(instance, level);
    CHECK(status == EMMA_OK || (status == EMMA_INVALID && dropped));
    if (c->run != call_reset)
        verify_all();
}

static void after_local(const call *c, unsigned kind)
{
    if (emma_is_busy(instance)) {
        CHECK(left);
        verify_refusals(c);
        busy_count++;
        return;
    }
    if (kind == CHECKPOINTS)
        verify_level(c);
    if (c->run != call_reset)
        go_on();
    CHECK_EQ(emma_check(instance), EMMA_OK);
    const size_t lost = c->run == call_reset ? BLOCKS : LOST_BLOCKS;
    /* What a handler allocates and frees at the last instructions of a reset stays allocated. */
    const size_t kept = c->run == call_reset && acts ? LOST_BLOCKS : 0;
    CHECK_LE(test_stats(instance).live_blocks, left ? lost : kept);
    verify_reset();
}

/* Of a destroy that was left, only the kernel can say whether it is done. */
static bool is_there(void)
{
    unsigned char page;
    const uintptr_t address = (uintptr_t)instance & ~(uintptr_t)(TEST_PAGE_BYTES - 1);
    return mincore((void *)address, TEST_PAGE_BYTES, &page) == 0;
}

static void after_destroy(void)
{
    const bool there = is_there();
    CHECK(left || !there);
    there_count += there;
    gone_count += left && !there;
    if (!there)
        return;
    verify_all();
    emma_destroy(instance);
    CHECK(!is_there());
}

/* What must hold from the call on, left or not; destroys the instance. */
static void after(const call *c, unsigned kind)
{
    if (c->run == call_destroy) {
        after_destroy();
        return;
    }
    if (kind == SHARED)
        after_shared(c);
    else
        after_local(c, kind);
    emma_destroy(instance);
}

/* ---- each n-th instruction of each call ---- */

typedef void (*test_call_fn)(const call *c, unsigned kind);

static void for_each_call(test_call_fn test)
{
    /* An audit is thousands of instructions, and checks make some calls three times as long. */
    const size_t part = is_every() ? 1 : TEST_SLOW_BUILD ? 5 : TEST_CHECKED_BUILD ? 2 : 1;
    for (unsigned kind = LOCAL; kind <= CHECKPOINTS; kind *= 2)
        for (size_t i = 0; i < TEST_COUNT(calls); i++)
            if ((calls[i].flags & kind) && (i + kind) % part == 0)
                test(&calls[i], kind);
}

/* How often a call of so many instructions is left, which takes half of them each time, in the mean. */
static size_t leaves_of(size_t instructions, size_t most, size_t traps_most)
{
    enum { LEAST = TEST_CHECKED_BUILD ? 1 : 2 };
    const size_t few = 2 * traps_most / (instructions + 1);
    return test_scaled(few < LEAST ? LEAST : few < most ? few : most);
}

/* Has the call made, and left before each instruction that it comes to. What differs from time to time is not
 * always met again. */
static inline void leave_everywhere(const call *c, unsigned kind, test_call_fn leave_once)
{
    static uintptr_t addresses[TEST_COUNT(met.at)];
    const size_t inside = stops_inside;
    size_t known = 0, count = 0;
    leaves_at = 0;
    meet_none();
    notes = true;
    leave_once(c, kind);
    notes = false;
    for (size_t i = 0; i < TEST_COUNT(met.at); i++)
        if (met.at[i])
            addresses[known++] = met.at[i];
    for (size_t i = 0; i < known; i++) {
        leaves_at_address = addresses[i];
        leave_once(c, kind);
        count += left;
    }
    leaves_at_address = 0;
    printf("%s, %s: left before %zu of %zu instructions, %zu inside\n", kind_names[kind], c->name,
           count, known, stops_inside - inside);
    fflush(stdout);
    CHECK_GE(count, known - known / 20);
}

/* Has the call made, and left at `leaves_at`, again and again. */
static inline void leave_often(const call *c, unsigned kind, test_call_fn leave_once, test_rng *rng)
{
    enum { MOST = TEST_CHECKED_BUILD ? 5 : 8, TRAPS = 3000 };
    if (is_every()) {
        leave_everywhere(c, kind, leave_once);
        return;
    }
    leaves_at = 0;
    leave_once(c, kind);                      /* counts */
    const bool each = c->run == call_destroy; /* the end of it counts, which is short */
    const size_t usual = each ? traps : leaves_of(traps, MOST, TRAPS);
    const size_t stride = each ? TEST_STEP_STRIDE : 1 + traps / usual;
    const size_t inside = stops_inside;
    size_t count = 0;
    leaves_at = 1 + test_below(rng, stride);
    do {
        leave_once(c, kind);
        count += left;
        leaves_at += stride;
    } while (left && count < 2 * usual);
    printf("%s, %s: left %zu times, %zu inside, every %zu instructions\n", kind_names[kind],
           c->name, count, stops_inside - inside, stride);
    CHECK_GT(count, 0);
}

/* At the end: stops were where it matters. */
static void print_stops(void)
{
    printf("%zu stops, %zu inside; %zu times left busy, %zu with something abandoned; of destroy "
           "%zu times there, %zu gone; %zu refusals\n",
           stops, stops_inside, busy_count, abandoned_count, there_count, gone_count,
           refused_count);
    CHECK_GT(stops_inside, stops / 4);
}

#endif
