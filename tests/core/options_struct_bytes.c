/* A caller built against another version of the header: its emma_options or emma_stats is shorter
 * or longer than ours. Shorter: the rest has its default, and nothing is read or written beyond.
 * Longer: the rest must ask for nothing. */
#include "emma_test.h"
#include <stddef.h>

typedef struct longer {
    emma_options known;
    unsigned char unknown[64];
} longer;

static void try_options(void)
{
    emma_options options = test_options();
    options.limit_bytes = 2 * TEST_MIB;
    options.flags = ~0u; /* beyond the end of the shorter struct: must not be looked at */
    options.struct_bytes = offsetof(emma_options, soft_limit_bytes);
    CHECK_EQ(emma_options_check(&options), EMMA_OK);
    emma *instance = emma_create(&options);
    CHECK(instance != NULL);
    CHECK_EQ(test_stats(instance).limit_bytes, 2 * TEST_MIB);
    CHECK_EQ(test_stats(instance).soft_limit_bytes, EMMA_UNLIMITED);
    emma_destroy(instance);

    options.flags = 0;
    const size_t none[] = { 0, 1, sizeof(size_t) - 1, sizeof options + 1, SIZE_MAX };
    for (size_t i = 0; i < TEST_COUNT(none); i++) {
        options.struct_bytes = none[i];
        CHECK_EQ(emma_options_check(&options), EMMA_INVALID);
        CHECK_EQ(emma_create(&options), NULL);
    }

    longer later = { test_options(), { 0 } };
    later.known.struct_bytes = sizeof later;
    CHECK_EQ(emma_options_check(&later.known), EMMA_OK);
    instance = emma_create(&later.known);
    CHECK(instance != NULL);
    emma_destroy(instance);
    later.unknown[sizeof later.unknown - 1] = 1;
    CHECK_EQ(emma_options_check(&later.known), EMMA_UNSUPPORTED);
    CHECK_EQ(emma_create(&later.known), NULL);
}

/* Each length writes that many bytes and no more. */
static void try_stats(emma *instance)
{
    enum { ROOM = sizeof(emma_stats) + 128, MARK = 0xa5 };
    union {
        emma_stats stats;
        unsigned char bytes[ROOM];
    } out;
    for (size_t length = 0; length <= ROOM; length += sizeof(size_t)) {
        memset(&out, MARK, sizeof out);
        out.stats.struct_bytes = length;
        emma_get_stats(instance, &out.stats);
        const size_t filled = out.stats.struct_bytes;
        CHECK_LE(filled, length);
        CHECK_LE(filled, sizeof(emma_stats));
        if (length >= sizeof(emma_stats))
            CHECK_EQ(filled, sizeof(emma_stats));
        for (size_t i = filled > sizeof(size_t) ? filled : sizeof(size_t); i < ROOM; i++)
            CHECK_EQ(out.bytes[i], MARK);
        if (length > offsetof(emma_stats, limit_bytes))
            CHECK_EQ(out.stats.limit_bytes, 2 * TEST_MIB);
    }
}

int main(void)
{
    try_options();
    emma *instance = test_create(2 * TEST_MIB, 0);
    try_stats(instance);
    emma_destroy(instance);
    return 0;
}
