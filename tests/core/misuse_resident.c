/* Freeing what lies in parts of the region that were never used is misuse, and takes no memory:
 * what is resident stays within the footprint, however many such frees a handler lets pass. */
#include "emma_test.h"

enum { BLOCKS = 200 };
#define RESERVE_BYTES (4 * TEST_GIB)
#define STRIDE_BYTES  (512 * TEST_KIB) /* the entries of the region's chunks: several a page */

static test_maps own;
static size_t reports;

static void count(void *arg, emma *instance, enum emma_misuse crime, const void *address,
                  const char *message)
{
    (void)arg, (void)instance, (void)address, (void)message;
    CHECK_EQ(crime, EMMA_MISUSE_DOUBLE_FREE);
    reports++;
}

static void misuse(emma *instance, char *at, size_t kind)
{
    switch (kind % 4) {
    case 0:
        emma_free(instance, at);
        break;
    case 1:
        emma_free_sized(instance, at, 10);
        break;
    case 2:
        CHECK_EQ(emma_resize(instance, at, 10, 0), NULL);
        break;
    default:
        CHECK_EQ(emma_realloc(instance, at, 10), NULL);
        break;
    }
}

int main(void)
{
    test_need_own_maps();
    emma_options options = test_options();
    options.limit_bytes = 256 * TEST_KIB;
    options.reserve_bytes = RESERVE_BYTES;
    options.misuse_handler = count;
    emma *instance = test_create_mapped(&options, &own);
    char *block = NULL;
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((block = emma_malloc(instance, 500)) != NULL);
    CHECK(emma_malloc(instance, 20000) != NULL);
    const emma_stats before = test_stats(instance);
    size_t misuses = 0;
    for (size_t ahead = TEST_MIB + 64; ahead < RESERVE_BYTES - TEST_MIB; ahead += STRIDE_BYTES)
        if (ahead < RESERVE_BYTES / 2 - TEST_MIB || ahead > RESERVE_BYTES / 2 + TEST_MIB) /* run */
            misuse(instance, block + ahead, misuses++);
    /* And beyond the young area, where chunks may have their entries on page 0: in a fresh instance. */
    emma *fresh = emma_create(&options);
    CHECK(fresh != NULL);
    char *origin = (char *)((uintptr_t)fresh & ~(uintptr_t)(TEST_PAGE_BYTES - 1));
    for (size_t at = 64 * TEST_KIB; at < 256 * TEST_KIB; at += TEST_PAGE_BYTES)
        misuse(fresh, origin + at, misuses++);
    CHECK_EQ(emma_check(fresh), EMMA_OK);
    emma_destroy(fresh);
    CHECK_GT(misuses, 1000);
    CHECK_EQ(reports, misuses);
    CHECK_EQ(test_stats(instance).footprint_bytes, before.footprint_bytes);
    CHECK_EQ(test_stats(instance).live_blocks, before.live_blocks);
    CHECK_LE(test_resident_bytes(&own), before.footprint_bytes);
    CHECK_EQ(emma_check(instance), EMMA_OK);
    CHECK(emma_malloc(instance, 30000) != NULL);
    emma_destroy(instance);
    return 0;
}
