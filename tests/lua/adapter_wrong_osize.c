/* A host that gives a wrong old size, or a type tag for one, hurts nothing: a checked build
 * reports it and does nothing, any other ignores what it was told. */
#include "lua_test.h"

enum { BLOCKS = 64, GUARDED_BYTES = 200 };

static size_t reported;
static const void *misused;
static size_t true_bytes, passed_bytes;

static void on_misuse(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                      const char *message)
{
    (void)arg;
    (void)instance;
    char line[TEST_LINE_BYTES], sizes_text[TEST_PLACE_BYTES];
    snprintf(sizes_text, sizeof sizes_text, "%zu bytes, passed as %zu", true_bytes, passed_bytes);
    test_misuse_line(line, "host", "wrong size of", misused, sizes_text);
    CHECK_EQ(address, misused);
    CHECK_EQ(crime, EMMA_MISUSE_WRONG_SIZE);
    CHECK(strcmp(message, line) == 0);
    reported++;
}

static const size_t sizes[] = { 1, 16, 40, 56, 130, 1000, 3000, 20000, 100000, 3000000 };

/* So far from `bytes` that no rounding makes them one. */
static const size_t wrong_sizes[] = {
    0, 1, 5, 7, 13, 56, 600, 9000, 5000000, SIZE_MAX, SIZE_MAX / 2
};

static bool far_apart(size_t a, size_t b)
{
    return a > 2 * b + 16 || b > 2 * a + 16;
}

static void expect(const void *block, size_t bytes, size_t wrong)
{
    misused = block;
    true_bytes = bytes;
    passed_bytes = wrong;
}

static void free_wrongly(emma *instance, size_t bytes, size_t wrong)
{
    const size_t before = reported;
    void *block = emma_lua_alloc(instance, NULL, 7, bytes);
    CHECK(block != NULL);
    expect(block, bytes, wrong);
    CHECK(emma_lua_alloc(instance, block, wrong, 0) == NULL);
    CHECK_EQ(reported - before, CHECKED);
    if (CHECKED) /* refused, so it is there still */
        CHECK(emma_lua_alloc(instance, block, bytes, 0) == NULL);
    CHECK_EQ(emma_check(instance), EMMA_OK);
}

static void resize_wrongly(emma *instance, size_t bytes, size_t wrong, size_t new_bytes)
{
    const size_t before = reported;
    const size_t kept = bytes < new_bytes ? bytes : new_bytes;
    void *block = emma_lua_alloc(instance, NULL, 7, bytes);
    CHECK(block != NULL);
    test_fill(block, bytes, bytes);
    expect(block, bytes, wrong);
    void *moved = emma_lua_alloc(instance, block, wrong, new_bytes);
    CHECK_EQ(reported - before, CHECKED);
    CHECK_EQ(moved == NULL, CHECKED);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    if (CHECKED) {
        CHECK(test_filled(block, bytes, bytes));
        emma_lua_alloc(instance, block, bytes, 0);
    } else {
        CHECK(test_filled(moved, kept & ~(size_t)7, bytes));
        CHECK_GE(emma_usable_size(instance, moved), new_bytes);
        emma_lua_alloc(instance, moved, new_bytes, 0);
    }
}

int main(void)
{
    void *guarded[BLOCKS];
    emma_options options = lua_test_options();
    options.name = "host";
    options.misuse_handler = on_misuse;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    for (int i = 0; i < BLOCKS; i++) {
        guarded[i] = emma_lua_alloc(instance, NULL, 0, GUARDED_BYTES);
        CHECK(guarded[i] != NULL);
        test_fill(guarded[i], GUARDED_BYTES, (uint64_t)i);
    }
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        for (size_t k = 0; k < TEST_COUNT(wrong_sizes); k++) {
            if (!far_apart(sizes[i], wrong_sizes[k]))
                continue;
            free_wrongly(instance, sizes[i], wrong_sizes[k]);
            for (size_t n = 0; n < TEST_COUNT(sizes); n++)
                resize_wrongly(instance, sizes[i], wrong_sizes[k], sizes[n]);
        }
    }
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(test_filled(guarded[i], GUARDED_BYTES, (uint64_t)i));
        emma_lua_alloc(instance, guarded[i], GUARDED_BYTES, 0);
    }
    lua_test_empty(instance);
    emma_destroy(instance);
    return 0;
}
