/* test: checks canaries hardened */
/* What a checked build finds beyond foreign pointers, each with its exact message and trap, in
 * small blocks, in slabs of larger ones, in runs, and in aligned blocks. */
#include "emma_test.h"

enum { NEIGHBOURS = 20 };

typedef struct crime {
    const char *name;
    void (*commit)(emma *instance, unsigned char *block, size_t bytes);
} crime;

static const char *crime_name; /* of the one that is committed */
static size_t block_bytes;     /* of the block's class or run */
static char *line;             /* what the parent will look for */

/* Tells the parent of the crime that comes next, by what the instance says of the place now. */
static void expect(const emma *instance, const void *address)
{
    char place[TEST_PLACE_BYTES];
    test_misuse_place(place, instance, address, block_bytes);
    test_misuse_line(line, "checked", crime_name, address, place);
}

static void expect_sizes(const void *address, size_t bytes, size_t passed)
{
    char sizes[TEST_PLACE_BYTES];
    snprintf(sizes, sizeof sizes, "%zu bytes, passed as %zu", bytes, passed);
    test_misuse_line(line, "checked", crime_name, address, sizes);
}

static void free_twice(emma *instance, unsigned char *block, size_t bytes)
{
    (void)bytes;
    emma_free(instance, block);
    expect(instance, block);
    emma_free(instance, block);
}

static void free_sized_twice(emma *instance, unsigned char *block, size_t bytes)
{
    emma_free_sized(instance, block, bytes);
    expect(instance, block);
    emma_free_sized(instance, block, bytes);
}

static void free_then_resize(emma *instance, unsigned char *block, size_t bytes)
{
    emma_free(instance, block);
    expect(instance, block);
    emma_realloc(instance, block, bytes + 1);
}

static void free_then_shrink(emma *instance, unsigned char *block, size_t bytes)
{
    emma_free(instance, block);
    expect(instance, block);
    emma_realloc_sized(instance, block, bytes, bytes / 2);
}

static void free_then_ask(emma *instance, unsigned char *block, size_t bytes)
{
    (void)bytes;
    emma_free(instance, block);
    expect(instance, block);
    emma_usable_size(instance, block);
}

static void free_moved(emma *instance, unsigned char *block, size_t bytes)
{
    /* What it moves away from is free; in place, the block itself is freed instead. */
    if (emma_realloc(instance, block, bytes * 8 + 4 * TEST_MIB) == block)
        emma_free(instance, block);
    expect(instance, block);
    emma_free(instance, block);
}

static void free_interior(emma *instance, unsigned char *block, size_t bytes)
{
    (void)bytes;
    expect(instance, block + 16);
    emma_free(instance, block + 16);
}

static void free_last_words(emma *instance, unsigned char *block, size_t bytes)
{
    expect(instance, block + (bytes - 16) / 16 * 16);
    emma_free(instance, block + (bytes - 16) / 16 * 16);
}

static void resize_interior(emma *instance, unsigned char *block, size_t bytes)
{
    expect(instance, block + 16);
    emma_realloc(instance, block + 16, bytes);
}

static void ask_interior(emma *instance, unsigned char *block, size_t bytes)
{
    (void)bytes;
    expect(instance, block + 16);
    emma_usable_size(instance, block + 16);
}

static void free_misaligned(emma *instance, unsigned char *block, size_t bytes)
{
    (void)bytes;
    expect(instance, block + 1);
    emma_free(instance, block + 1);
}

static void resize_misaligned(emma *instance, unsigned char *block, size_t bytes)
{
    expect(instance, block + 3);
    emma_realloc(instance, block + 3, bytes);
}

static void free_one_more(emma *instance, unsigned char *block, size_t bytes)
{
    expect_sizes(block, bytes, bytes + 1);
    emma_free_sized(instance, block, bytes + 1);
}

static void free_one_less(emma *instance, unsigned char *block, size_t bytes)
{
    expect_sizes(block, bytes, bytes - 1);
    emma_free_sized(instance, block, bytes - 1);
}

static void free_size_zero(emma *instance, unsigned char *block, size_t bytes)
{
    (void)bytes;
    expect_sizes(block, bytes, 0);
    emma_free_sized(instance, block, 0);
}

static void free_size_absurd(emma *instance, unsigned char *block, size_t bytes)
{
    (void)bytes;
    expect_sizes(block, bytes, SIZE_MAX);
    emma_free_sized(instance, block, SIZE_MAX);
}

static void resize_wrong(emma *instance, unsigned char *block, size_t bytes)
{
    expect_sizes(block, bytes, bytes / 2);
    emma_realloc_sized(instance, block, bytes / 2, bytes);
}

static void free_size_of_before(emma *instance, unsigned char *block, size_t bytes)
{
    block = emma_realloc(instance, block, bytes - 5);
    expect_sizes(block, bytes - 5, bytes);
    emma_free_sized(instance, block, bytes);
}

static const crime crimes[] = {
    { "double free of", free_twice },          { "double free of", free_sized_twice },
    { "double free of", free_then_resize },    { "double free of", free_then_shrink },
    { "double free of", free_then_ask },       { "double free of", free_moved },
    { "interior pointer", free_interior },     { "interior pointer", free_last_words },
    { "interior pointer", resize_interior },   { "interior pointer", ask_interior },
    { "misaligned pointer", free_misaligned }, { "misaligned pointer", resize_misaligned },
    { "wrong size of", free_one_more },        { "wrong size of", free_one_less },
    { "wrong size of", free_size_zero },       { "wrong size of", free_size_absurd },
    { "wrong size of", resize_wrong },         { "wrong size of", free_size_of_before },
};

typedef struct scene {
    const crime *what;
    size_t bytes, alignment;
    unsigned flags;
} scene;

/* In the child: a block among others of its size, so that its slab or run stands in the usual
 * state. */
static void act(void *arg)
{
    const scene *s = arg;
    emma_options options = test_options();
    options.name = "checked";
    options.flags = s->flags;
    emma *instance = emma_create(&options);
    for (size_t i = 0; i < NEIGHBOURS; i++)
        emma_malloc(instance, s->bytes);
    const size_t before = test_stats(instance).live_bytes;
    unsigned char *block = s->alignment > 0 ? emma_aligned_alloc(instance, s->alignment, s->bytes)
                                            : emma_malloc(instance, s->bytes);
    block_bytes = test_stats(instance).live_bytes - before;
    for (size_t i = 0; i < NEIGHBOURS; i++)
        emma_malloc(instance, s->bytes);
    crime_name = s->what->name;
    s->what->commit(instance, block, s->bytes);
}

int main(void)
{
    static const size_t sizes[] = { 40, 48, 100, 1000, 1024, 5000, 30000, 70000, 300000 };
    line = test_share(TEST_LINE_BYTES);
    for (size_t i = 0; i < TEST_COUNT(crimes); i++) {
        for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
            for (int variant = 0; variant < 3; variant++) {
                scene s = { &crimes[i], sizes[k], variant == 2 ? 256 : 0,
                            variant == 1 ? EMMA_ALIGN8 : 0 };
                printf("%zu bytes, variant %d, crime %zu\n", s.bytes, variant, i);
                test_dies(act, &s, line);
            }
        }
    }
    return 0;
}
