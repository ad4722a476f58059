/* test: uninstrumented */
/* A handler uses the instance at each instruction of every call that works on one: nothing is lost. And it jumps out, by
 * siglongjmp, of each n-th. A local instance that it leaves busy refuses all calls from then on, and can be destroyed;
 * otherwise it goes on, and so does a shared one in any case, in the thread that jumped and in others: contents
 * stay, and lost are the blocks of the call and what emma_stats tells, until a reset. A reset that was left is
 * done again. */
#include "emma_step.h"
#include "emma_threads.h"

#include <setjmp.h>

enum {
    JUMPS = TEST_CHECKED_BUILD ? 6 : 10,
    JUMPS_MIN = TEST_CHECKED_BUILD ? 1 : 2,
    TRAPS = 6000, /* that the jumps out of a call may take */
    BLOCKS = 14,
    THEIRS = 40,
    LARGE = BLOCKS - 1
};
/* A thread that leaves the instance leaves all its heaps, and handlers that never stop give it ever more. */
enum { ACTS_MAX = 3000 };
enum { LARGE_BYTES = 50000, THEIRS_BYTES = 200, LIMIT_BYTES = 64 << 20 };
/* What a call may lose: the old block and the new one; what the heap that is left was just taking back, too. */
enum { LOST_BLOCKS = 2, LOST_REMOTE = THEIRS };
#define LOST_BYTES (TEST_MIB)

static emma *instance;
static unsigned char *blocks[BLOCKS];     /* of the thread that jumps */
static unsigned char *theirs[THEIRS];     /* of the main thread, for that one to free */
static unsigned char **volatile changing; /* block that a call may have changed */
static void *volatile result;
static emma *volatile other;
static unsigned level; /* of the checkpoint */
static volatile size_t traps, jumps_at;
static volatile bool jumped;
static sigjmp_buf way_out;
static bool acts;
static bool busy_ever, abandoned_ever, refused_ever;

/* Where it does not jump, it uses the instance. A local one refuses that while it is busy. */
static void act(void)
{
    const size_t bytes = 20 + traps % 7 * 30;
    const bool busy = emma_is_busy(instance);
    unsigned char *block = emma_malloc(instance, bytes);
    CHECK_EQ(block == NULL, busy);
    if (block)
        test_fill(block, bytes, traps);
    emma_free(instance, block);
    refused_ever = refused_ever || busy;
}

static void on_trap(int number)
{
    (void)number;
    traps++;
    if (acts && traps <= ACTS_MAX)
        act();
    if (traps != jumps_at)
        return;
    jumped = true;
    siglongjmp(way_out, 1);
}

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

/* The fences: a jump finds which block is being changed, until that is gone. */
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

/* ---- the calls ---- */

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

enum { LOCAL = 1, SHARED = 2, BOTH = 3, CHECKPOINTS = 4 };

typedef struct call {
    const char *name;
    void (*run)(void);
    unsigned kinds;
    bool first; /* of its thread in the instance, which has no blocks yet */
} call;

static const call calls[] = {
    { "malloc", call_malloc, BOTH, false },
    { "malloc, first", call_malloc, BOTH, true },
    { "malloc of a new class", call_malloc_of_new_class, BOTH, false },
    { "malloc, large", call_malloc_large, BOTH, false },
    { "calloc", call_calloc, BOTH, false },
    { "aligned_alloc", call_aligned_alloc, BOTH, false },
    { "realloc, grow", call_realloc_grow, BOTH, false },
    { "realloc, shrink", call_realloc_shrink, BOTH, false },
    { "realloc, large, grow", call_realloc_large_grow, BOTH, false },
    { "realloc, large, shrink", call_realloc_large_shrink, BOTH, false },
    { "realloc, large to small", call_realloc_large_to_small, BOTH, false },
    { "realloc_sized", call_realloc_sized, BOTH, false },
    { "resize", call_resize, BOTH, false },
    { "free", call_free, BOTH, false },
    { "free_sized", call_free_sized, BOTH, false },
    { "free of another's", call_free_theirs, SHARED, false },
    { "trim", call_trim, BOTH, false },
    { "set_limit", call_set_limit, BOTH, false },
    { "set_soft_limit", call_set_soft_limit, BOTH, false },
    { "use_spare", call_use_spare, BOTH, false },
    { "get_stats", call_stats, BOTH, false },
    { "walk", call_walk, BOTH, false },
    { "check", call_check, BOTH, false },
    { "usable_size", call_usable_size, BOTH, false },
    { "thread_detach", call_detach, SHARED, false },
    { "reset", call_reset, BOTH, false },
    { "create", call_create, LOCAL, false },
    { "checkpoint", call_checkpoint, CHECKPOINTS, false },
    { "rollback", call_rollback, CHECKPOINTS, false },
    { "checkpoint_drop", call_drop, CHECKPOINTS, false },
};

/* ---- what comes after a jump ---- */

static void use(void)
{
    unsigned char *own[40];
    for (size_t i = 0; i < TEST_COUNT(own); i++) {
        own[i] = emma_malloc(instance, 16 + i * i * 5);
        CHECK(own[i] != NULL);
        test_fill(own[i], 16 + i * i * 5, i);
    }
    for (size_t i = 0; i < TEST_COUNT(own); i++) {
        CHECK(test_filled(own[i], 16 + i * i * 5, i));
        emma_free(instance, own[i]);
    }
}

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
    CHECK_EQ(emma_trim(instance), 0);
    CHECK(!emma_walk(instance, visit, NULL));
    if (c->run != call_walk)
        CHECK_EQ(test_stats(instance).live_blocks, 0);
    verify_all();
    emma_free(instance, blocks[11]); /* put off for ever */
}

