/* The process has all the mappings that the kernel allows it: the kernel refuses every call that
 * would make one more. Allocations are served from what there is or return NULL; nothing else
 * fails. */
#include "emma_model.h"

enum { MAPPINGS = 80000, STEPS = 40000 };

static test_maps before, after;
static model m;
static bool refused_once;

/* Pages of alternating access cannot be joined: each is a mapping. Returns the bytes taken. */
static unsigned char *exhaust(size_t *bytes)
{
    *bytes = (size_t)MAPPINGS * TEST_PAGE_BYTES;
    unsigned char *pages =
        mmap(NULL, *bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    for (size_t i = 0; i < MAPPINGS; i += 2)
        refused_once |= mprotect(pages + i * TEST_PAGE_BYTES, TEST_PAGE_BYTES, PROT_READ) != 0;
    return pages;
}

static void act(void *arg)
{
    size_t bytes;
    (void)arg;
    test_rng rng = { 8 };
    test_maps_read(&before);
    emma *instance = emma_create(NULL);
    CHECK(instance != NULL);
    model_init(&m, instance, 0, 300);
    unsigned char *pages = exhaust(&bytes);
    if (!refused_once)
        _exit(TEST_EXIT_SKIPPED);
    m.may_refuse = true;
    const size_t steps = test_steps(STEPS);
    for (size_t i = 0; i < steps; i++) {
        model_random_step(&m, &rng, 2 * TEST_MIB);
        if (i % 1000 == 0)
            emma_trim(instance);
    }
    model_verify(&m);
    emma_destroy(emma_create(NULL));
    model_free_all(&m);
    CHECK_EQ(munmap(pages, bytes), 0);
    m.may_refuse = false;
    for (size_t i = 0; i < steps; i++)
        model_random_step(&m, &rng, 2 * TEST_MIB);
    model_verify(&m);
    emma_destroy(instance);
    test_maps_read(&after);
    CHECK(test_maps_same(&before, &after));
}

int main(void)
{
    static char text[4096];
    test_need_own_maps();
    const int status = test_run_child(act, NULL, text, sizeof text);
    fputs(text, stderr);
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_EXIT_SKIPPED)
        test_skip("this kernel has no limit on mappings, or a very high one");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}
