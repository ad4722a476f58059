/* A pointer that is not the instance's is reported, by whatever function it comes. */
#include "malloc_test.h"

static char outside[64];

static void *hidden(void *pointer)
{
    __asm__("" : "+r"(pointer));
    return pointer;
}

static void do_free(void *arg)
{
    free(hidden(arg));
}

static void do_realloc(void *arg)
{
    CHECK(realloc(hidden(arg), 100) == NULL);
}

static void do_usable(void *arg)
{
    CHECK_EQ(malloc_usable_size(hidden(arg)), 0);
}

static void expect_found(test_child_fn crime, void *address)
{
    char line[TEST_LINE_BYTES];
    test_misuse_line(line, "malloc", "foreign pointer", address, "outside the region");
    test_dies(crime, address, line);
}

int main(void)
{
    malloc_test_serves();
    static const test_child_fn crimes[] = { do_free, do_realloc, do_usable };
    void *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int on_stack;
    for (size_t i = 0; i < TEST_COUNT(crimes); i++) {
        expect_found(crimes[i], outside + 16);
        expect_found(crimes[i], mapped);
        expect_found(crimes[i], &on_stack);
    }
    return 0;
}
