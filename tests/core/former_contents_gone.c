/* test: whole +hardened */
/* What an instance had in its blocks is in no byte of those that come after: of the next instance
 * at the same address after emma_destroy, of the same one after emma_reset and emma_rollback; also
 * where the kernel keeps memory that is given back, or refuses what an image is to be replaced by. */
#include "emma_fault.h"

enum { TRACE = 0xa7, TRACE_BYTES = 6, OWN = 0x3c, BLOCKS_MAX = 100000, PER_SIZE = 40 };
#define RESERVE_BYTES (96 * TEST_MIB)
#define LARGEST_BYTES (34 * TEST_MIB)

typedef enum ending { DESTROY, RESET, ROLLBACK } ending;

static char *blocks[BLOCKS_MAX];
static size_t block_count;
static bool elsewhere; /* an instance came to be at another address than the one before it */

static void *keep(void *block)
{
    CHECK_LT(block_count, BLOCKS_MAX);
    if (block)
        blocks[block_count++] = block;
    return block;
}

/* ---- the one before ---- */

static void write_block(emma *instance, void *block, unsigned char byte)
{
    CHECK(keep(block) != NULL);
    memset(block, byte, emma_usable_size(instance, block));
}

static size_t next_size(size_t bytes)
{
    return bytes < 1024 ? bytes + 8 : bytes + bytes / 7;
}

/* Blocks of all sizes, some of which are freed, resized or moved again, so that slabs and chunks
 * are left in part and whole. */
static void write_all(emma *instance, unsigned char byte)
{
    block_count = 0;
    for (size_t bytes = 8; bytes < 300000; bytes = next_size(bytes))
        for (size_t i = 0; i < (bytes < 5000 ? PER_SIZE : 3); i++)
            write_block(instance, emma_malloc(instance, bytes), byte);
    for (size_t alignment = 32; alignment <= 256 * TEST_KIB; alignment *= 2)
        write_block(instance, emma_aligned_alloc(instance, alignment, alignment + 100), byte);
    write_block(instance, emma_malloc(instance, 3 * TEST_MIB), byte);
    for (size_t i = 0; i < block_count; i += 3) {
        emma_free(instance, blocks[i]);
        blocks[i] = blocks[--block_count];
    }
    for (size_t i = 0; i < block_count; i += 5) {
        const size_t usable = emma_usable_size(instance, blocks[i]);
        const size_t bytes = i % 2 ? usable / 2 : usable + usable / 2;
        blocks[i] = emma_realloc(instance, blocks[i], bytes);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], byte, emma_usable_size(instance, blocks[i]));
    }
}

/* ---- the one after ---- */

static void look(emma *instance, const char *block)
{
    const size_t bytes = emma_usable_size(instance, block);
    size_t in_a_row = 0;
    for (size_t i = 0; i < bytes; i++) {
        in_a_row = (unsigned char)block[i] == TRACE ? in_a_row + 1 : 0;
        CHECK_LT(in_a_row, TRACE_BYTES);
    }
}

/* Takes blocks of one size, until there are no more or `count`, and looks into them. */
static void look_at(emma *instance, size_t bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *block = keep(emma_malloc(instance, bytes));
        if (!block)
            return;
        look(instance, block);
        if (bytes >= 20000 && i % 2 == 0) { /* grows over what is behind it, if that is free */
            char *grown = emma_realloc(instance, block, 2 * bytes);
            if (grown)
                look(instance, blocks[block_count - 1] = grown);
        }
    }
}

/* Takes all that the region has: by small blocks first, so that they come where anything was, or by
 * large ones. */
static void look_at_all(emma *instance, bool small_first)
{
    block_count = 0;
    if (small_first)
        for (size_t bytes = 8; bytes < 500000; bytes = next_size(bytes))
            look_at(instance, bytes, bytes < 5000 ? 2 * PER_SIZE : 6);
    for (size_t bytes = 16 * TEST_MIB; bytes >= 64; bytes /= 2)
        look_at(instance, bytes, bytes < 4096 ? PER_SIZE : BLOCKS_MAX);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

/* ---- how it ends ---- */

static emma *create(unsigned flags)
{
    emma_options options = test_options();
    options.reserve_bytes = RESERVE_BYTES;
    options.flags = flags;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    return instance;
}

static emma *end(emma *instance, ending how, unsigned flags, unsigned level)
{
    const emma *before = instance;
    if (how == RESET)
        CHECK_EQ(emma_reset(instance), EMMA_OK);
    if (how == ROLLBACK)
        CHECK_EQ(emma_rollback(instance, level), EMMA_OK);
    if (how != DESTROY)
        return instance;
    emma_destroy(instance);
    instance = create(flags);
    elsewhere |= instance != before;
    return instance;
}

static void free_some(emma *instance)
{
    for (size_t i = 0; i < block_count; i += 2)
        emma_free(instance, blocks[i]);
}

static void run(ending how, unsigned flags, bool small_first)
{
    unsigned level = 0;
    emma *instance = create(flags);
    if (flags & EMMA_CHECKPOINTS) {
        write_all(instance, how == ROLLBACK ? OWN : TRACE);
        CHECK_EQ(emma_checkpoint(instance, &level), EMMA_OK);
        free_some(instance);
    }
    write_all(instance, TRACE);
    instance = end(instance, how, flags, level);
    fault.answer = NULL;
    look_at_all(instance, small_first);
    emma_destroy(instance);
}

/* ---- what the kernel does not do ---- */

static bool keeps_memory(long number, long length, long *result)
{
    (void)length;
    *result = -EINVAL; /* as where it is locked */
    return number == SYS_madvise;
}

static bool moves_nothing(long number, long length, long *result)
{
    (void)length;
    *result = -ENOMEM;
    return number == SYS_mremap;
}

static void reset_in_want(bool (*answer)(long, long, long *), unsigned flags)
{
    for (int small_first = 0; small_first <= 1; small_first++) {
        fault.answer = answer;
        run(RESET, flags, small_first);
    }
}

/* A block for which huge pages may be used, and the slabs beside it. */
static void run_huge(ending how)
{
    emma *instance = create(0);
    write_all(instance, TRACE);
    write_block(instance, emma_malloc(instance, LARGEST_BYTES), TRACE);
    instance = end(instance, how, 0, 0);
    look_at_all(instance, false);
    emma_destroy(instance);
}

int main(void)
{
    static const unsigned kinds[] = { 0, EMMA_ALIGN8, EMMA_SHARED, EMMA_CHECKPOINTS };
    for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
        for (int small_first = 0; small_first <= 1; small_first++) {
            run(DESTROY, kinds[i], small_first);
            run(RESET, kinds[i], small_first);
        }
    }
    run(ROLLBACK, EMMA_CHECKPOINTS, true);
    run(ROLLBACK, EMMA_CHECKPOINTS, false);
    run_huge(DESTROY);
    run_huge(RESET);
    if (!EMMA_GUARD_PAGES) { /* which is what such an instance is made with */
        reset_in_want(keeps_memory, 0);
        reset_in_want(keeps_memory, EMMA_CHECKPOINTS);
    }
    reset_in_want(moves_nothing, EMMA_CHECKPOINTS);
    if (elsewhere)
        test_skip("the kernel gave an instance another address than the one before it");
    return 0;
}
