/* test: whole checks +canaries +hardened */
/* Blocks with a label, as libraries on top of the core have them: whoever claims another one is told, with what it is and
 * what was claimed; nothing else about them is new, and a block that cannot be resized keeps its label. */
#include "../../core/emma.c"

#include "emma_test.h"

enum { BLOCKS = 200, STEPS = 20000, LARGEST = 200000, LIMIT_BYTES = 16 << 20 };

static const size_t alignments[] = { 0, 1, 8, 16, 32, 64, 128, 256, 4096, 16384, 65536, 1 << 20 };
static const char *const functions[] = { "malloc", "new", "new[]" };

typedef struct held {
    unsigned char *block;
    size_t bytes;
    unsigned label;
} held;

static held blocks[BLOCKS];
static unsigned found;
static char expected[TEST_LINE_BYTES];

static void on_misuse(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                      const char *message)
{
    (void)arg, (void)instance, (void)address;
    if (crime != EMMA_MISUSE_MISMATCH || strcmp(message, expected) != 0) {
        dprintf(STDERR_FILENO, "expected '%s', got '%s'\n", expected, message);
        CHECK(false);
    }
    found++;
}

static unsigned label_of(unsigned family, size_t alignment)
{
    return alignment ? emmai_label(family, alignment) : family;
}

static unsigned random_label(test_rng *rng)
{
    return label_of((unsigned)test_below(rng, 3),
                    alignments[test_below(rng, TEST_COUNT(alignments))]);
}

static size_t alignment_of(unsigned label)
{
    return label >> EMMAI_LABEL_SHIFT ? (size_t)1 << ((label >> EMMAI_LABEL_SHIFT) - 1) : 1;
}

static void give(emma *instance, held *one, size_t bytes, unsigned label)
{
    one->block = emmai_block_labelled(instance, alignment_of(label), bytes, label);
    CHECK(one->block != NULL);
    CHECK_EQ((uintptr_t)one->block % alignment_of(label), 0);
    one->bytes = bytes;
    one->label = label;
    test_fill(one->block, bytes, label);
}

static void verify(const emma *instance, const held *one)
{
    CHECK_EQ(emma_usable_size(instance, one->block), one->bytes);
    CHECK(test_filled(one->block, one->bytes, one->label));
}

static emmai_claim claim_of(unsigned label, unsigned mask)
{
    return (emmai_claim){ .label = (uint16_t)label, .label_mask = (uint16_t)mask };
}

/* ---- claims that are wrong ---- */

static void add_function(char *text, const char *function, unsigned label)
{
    const size_t used = strlen(text);
    if (label >> EMMAI_LABEL_SHIFT)
        snprintf(text + used, TEST_LINE_BYTES - used, "%s aligned to %zu", function,
                 alignment_of(label));
    else
        snprintf(text + used, TEST_LINE_BYTES - used, "%s", function);
}

static void expect(const held *one, const char *function, unsigned label)
{
    snprintf(expected, sizeof expected, "emma: labels: mismatched free of %#zx (",
             (size_t)one->block);
    add_function(expected, functions[one->label & EMMAI_LABEL_FAMILY], one->label);
    strncat(expected, ", passed to ", sizeof expected - strlen(expected) - 1);
    add_function(expected, function, label);
    strncat(expected, ")", sizeof expected - strlen(expected) - 1);
}

static void claim_another(emma *instance, held *one, unsigned label)
{
    static const char *const back[] = { "free_sized", "delete", "delete[]" };
    const bool sized_with_alignment = label >> EMMAI_LABEL_SHIFT && !(label & EMMAI_LABEL_FAMILY);
    const unsigned before = found;
    const emmai_claim claim = claim_of(label, EMMAI_LABEL_WHOLE);
    expect(one, sized_with_alignment ? "free_aligned_sized" : back[label & EMMAI_LABEL_FAMILY],
           label);
    free_checked(instance, one->block, &claim);
    CHECK_EQ(found, before + (label != one->label));
    if (label == one->label)
        give(instance, one, one->bytes, label);
    verify(instance, one);
}

/* free and realloc claim no alignment. */
static void claim_family(emma *instance, held *one)
{
    emmai_claim claim = claim_of(EMMAI_LABEL_PLAIN, EMMAI_LABEL_FAMILY);
    const unsigned before = found;
    const bool wrong = (one->label & EMMAI_LABEL_FAMILY) != EMMAI_LABEL_PLAIN;
    claim.resizes = true;
    expect(one, "realloc", EMMAI_LABEL_PLAIN);
    CHECK(realloc_checked(instance, one->block, &claim, wrong ? one->bytes + 1 : PTRDIFF_MAX) ==
          NULL);
    CHECK_EQ(found, before + wrong);
    if (wrong) {
        claim.resizes = false;
        expect(one, "free", EMMAI_LABEL_PLAIN);
        free_checked(instance, one->block, &claim);
        CHECK_EQ(found, before + 2);
    }
    verify(instance, one);
}

