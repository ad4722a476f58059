/* test: +hardened */
/* A block that overflows by up to 1 MiB, upwards or downwards, changes no other instance: neither
 * the blocks of its neighbours nor what they know of themselves, their checkpoints included. Tried
 * from the first and the last block of each size, from large ones, and from the region's ends. */
#include "emma_test.h"

#include <setjmp.h>

enum { OVERFLOW_BYTES = 1 << 20, STRAY = 0xee, BLOCKS = 20, LEVELS = 2, FILLERS_MAX = 5000 };

/* An instance that is not to be changed, with blocks that are filled by tag. */
typedef struct neighbour {
    emma *instance;
    test_maps own;
    unsigned flags;
    char *blocks[BLOCKS];
    unsigned levels[LEVELS];
} neighbour;

typedef struct attack {
    char *block;
    size_t usable;
    bool downwards, far_first;
} attack;

static neighbour above, below;
static sigjmp_buf out;
static size_t attacks;
static size_t *faults; /* of all children */

/* ---- those on both sides ---- */

static size_t neighbour_size(size_t i)
{
    return i < BLOCKS / 2 ? 16 + 24 * i : 2000 * (i - BLOCKS / 2 + 1);
}

static void neighbour_write(const neighbour *n, uint64_t tag)
{
    for (size_t i = 0; i < BLOCKS; i++)
        test_fill(n->blocks[i], neighbour_size(i), tag + i);
}

static void neighbour_verify(const neighbour *n, uint64_t tag)
{
    CHECK_EQ(emma_check(n->instance), EMMA_OK);
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK(test_filled(n->blocks[i], neighbour_size(i), tag + i));
}

static uint64_t tag_of(size_t moment)
{
    return (moment + 1) * 1000;
}

static void neighbour_create(neighbour *n, const emma_options *options)
{
    n->flags = options->flags;
    n->instance = test_create_mapped(options, &n->own);
    for (size_t i = 0; i < BLOCKS; i++) {
        n->blocks[i] = emma_malloc(n->instance, neighbour_size(i));
        CHECK(n->blocks[i] != NULL);
    }
}

/* What further checkpoints have is outside the instance's own mapping. */
static void neighbour_checkpoint(neighbour *n)
{
    for (size_t i = 0; i < LEVELS; i++) {
        neighbour_write(n, tag_of(i));
        if (n->flags & EMMA_CHECKPOINTS)
            CHECK_EQ(emma_checkpoint(n->instance, &n->levels[i]), EMMA_OK);
    }
    neighbour_write(n, tag_of(LEVELS));
}

static void neighbour_is_unchanged(const neighbour *n)
{
    neighbour_verify(n, tag_of(LEVELS));
    for (size_t i = LEVELS; n->flags & EMMA_CHECKPOINTS && i-- > 0;) {
        CHECK_EQ(emma_rollback(n->instance, n->levels[i]), EMMA_OK);
        neighbour_verify(n, tag_of(i));
    }
    char *more = emma_malloc(n->instance, 100);
    CHECK(more != NULL);
    emma_free(n->instance, more);
}

/* ---- the one in between ---- */

static void on_fault(int number)
{
    (void)number;
    siglongjmp(out, 1);
}

/* Writes from near to far, as loops and memset do, to the end or until it faults. */
static void overflow_near_first(const attack *a)
{
    volatile char *start = a->downwards ? a->block - OVERFLOW_BYTES : a->block + a->usable;
    if (sigsetjmp(out, 1)) {
        ++*faults;
        return;
    }
    for (size_t i = 0; i < OVERFLOW_BYTES; i++)
        start[a->downwards ? OVERFLOW_BYTES - 1 - i : i] = (char)STRAY;
}

