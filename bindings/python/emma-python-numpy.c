/* emma-python-numpy.c - what NumPy wants to know of an allocator for the data of arrays (NEP 49).
 *
 * The handler lives as long as the process, as arrays remember theirs. NumPy's guess of a block's
 * size at its end is not used. */
#include "emma-python.h"

#include <stdint.h>

/* NumPy's PyDataMem_Handler, version 1. */
typedef struct numpy_handler {
    char name[127];
    uint8_t version;
    void *ctx;
    void *(*malloc)(void *ctx, size_t bytes);
    void *(*calloc)(void *ctx, size_t count, size_t bytes);
    void *(*realloc)(void *ctx, void *block, size_t bytes);
    void (*free)(void *ctx, void *block, size_t bytes);
} numpy_handler;

static void *numpy_malloc(void *ctx, size_t bytes)
{
    (void)ctx;
    return emmai_python_malloc(bytes);
}

static void *numpy_calloc(void *ctx, size_t count, size_t bytes)
{
    (void)ctx;
    return emmai_python_calloc(count, bytes);
}

static void *numpy_realloc(void *ctx, void *block, size_t bytes)
{
    (void)ctx;
    return emmai_python_realloc(block, bytes);
}

static void numpy_free(void *ctx, void *block, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    emmai_python_free(block);
}

void *emma_python_numpy_handler(void)
{
    static numpy_handler handler = {
        "emma", 1, NULL, numpy_malloc, numpy_calloc, numpy_realloc, numpy_free,
    };
    return &handler;
}
