/* Little address space is left (RLIMIT_AS): creation takes a smaller region, which works, or
 * returns NULL without a trace; a reserve that was asked for is not made smaller. */
#include "emma_model.h"

static test_maps before, after;
static model m;

static void limit_address_space(size_t extra)
{
    char text[64] = "";
    const int file = open("/proc/self/statm", O_RDONLY);
    CHECK(file >= 0);
    CHECK(read(file, text, sizeof text - 1) > 0);
    close(file);
    const rlim_t now = strtoul(text, NULL, 10) * TEST_PAGE_BYTES;
    const struct rlimit limit = { now + extra, now + extra };
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

static void use(emma *instance, size_t extra)
{
    test_rng rng = { extra | 1 };
    model_init(&m, instance, 0, 100);
    m.may_refuse = true;
    CHECK(emma_malloc(instance, 100) != NULL);
    CHECK_EQ(emma_reset(instance), EMMA_OK);
    const size_t steps = test_steps(20000);
    for (size_t i = 0; i < steps; i++)
        model_random_step(&m, &rng, extra);
    model_verify(&m);
}

static void act(void *arg)
{
    const size_t extra = *(size_t *)arg;
    test_maps_read(&before);
    limit_address_space(extra);
    emma *instance = emma_create(NULL);
    if (extra >= 2 * EMMA_RESERVE_MIN_BYTES + TEST_MIB)
        CHECK(instance != NULL);
    if (instance) {
        CHECK_LE(test_stats(instance).reserve_bytes, extra);
        CHECK_GE(test_stats(instance).reserve_bytes, EMMA_RESERVE_MIN_BYTES);
        use(instance, extra);
    }
    emma_destroy(instance);
    emma_options options = test_options();
    options.reserve_bytes = extra + TEST_MIB;
    CHECK_EQ(emma_create(&options), NULL);
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
}

int main(void)
{
    test_need_own_maps();
    for (size_t extra = TEST_GIB; extra >= 4 * TEST_KIB; extra = extra * 3 / 4 & ~(size_t)4095) {
        printf("%zu bytes left\n", extra);
        test_in_child(act, &extra);
    }
    return 0;
}
