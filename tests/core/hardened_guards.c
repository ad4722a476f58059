/* test: whole uninstrumented guards hardened */
/* EMMA_GUARD_PAGES: a touch right behind the last page of a large block or a slab faults, and so does one before a
 * large block, in what was freed, and anywhere between the first block and the allocator's state; no
 * mapping more for it. A child has the same guards. */
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>

#include "emma_fault.h"

static sigjmp_buf out;

static void on_fault(int number)
{
    (void)number;
    siglongjmp(out, 1);
}

static bool faults(const void *at)
{
    if (sigsetjmp(out, 1))
        return true;
    *(volatile char *)(uintptr_t)at = *(const volatile char *)at;
    return false;
}

static char *page_behind(const void *at)
{
    return (char *)emmai_round_up((uintptr_t)at, EMMAI_PAGE_BYTES);
}

static void around_runs(emma *instance)
{
    static const size_t sizes[] = { 5000, 8192, 16384, 16385, 65000, 100000, 262144, 3000000 };
    char *blocks[TEST_COUNT(sizes)];
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        blocks[i] = emma_malloc(instance, sizes[i]);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, sizes[i]);
    }
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        CHECK(faults(page_behind(blocks[i] + sizes[i] + 16)));
        CHECK(faults(blocks[i] - 1));
        CHECK(!faults(blocks[i]));
        CHECK(!faults(blocks[i] + sizes[i] - 1));
    }
    char *grown = emma_realloc(instance, blocks[5], 150000);
    CHECK(grown != NULL);
    memset(grown, 2, 150000);
    CHECK(faults(page_behind(grown + 150016)));
    char *shrunk = emma_realloc(instance, grown, 50000);
    CHECK_EQ(shrunk, grown);
    for (size_t at = 54000; at < 150000; at += 1000)
        CHECK(faults(shrunk + at));
    blocks[5] = emma_realloc(instance, shrunk, sizes[5]);
    CHECK_EQ(blocks[5], shrunk);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        emma_free(instance, blocks[i]);
        CHECK(faults(blocks[i]));
        CHECK(faults(blocks[i] + sizes[i] / 3));
        CHECK(faults(page_behind(blocks[i] + sizes[i] + 16)));
    }
}

static void behind_slabs(emma *instance)
{
    enum { BLOCKS = 2000, BLOCK_BYTES = 500 };
    static char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = emma_malloc(instance, BLOCK_BYTES);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 3, BLOCK_BYTES);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        char *chunk =
            emmai_chunk_start(instance, emmai_offset(instance, blocks[i]) >> EMMA_CHUNK_SHIFT);
        CHECK(faults(chunk + EMMAI_CHUNK_BYTES - 1));
        CHECK(faults(chunk + EMMAI_CHUNK_BYTES - EMMAI_PAGE_BYTES));
        CHECK(faults(chunk - 1));
    }
    for (size_t i = 0; i < BLOCKS; i++)
        emma_free(instance, blocks[i]);
    emma_trim(instance);
    for (size_t i = 0; i < BLOCKS && !instance->shared; i++)
        CHECK(faults(blocks[i]));
}

static void before_state(emma *instance)
{
    char *block = emma_malloc(instance, 16);
    CHECK(block != NULL);
    size_t pages = 0;
    for (char *page = emmai_origin(instance) + EMMAI_PAGE_BYTES;
         page < block - EMMAI_PAGE_BYTES && page < emmai_origin(instance) + EMMAI_YOUNG_BYTES;
         page += EMMAI_PAGE_BYTES, pages++)
        CHECK(faults(page));
    CHECK_GT(pages, 0);
    CHECK(faults(instance->control->mapping)); /* before all metadata */
    emma_free(instance, block);
}

static bool refuse_advice(long number, long b, long *result)
{
    (void)b;
    *result = -ENOMEM;
    return number == SYS_madvise;
}

/* Where the kernel does not lift guards, a block stays as it is, and can grow when it does again. */
static void not_lifted(emma *instance)
{
    enum { BYTES = 100000 };
    unsigned char *block = emma_malloc(instance, BYTES);
    CHECK(block != NULL);
    test_fill(block, BYTES, 5);
    const emma_stats before = test_stats(instance);
    fault.answer = refuse_advice;
    CHECK_EQ(emma_realloc(instance, block, 2 * BYTES), NULL);
    fault.answer = NULL;
    const emma_stats after = test_stats(instance);
    CHECK_EQ(after.live_bytes, before.live_bytes);
    CHECK_EQ(after.footprint_bytes - after.metadata_bytes,
             before.footprint_bytes - before.metadata_bytes);
    CHECK(test_filled(block, BYTES, 5));
    CHECK_EQ(emma_check(instance), EMMA_OK);
    block = emma_realloc(instance, block, 2 * BYTES);
    CHECK(block != NULL);
    test_fill(block, 2 * BYTES, 6);
    CHECK(faults(block - 1));
    emma_free(instance, block);
}

static void run(unsigned flags)
{
    emma *instance = test_create(EMMA_UNLIMITED, flags);
    if (!instance->control->guards)
        test_skip("the kernel has no guards (MADV_GUARD_INSTALL, Linux 6.13)");
    around_runs(instance);
    behind_slabs(instance);
    before_state(instance);
    not_lifted(instance);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    char *freed = emma_malloc(instance, 100000);
    char *block = emma_malloc(instance, 100000);
    CHECK(freed && block);
    memset(block, 4, 100000);
    emma_free(instance, freed);
    const pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0)
        _exit(faults(freed) && faults(block - 1) && !faults(block) ? 0 : 1);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    emma_destroy(instance);
}

int main(void)
{
    CHECK(signal(SIGSEGV, on_fault) != SIG_ERR);
    run(0);
    run(EMMA_SHARED);
    return 0;
}