/* Who may claim another label, since none of it has to be right, says nothing of the size of what it claims. */
static void claim_nothing(emma *instance, held *one)
{
    emmai_claim claim = claim_of(one->label ^ 1, 0);
    claim.bytes = one->bytes + 1;
    claim.sized = true;
    free_checked(instance, one->block, &claim);
    give(instance, one, one->bytes, one->label);
}

static void claim_no_alignment_there_is(emma *instance, held *one)
{
    const emmai_claim claim = claim_of(emmai_label(EMMAI_LABEL_NEW, 48), EMMAI_LABEL_WHOLE);
    expect(one, "delete aligned to no power of two", EMMAI_LABEL_NEW);
    free_checked(instance, one->block, &claim);
    verify(instance, one);
}

/* ---- blocks ---- */

static void release(emma *instance, test_rng *rng, held *one)
{
    emmai_claim claim = claim_of(one->label, EMMAI_LABEL_WHOLE);
    claim.bytes = one->bytes;
    claim.sized = test_chance(rng, 50);
    verify(instance, one);
    if (test_chance(rng, 20))
        emma_free(instance, one->block); /* takes all */
    else
        free_checked(instance, one->block, &claim);
    one->block = NULL;
}

/* The core's realloc takes all, too; what comes is of no label. */
static void resize(emma *instance, held *one, size_t bytes)
{
    verify(instance, one);
    one->block = emma_realloc(instance, one->block, bytes);
    CHECK(one->block != NULL);
    CHECK(test_filled(one->block, one->bytes < bytes ? one->bytes : bytes, one->label));
    one->bytes = bytes;
    one->label = EMMAI_LABEL_PLAIN;
    test_fill(one->block, bytes, one->label);
}

static void step(emma *instance, test_rng *rng, held *one)
{
    const size_t bytes = test_random_size(rng, LARGEST);
    if (!one->block) {
        give(instance, one, bytes, random_label(rng));
        return;
    }
    switch (test_below(rng, 7)) {
    case 0:
        claim_another(instance, one, random_label(rng));
        break;
    case 1:
        claim_family(instance, one);
        break;
    case 2:
        claim_no_alignment_there_is(instance, one);
        break;
    case 3:
        claim_nothing(instance, one);
        break;
    case 4:
        resize(instance, one, bytes);
        break;
    default:
        release(instance, rng, one);
    }
}

typedef struct walked {
    size_t blocks, bytes;
} walked;

static bool on_block(void *arg, void *block, size_t bytes)
{
    walked *sum = arg;
    (void)block;
    sum->blocks++;
    sum->bytes += bytes;
    return true;
}

static void verify_all(emma *instance)
{
    walked sum = { 0, 0 }, right = { 0, 0 };
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK(emma_walk(instance, on_block, &sum));
    for (size_t i = 0; i < BLOCKS; i++)
        if (blocks[i].block)
            on_block(&right, blocks[i].block, blocks[i].bytes);
    CHECK_EQ(sum.blocks, right.blocks);
    CHECK_EQ(sum.bytes, right.bytes);
}

static void run(unsigned flags)
{
    emma_options options = test_options();
    options.name = "labels";
    options.flags = flags;
    options.misuse_handler = on_misuse;
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    test_rng rng = test_rng_from(flags);
    for (size_t steps = test_steps(STEPS); steps > 0; steps--)
        step(instance, &rng, &blocks[test_below(&rng, BLOCKS)]);
    verify_all(instance);
    for (size_t i = 0; i < BLOCKS; i++)
        if (blocks[i].block)
            release(instance, &rng, &blocks[i]);
    verify_all(instance);
    emma_destroy(instance);
}

/* No memory for it; a size that none can be. */
static void run_out(void)
{
    const unsigned label = emmai_label(EMMAI_LABEL_NEW, 64);
    emma *instance = test_create(LIMIT_BYTES, 0);
    CHECK(emmai_block_labelled(instance, 64, LIMIT_BYTES, label) == NULL);
    CHECK(emmai_block_labelled(instance, 1, LIMIT_BYTES, EMMAI_LABEL_NEW) == NULL);
    CHECK(emmai_block_labelled(instance, 64, PTRDIFF_MAX, label) == NULL);
    CHECK(emmai_block_labelled(instance, 64, SIZE_MAX, label) == NULL);
    CHECK(emmai_block_labelled(instance, 1, SIZE_MAX, EMMAI_LABEL_NEW) == NULL);
    emma_destroy(instance);
}

int main(void)
{
    run(0);
    run(EMMA_ALIGN8);
    run(EMMA_CHECKPOINTS);
    run(EMMA_SHARED);
    CHECK_GT(found, 0);
    run_out();
    return 0;
}
