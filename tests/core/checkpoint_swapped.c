/* test: uninstrumented */
/* What was written after a checkpoint and then swapped out is put back by a rollback, and copied by a further
 * checkpoint, like what is in memory. Where there is no swap space, or the kernel keeps the pages, it is skipped. */
#include "emma_test.h"

#include <fcntl.h>
#include <sys/mman.h>

enum { BLOCKS = 64, BLOCK_BYTES = 40000, TRIES = 20 };

static const size_t page_bytes = 4096;
static unsigned char *blocks[BLOCKS];

static void fill(uint64_t tag)
{
    for (size_t i = 0; i < BLOCKS; i++)
        test_fill(blocks[i], BLOCK_BYTES, tag + i);
}

static void expect_filled(uint64_t tag)
{
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK(test_filled(blocks[i], BLOCK_BYTES, tag + i));
}

/* How many pages of the blocks are swapped out, by bit 62 of their words in pagemap. */
static size_t swapped_pages(void)
{
    size_t count = 0;
    const int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; file >= 0 && i < BLOCKS; i++) {
        for (size_t at = 0; at < BLOCK_BYTES; at += page_bytes) {
            const uintptr_t page = (uintptr_t)(blocks[i] + at) / page_bytes;
            uint64_t word = 0;
            if (pread(file, &word, sizeof word, (off_t)(page * sizeof word)) == sizeof word)
                count += word >> 62 & 1;
        }
    }
    if (file >= 0)
        close(file);
    return count;
}

/* Has the kernel write the blocks' pages out; returns how many it did. */
static size_t swap_out(void)
{
    size_t count = 0;
    for (int i = 0; i < TRIES && count < BLOCKS; i++) {
        for (size_t k = 0; k < BLOCKS; k++) {
            const uintptr_t start = ((uintptr_t)blocks[k] + page_bytes - 1) & ~(page_bytes - 1);
            const uintptr_t end = ((uintptr_t)blocks[k] + BLOCK_BYTES) & ~(page_bytes - 1);
            madvise((void *)start, end - start, MADV_PAGEOUT);
        }
        count = swapped_pages();
    }
    return count;
}

static void need(size_t swapped)
{
    if (!swapped)
        test_skip("the kernel swaps nothing out: there may be no swap space");
}

int main(void)
{
    unsigned first, second;
    emma *instance = test_create(EMMA_UNLIMITED, EMMA_CHECKPOINTS);
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = emma_malloc(instance, BLOCK_BYTES)) != NULL);
    fill(1);
    CHECK_EQ(emma_checkpoint(instance, &first), EMMA_OK);

    fill(1000);
    need(swap_out());
    CHECK_EQ(emma_rollback(instance, first), EMMA_OK);
    expect_filled(1);

    fill(2000);
    need(swap_out());
    CHECK_EQ(emma_checkpoint(instance, &second), EMMA_OK);
    fill(3000);
    need(swap_out());
    CHECK_EQ(emma_rollback(instance, second), EMMA_OK);
    expect_filled(2000);

    /* Also what is not live any more: nothing of it can be read afterwards. */
    unsigned char *secret = emma_malloc(instance, BLOCK_BYTES);
    CHECK(secret != NULL);
    unsigned char *kept = blocks[0];
    memset(secret, 0x5a, BLOCK_BYTES);
    blocks[0] = secret;
    need(swap_out());
    blocks[0] = kept;
    CHECK_EQ(emma_rollback(instance, first), EMMA_OK);
    CHECK(test_zeroed(emma_calloc(instance, 1, BLOCK_BYTES), BLOCK_BYTES));
    expect_filled(1);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    emma_destroy(instance);
    return 0;
}