/* Writes from far to near, as memmove may, whatever faults. */
static void overflow_far_first(const attack *a)
{
    char *start = a->downwards ? a->block - OVERFLOW_BYTES : a->block + a->usable;
    for (volatile size_t i = 0; i < OVERFLOW_BYTES; i += TEST_PAGE_BYTES) {
        const size_t offset = a->downwards ? i : OVERFLOW_BYTES - TEST_PAGE_BYTES - i;
        if (sigsetjmp(out, 1))
            ++*faults;
        else
            memset(start + offset, STRAY, TEST_PAGE_BYTES);
    }
}

/* In a child, which has to end well all the same. */
static void overflow(void *arg)
{
    const attack *a = arg;
    signal(SIGSEGV, on_fault);
    if (a->far_first)
        overflow_far_first(a);
    else
        overflow_near_first(a);
    signal(SIGSEGV, SIG_DFL);
    neighbour_is_unchanged(&above);
    neighbour_is_unchanged(&below);
}

static void attack_from(const emma *instance, char *block)
{
    if (!block)
        return;
    attack a = { .block = block, .usable = emma_usable_size(instance, block) };
    for (unsigned manner = 0; manner < 4; manner++) {
        a.downwards = manner & 1;
        a.far_first = manner & 2;
        test_in_child(overflow, &a);
        attacks++;
    }
}

static void attack_from_each_size(emma *instance)
{
    for (size_t bytes = 16; bytes < 300000; bytes += bytes + bytes / 5) {
        char *block = emma_malloc(instance, bytes);
        attack_from(instance, block);
        for (size_t i = 0; block && i < BLOCKS; i++)
            block = emma_malloc(instance, bytes);
        attack_from(instance, block);
    }
    for (size_t alignment = 64; alignment <= 64 * TEST_KIB; alignment *= 8)
        attack_from(instance, emma_aligned_alloc(instance, alignment, 2 * alignment));
}

/* Takes all of the region, and tries from the first block, the last, and the one before. */
static void attack_from_ends(emma *instance)
{
    char *first = NULL, *last = NULL, *large = NULL;
    size_t bytes = test_stats(instance).reserve_bytes / 2;
    for (size_t i = 0; bytes >= 16 && i < FILLERS_MAX; i++) {
        char *block = emma_malloc(instance, bytes);
        if (!block)
            bytes /= 2;
        if (block && (!first || block < first))
            first = block;
        if (block && block > last)
            last = block;
        if (block && bytes > 16 * TEST_KIB && block > large)
            large = block;
    }
    attack_from(instance, first);
    attack_from(instance, last);
    attack_from(instance, large);
}

/* ---- all three ---- */

static bool touch(const test_maps *lower, const test_maps *upper)
{
    return lower->ranges[lower->count - 1].end == upper->ranges[0].start;
}

/* True: they lay side by side. */
static bool run(size_t reserve_bytes, unsigned flags)
{
    static test_maps own;
    emma_options options = test_options();
    options.reserve_bytes = reserve_bytes;
    options.flags = flags;
    neighbour_create(&above, &options);
    emma *instance = test_create_mapped(&options, &own);
    neighbour_checkpoint(&above);
    neighbour_create(&below, &options);
    neighbour_checkpoint(&below);
    const bool together =
        touch(&own, &above.own) && (touch(&below.own, &own) || (flags & EMMA_CHECKPOINTS));
    attack_from_each_size(instance);
    if (reserve_bytes)
        attack_from_ends(instance);
    emma_destroy(instance);
    emma_destroy(above.instance);
    emma_destroy(below.instance);
    return together;
}

int main(void)
{
    static const unsigned kinds[] = { 0, EMMA_ALIGN8, EMMA_SHARED, EMMA_CHECKPOINTS };
    test_need_own_maps();
    faults = test_share(sizeof *faults);
    bool together = true;
    for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
        together &= run(2 * TEST_MIB, kinds[i]);
        together &= run(0, kinds[i]);
    }
    printf("%zu overflows, %zu faults\n", attacks, *faults);
    CHECK_GT(attacks, 500);
    CHECK_GT(*faults, attacks);
    if (!together)
        test_skip("the kernel did not put instances side by side");
    return 0;
}
