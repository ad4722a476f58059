/* sized.c - the C library's malloc for workloads that tell the size of what they free. */
#include "mix.h"

void *sized_alloc(size_t bytes)
{
    return malloc(bytes);
}

void sized_free(void *block, size_t bytes)
{
    (void)bytes;
    free(block);
}
