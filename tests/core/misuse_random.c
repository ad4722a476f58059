/* test: checks canaries links zeros order delay guards hardened */
/* Random misuse between random operations, with a host's handler that returns: each crime is
 * reported, and the call has done nothing: the model holds to the end. */
#include "emma_model.h"

enum { STEPS = 100000, SLOTS = 200, FREED = 64 };

static model m;
static unsigned crimes, found[5];

static void count(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                  const char *message)
{
    (void)arg, (void)address, (void)message;
    CHECK_EQ(instance, m.instance);
    CHECK_LT(crime, TEST_COUNT(found));
    found[crime]++;
    crimes++;
}

static void misuse(test_rng *rng, unsigned char *address)
{
    const model_block *block = model_find(&m, address);
    const bool live = block && block->at == address;
    const size_t wrong = live ? block->bytes + 1 + test_below(rng, 3) : test_below(rng, 100);
    const unsigned before = crimes;
    switch (test_below(rng, live ? 2 : 5)) {
    case 0:
        emma_free_sized(m.instance, address, wrong);
        break;
    case 1:
        CHECK_EQ(emma_realloc_sized(m.instance, address, wrong, 50), NULL);
        break;
    case 2:
        emma_free(m.instance, address);
        break;
    case 3:
        CHECK_EQ(emma_realloc(m.instance, address, 50), NULL);
        break;
    default:
        CHECK_EQ(emma_usable_size(m.instance, address), 0);
        break;
    }
    CHECK_EQ(crimes, before + 1);
}

int main(int argc, char **argv)
{
    static unsigned char *freed[FREED];
    test_rng rng = test_rng_from(test_choose_seed(argc, argv, 5000));
    emma_options options = test_options();
    options.misuse_handler = count;
    options.flags = EMMA_ALIGN8;
    model_init(&m, emma_create(&options), EMMA_ALIGN8, SLOTS);
    CHECK(m.instance != NULL);
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps; i++) {
        const model_block *block = &m.blocks[test_below(&rng, SLOTS)];
        freed[i % FREED] = block->at; /* freed sooner or later */
        const unsigned before = crimes;
        model_random_step(&m, &rng, 200000);
        CHECK_EQ(crimes, before);
        unsigned char *address = freed[test_below(&rng, FREED)];
        if (address)
            misuse(&rng, address + (test_chance(&rng, 30) ? test_below(&rng, 100) : 0));
        if (i % 5000 == 0)
            model_verify(&m);
    }
    model_verify(&m);
    CHECK_GT(found[EMMA_MISUSE_DOUBLE_FREE], 0);
    CHECK_GT(found[EMMA_MISUSE_INTERIOR], 0);
    CHECK_GT(found[EMMA_MISUSE_MISALIGNED], 0);
    CHECK_GT(found[EMMA_MISUSE_WRONG_SIZE], 0);
    model_free_all(&m);
    emma_destroy(m.instance);
    return 0;
}
