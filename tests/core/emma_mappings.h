/* emma_mappings.h - a process that has all the mappings that the kernel allows it: every call that
 * would make one more is refused. */
#ifndef EMMA_MAPPINGS_H
#define EMMA_MAPPINGS_H

#include "emma_test.h"

enum { MAPPINGS = 80000 }; /* above the kernel's default limit of 65,530 */
#define MAPPINGS_BYTES ((size_t)MAPPINGS * TEST_PAGE_BYTES)

/* Pages of alternating access cannot be joined: each is a mapping. Returns the MAPPINGS_BYTES taken
 * for that; for a child of mappings_in_child, which ends here where there is no such limit. */
static inline void *mappings_exhaust(void)
{
    bool refused = false;
    unsigned char *pages =
        mmap(NULL, MAPPINGS_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    for (size_t i = 0; i < MAPPINGS; i += 2)
        refused |= mprotect(pages + i * TEST_PAGE_BYTES, TEST_PAGE_BYTES, PROT_READ) != 0;
    if (!refused)
        _exit(TEST_EXIT_SKIPPED);
    return pages;
}

/* Runs `act` in a process of its own, which must end well. */
static inline void mappings_in_child(test_child_fn act)
{
    static char text[4096];
    test_need_own_maps();
    const int status = test_run_child(act, NULL, text, sizeof text);
    fputs(text, stderr);
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_EXIT_SKIPPED)
        test_skip("this kernel has no limit on mappings, or a very high one");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#endif
