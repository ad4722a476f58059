/* A pointer from outside the instance is found in every build and by every entry that takes one:
 * the message and a trap, or the host's handler, after which the call has done nothing. */
#include "emma_test.h"

enum { ENTRIES = 6 };

typedef struct call {
    emma *instance;
    void *address;
    int entry;
} call;

static struct {
    unsigned count;
    enum emma_misuse crime;
    const void *address;
    void *arg;
    emma *instance;
    char message[TEST_LINE_BYTES];
} seen;

static const char *expected_line(const char *name, const void *address)
{
    static char line[TEST_LINE_BYTES];
    test_misuse_line(line, name, "foreign pointer", address, "outside the region");
    return line;
}

static uintptr_t enter(const call *c)
{
    switch (c->entry) {
    case 0:
        emma_free(c->instance, c->address);
        return 0;
    case 1:
        emma_free_sized(c->instance, c->address, 10);
        return 0;
    case 2:
        return (uintptr_t)emma_realloc(c->instance, c->address, 10);
    case 3:
        return (uintptr_t)emma_realloc(c->instance, c->address, SIZE_MAX);
    case 4:
        return (uintptr_t)emma_realloc_sized(c->instance, c->address, 10, 20);
    default:
        return emma_usable_size(c->instance, c->address);
    }
}

static void act(void *arg)
{
    enter(arg);
}

static void keep(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                 const char *message)
{
    seen.count++;
    seen.crime = crime;
    seen.address = address;
    seen.arg = arg;
    seen.instance = instance;
    snprintf(seen.message, sizeof seen.message, "%s", message);
    CHECK_EQ(test_stats(instance).live_blocks, 2);
}

static void expect_handled(call c)
{
    const emma_stats before = test_stats(c.instance);
    const unsigned count = seen.count;
    CHECK_EQ(enter(&c), 0);
    CHECK_EQ(seen.count, count + 1);
    CHECK_EQ(seen.crime, EMMA_MISUSE_FOREIGN);
    CHECK_EQ(seen.address, c.address);
    CHECK_EQ(seen.arg, &seen);
    CHECK_EQ(seen.instance, c.instance);
    CHECK(strcmp(seen.message, expected_line("handled", c.address)) == 0);
    const emma_stats after = test_stats(c.instance);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    CHECK_EQ(emma_check(c.instance), EMMA_OK);
}

int main(void)
{
    emma_options options = test_options();
    options.name = "other";
    emma *other = emma_create(&options);
    options.name = "dying";
    emma *dying = emma_create(&options);
    options.name = "handled";
    options.misuse_handler = keep;
    options.misuse_arg = &seen;
    emma *handled = emma_create(&options);
    CHECK(other && dying && handled);
    CHECK(emma_malloc(handled, 10) && emma_malloc(handled, 100000));

    int on_the_stack[64];
    void *foreign[] = { emma_malloc(other, 100),
                        emma_malloc(other, 100000),
                        on_the_stack,
                        malloc(100),
                        &seen,
                        (void *)UINTPTR_MAX,
                        (void *)16,
                        (void *)1,
                        (void *)((uintptr_t)1 << 63) };
    for (int entry = 0; entry < ENTRIES; entry++) {
        for (size_t i = 0; i < TEST_COUNT(foreign); i++) {
            CHECK(foreign[i] != NULL);
            expect_handled((call){ handled, foreign[i], entry });
            call deadly = { dying, foreign[i], entry };
            test_dies(act, &deadly, expected_line("dying", foreign[i]));
        }
    }
    free(foreign[3]);
    emma_destroy(handled);
    emma_destroy(dying);
    emma_destroy(other);
    return 0;
}
