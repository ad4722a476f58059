/* malloc_test.h - what the tests of the process-wide replacement share beside the core's. */
#ifndef MALLOC_TEST_H
#define MALLOC_TEST_H

#include "../core/emma_test.h"
#include <malloc.h>
#include <pthread.h>

/* Where a test is run without emma, it tests nothing: sizes are rounded to others there. */
static inline void malloc_test_serves(void)
{
    void *block = malloc(25);
    CHECK(block != NULL);
    CHECK_LE(malloc_usable_size(block), 32);
    free(block);
}

/* Bytes that the instance has. */
static inline size_t malloc_test_footprint(void)
{
    const struct mallinfo2 figures = mallinfo2();
    return figures.arena + figures.hblkhd;
}

/* Checks that a call fails as it should. */
#define CHECK_REFUSED(call, error)  \
    do {                            \
        errno = 0;                  \
        CHECK((call) == NULL);      \
        CHECK_EQ(errno, (error));   \
    } while (0)

#endif
