/* malloc_usable_size, malloc_trim, mallopt, mallinfo, mallinfo2, malloc_info, malloc_stats. */
#include "malloc_test.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static void print_stats(void *arg)
{
    (void)arg;
    malloc_stats();
}

static void test_stats_table(void)
{
    static char text[1 << 14];
    CHECK_EQ(test_run_child(print_stats, NULL, text, sizeof text), 0);
    CHECK_EQ(strncmp(text, "emma: malloc: memory of process ", 32), 0);
    CHECK(strstr(text, "\n  peak footprint ") != NULL);
    CHECK(strstr(text, "\n  block size ") != NULL);
}

static void test_info(void)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    CHECK_EQ(malloc_info(0, stream), 0);
    CHECK_EQ(malloc_info(1, stream), EINVAL); /* as the GNU C library; its manual says -1 */
    fclose(stream);
    CHECK_EQ(strncmp(text, "<malloc version=\"emma ", 22), 0);
    CHECK(strstr(text, "</malloc>\n") != NULL);
    free(text);
}

static void test_numbers(void)
{
    const struct mallinfo2 before = mallinfo2();
    char *large = malloc(40 * TEST_MIB);
    const struct mallinfo2 with = mallinfo2();
    CHECK_GE(with.hblkhd, before.hblkhd + 40 * TEST_MIB);
    CHECK_EQ(with.hblks, before.hblks + 1);
    CHECK_GE(with.uordblks, before.uordblks + 40 * TEST_MIB);
    CHECK_EQ(mallinfo().hblks, (int)with.hblks);
    memset(large, 1, 40 * TEST_MIB);
    free(large);
    CHECK_EQ(mallinfo2().hblks, before.hblks);
    malloc_trim(0);
    CHECK_LE(malloc_test_footprint(), before.arena + before.hblkhd + TEST_MIB);
}

static void test_trim(void)
{
    enum { BLOCKS = 20000 };
    static void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = memset(malloc(500), 1, 500);
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    const size_t before = malloc_test_footprint();
    CHECK_EQ(malloc_trim(0), 1);
    CHECK_LT(malloc_test_footprint(), before);
    CHECK_EQ(malloc_trim(0), 0);
}

int main(void)
{
    malloc_test_serves();
    CHECK_EQ(malloc_usable_size(NULL), 0);
    CHECK_EQ(mallopt(M_ARENA_MAX, 1), 1);
    CHECK_EQ(mallopt(M_MMAP_THRESHOLD, 4096), 1);
    test_trim();
    test_numbers();
    test_info();
    test_stats_table();
    return 0;
}
