/* fuzz_world.h - an instance and all that is known of it: the model of its blocks, a copy of
 * that for each checkpoint, what its handlers were told, and which misuse they are about to be
 * told of. */
#ifndef EMMA_FUZZ_WORLD_H
#define EMMA_FUZZ_WORLD_H

#include "fuzz_kernel.h"

#include "../core/emma_model.h"

enum { SLOTS = 64, LEVELS = 3, WORLDS = 2 };

/* One operation, as it is read from the input. */
typedef struct operation {
    uint8_t what;
    uint8_t slot;
    size_t bytes;
    unsigned shift; /* 0 to 17 */
} operation;

typedef struct world {
    model m; /* m.instance NULL: not there (yet) */
    struct {
        unsigned name;
        model m;
    } levels[LEVELS];
    size_t depth;              /* how many checkpoints there are */
    unsigned char *last_freed; /* NULL: nothing to free twice */
    bool roomy;                /* nothing is refused while there is no limit and the kernel gives */
    bool put_off;              /* a signal handler freed what may not be free yet */
    bool over_soft;            /* what the limit handler was told last */
    operation answer;          /* what it does then */
} world;

static world worlds[WORLDS];
static world *w; /* the one that operations are done on */

/* ---- what its handlers are told ---- */

static struct {
    unsigned crimes; /* bits of emma_misuse that would be right; 0: none is expected */
    const void *address;
    unsigned reported;
} misuse;

static void on_misuse(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                      const char *message)
{
    static const char *const texts[] = { "foreign pointer",    "double free of", "interior pointer",
                                         "misaligned pointer", "wrong size of",  "overrun block",
                                         "write after free of" };
    char begin[TEST_LINE_BYTES];
    CHECK_EQ(arg, w);
    CHECK_EQ(instance, w->m.instance);
    CHECK_LT(crime, TEST_COUNT(texts));
    CHECK_EQ(misuse.crimes >> crime & 1, 1);
    CHECK_EQ(address, misuse.address);
    snprintf(begin, sizeof begin, "emma: fuzz: %s %#zx (", texts[crime], (size_t)address);
    CHECK(strncmp(message, begin, strlen(begin)) == 0);
    CHECK_GT(test_stats(instance).footprint_bytes, 0);
    misuse.reported++;
}

static emma_stats world_counters(const world *of)
{
    emma_stats stats = { .struct_bytes = EMMA_STATS_COUNTERS_BYTES };
    emma_get_stats(of->m.instance, &stats);
    return stats;
}

/* What the handler was told last is so, unless another call of it is what changed it. */
static void world_compare_soft(const world *of)
{
    const emma_stats stats = world_counters(of);
    CHECK_EQ(of->over_soft, stats.footprint_bytes > stats.soft_limit_bytes);
}

static void on_soft_limit(void *arg, emma *instance, bool over)
{
    world *of = arg;
    CHECK_EQ(instance, of->m.instance);
    CHECK_NE(over, of->over_soft);
    of->over_soft = over;
    world_compare_soft(of);
    if (of->answer.shift % 3 == 1) {
        emma_set_limit(instance, of->answer.slot & 1 ? EMMA_UNLIMITED : of->answer.bytes);
        of->m.may_refuse = true;
    } else if (of->answer.shift % 3 == 2) {
        CHECK_EQ(emma_use_spare(instance, over), EMMA_OK);
    }
}

/* ---- its life ---- */

static void world_forget(world *of, emma *instance, unsigned flags)
{
    model_init(&of->m, instance, flags, SLOTS);
    of->m.faults = fault_failures;
    of->last_freed = NULL;
    of->depth = 0;
    of->put_off = false;
}

/* Makes an instance as two bytes tell; false when the kernel refuses. */
static bool world_create(world *of, unsigned kind, unsigned limit)
{
    static const size_t limits[] = { EMMA_UNLIMITED, EMMA_LIMIT_MIN_BYTES, 48 * 1024, 128 * 1024,
                                     512 * 1024,     TEST_MIB + 5000,      4u << 20,  16u << 20 };
    enum {
        LIMITS = TEST_COUNT(limits),
        CHECKPOINTS = LIMITS,
        SHARED = 2 * LIMITS,
        KEEPS = 4 * LIMITS
    };
    emma_options options = test_options();
    options.flags = kind & 1 ? EMMA_ALIGN8 : 0;
    options.flags |= limit & SHARED ? EMMA_SHARED : limit & CHECKPOINTS ? EMMA_CHECKPOINTS : 0;
    options.limit_bytes = limits[limit % LIMITS];
    options.reserve_bytes = kind & 2 ? 2 * TEST_MIB : kind & 4 ? 64 * TEST_MIB : 0;
    options.spare_bytes = kind & 8 && options.limit_bytes >= 48 * 1024 ? 16 * 1024 : 0;
    options.decay_ms = limit & KEEPS ? EMMA_DECAY_NEVER : EMMA_DECAY_DEFAULT_MS;
    options.name = "fuzz";
    options.misuse_handler = on_misuse;
    options.limit_handler = on_soft_limit;
    options.misuse_arg = options.limit_arg = of;
    emma *instance = emma_create(&options);
    if (!instance)
        CHECK_GT(fault.failures, 0);
    world_forget(of, instance, options.flags);
    of->roomy = options.limit_bytes == EMMA_UNLIMITED && options.reserve_bytes == 0;
    of->over_soft = false;
    of->answer = (operation){ 0 };
    return instance != NULL;
}

static bool world_is_shared(void)
{
    return (w->m.flags & EMMA_SHARED) != 0;
}

/* Says whether a request may be refused from now on: not where there is room, and the kernel has
 * given all that it was asked for. */
static void world_expect_service(void)
{
    const bool unlimited = world_counters(w).limit_bytes == EMMA_UNLIMITED;
    w->m.may_refuse = !w->roomy || !unlimited || fault.failures > 0;
}

/* ---- its state against what is known ---- */

/* Has what handlers freed really freed, as any look at all blocks does. */
static void world_settle(void)
{
    if (w->put_off)
        CHECK_EQ(emma_check(w->m.instance), EMMA_OK);
    w->put_off = false;
}

static void world_compare_figures(void)
{
    world_settle();
    const emma_stats stats = test_stats(w->m.instance);
    CHECK_EQ(stats.live_blocks, w->m.live_blocks + w->m.lost);
    CHECK_LE(stats.footprint_bytes, stats.limit_bytes);
    CHECK_LE(stats.footprint_bytes, stats.peak_footprint_bytes);
    world_compare_soft(w);
}

static void world_verify(void)
{
    model_verify(&w->m);
    w->put_off = false;
}

#endif
