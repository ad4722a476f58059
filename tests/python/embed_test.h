/* embed_test.h - what the hosts that embed Python check with. */
#ifndef EMBED_TEST_H
#define EMBED_TEST_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(test)                                                            \
    do                                                                         \
        if (!(test)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #test); \
            exit(1);                                                           \
        }                                                                      \
    while (0)

#endif