static void go_on(void)
{
    verify_all();
    use();
    verify_all();
    free_all(blocks, BLOCKS);
    use();
}

/* The call, and what the thread does after it; returns here from the jump. */
static void call_once(const call *c)
{
    changing = NULL;
    result = NULL;
    other = NULL;
    jumped = false;
    traps = 0;
    if (sigsetjmp(way_out, 1) == 0) {
        test_trap_on();
        c->run();
        test_trap_off();
    }
    if (!jumped && result)
        emma_free(instance, result);
    if (!jumped && other)
        emma_destroy(other);
}

static void *be_jumper(void *arg)
{
    const call *c = arg;
    if (!c->first)
        allocate_all();
    call_once(c);
    if (c->run != call_reset)
        go_on();
    return NULL;
}

static void start(unsigned flags)
{
    emma_options options = test_options();
    options.flags = flags;
    options.limit_bytes = 2 * LIMIT_BYTES;
    options.spare_bytes = 1 << 20;
    instance = emma_create(&options);
    CHECK(instance != NULL);
    memset(blocks, 0, sizeof blocks);
    memset(theirs, 0, sizeof theirs);
}

static void verify_reset(void)
{
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK_EQ(test_stats(instance).live_blocks, 0);
    CHECK_EQ(test_stats(instance).abandoned_bytes, 0);
    use();
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
        const size_t lost = LOST_BLOCKS + (c->run == call_free_theirs ? LOST_REMOTE : 0);
        CHECK_LE(stats.live_blocks, jumped ? lost : 0);
        CHECK_LE(stats.abandoned_bytes, jumped ? LOST_BYTES : 0);
        abandoned_ever = abandoned_ever || stats.abandoned_bytes;
        CHECK(emma_walk(instance, visit, NULL));
    }
    verify_reset();
    return NULL;
}

static void jump_in_shared(const call *c)
{
    start(EMMA_SHARED);
    for (size_t i = 0; i < THEIRS; i++) {
        theirs[i] = emma_malloc(instance, THEIRS_BYTES);
        CHECK(theirs[i] != NULL);
        test_fill(theirs[i], THEIRS_BYTES, i);
    }
    test_thread_run(be_jumper, (void *)(uintptr_t)c);
    if (c->run != call_reset) {
        use();
        free_all(theirs, THEIRS);
    }
    test_thread_run(verify_shared, (void *)(uintptr_t)c);
    emma_destroy(instance);
}

static void jump_in_local(const call *c, unsigned flags)
{
    start(flags);
    if (!c->first)
        allocate_all();
    if (flags & EMMA_CHECKPOINTS)
        CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
    call_once(c);
    if (emma_is_busy(instance)) {
        CHECK(jumped);
        verify_refusals(c);
        busy_ever = true;
    } else {
        if (c->run != call_reset)
            go_on();
        CHECK_EQ(emma_check(instance), EMMA_OK);
        const size_t lost = c->run == call_reset ? BLOCKS : LOST_BLOCKS;
        /* What a handler allocates and frees at the last instructions of a reset stays allocated. */
        const size_t kept = c->run == call_reset && acts ? LOST_BLOCKS : 0;
        CHECK_LE(test_stats(instance).live_blocks, jumped ? lost : kept);
        verify_reset();
    }
    emma_destroy(instance);
}

static void jump_once(const call *c, unsigned kind)
{
    if (kind == SHARED)
        jump_in_shared(c);
    else
        jump_in_local(c, kind == CHECKPOINTS ? EMMA_CHECKPOINTS : 0);
}

static void jump_often(const call *c, unsigned kind, test_rng *rng)
{
    jumps_at = 0;
    /* A reset, a walk and a check of a shared instance are not to be interrupted by who uses it. */
    acts = kind != SHARED || (c->run != call_reset && c->run != call_walk && c->run != call_check);
    jump_once(c, kind);
    acts = false;
    jump_once(c, kind); /* counts */
    /* Each jump takes half of the call's instructions, in the mean. */
    const size_t few = 2 * TRAPS / (traps + 1);
    const size_t usual = few < JUMPS_MIN ? JUMPS_MIN : few < JUMPS ? few : JUMPS;
    const size_t stride = 1 + traps / test_scaled(usual);
    size_t jumps = 0;
    jumps_at = 1 + test_below(rng, stride);
    do {
        jump_once(c, kind);
        jumps += jumped;
        jumps_at += stride;
    } while (jumped && jumps < 2 * test_scaled(usual));
    printf("%s, %s: %zu jumps, every %zu instructions\n", kind == SHARED ? "shared" : "local",
           c->name, jumps, stride);
    CHECK_GT(jumps, 0);
}

int main(int argc, char **argv)
{
    test_rng rng = test_rng_from(test_choose_seed(argc, argv, 54000));
    const size_t part =
        TEST_SLOW_BUILD ? 5 : 1; /* an audit is thousands of instructions: some calls */
    test_trap_to(on_trap);
    for (unsigned kind = LOCAL; kind <= CHECKPOINTS; kind *= 2)
        for (size_t i = 0; i < TEST_COUNT(calls); i++)
            if ((calls[i].kinds & kind) && (i + kind) % part == 0)
                jump_often(&calls[i], kind, &rng);
    CHECK(busy_ever && abandoned_ever && refused_ever);
    return 0;
}
