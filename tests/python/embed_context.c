/* A host that gives Python an instance as ctx, with a limit: MemoryError where it ends, and the interpreter goes on. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "emma_python.h"

#include "embed_test.h"

#define LIMIT_BYTES ((size_t)64 << 20)

static const char greedy[] = "import sys\n"
                             "for turn in range(5):\n"
                             "    kept = []\n"
                             "    try:\n"
                             "        while True:\n"
                             "            kept.append(bytearray(50000 + turn))\n"
                             "    except MemoryError:\n"
                             "        del kept\n"
                             "    else:\n"
                             "        sys.exit('no MemoryError')\n"
                             "assert len([[i] for i in range(100000)]) == 100000\n";

/* The contract of each function, as Python states it. */
static void check_contract(const PyMemAllocatorEx *functions)
{
    void *ctx = functions->ctx;
    void *first = functions->malloc(ctx, 0);
    void *second = functions->calloc(ctx, 0, 9);
    CHECK(first && second && first != second);
    void *third = functions->realloc(ctx, first, 0);
    CHECK(third);
    CHECK(functions->malloc(ctx, (size_t)-1) == NULL);
    CHECK(functions->calloc(ctx, (size_t)-1, 2) == NULL);
    CHECK(functions->realloc(ctx, second, (size_t)-1) == NULL);
    functions->free(ctx, second);
    functions->free(ctx, third);
    functions->free(ctx, NULL);
    unsigned char *zeroed = functions->calloc(ctx, 300, 7);
    CHECK(zeroed && (size_t)zeroed % 16 == 0);
    for (size_t i = 0; i < 2100; i++)
        CHECK(zeroed[i] == 0);
    functions->free(ctx, zeroed);
    void *grown = functions->realloc(ctx, NULL, 100);
    CHECK(grown);
    functions->free(ctx, grown);
}

int main(void)
{
    emma_options options = EMMA_OPTIONS_INIT;
    options.flags = EMMA_SHARED;
    options.limit_bytes = LIMIT_BYTES;
    emma *instance = emma_create(&options);
    CHECK(instance);
    PyMemAllocatorEx functions;
    emma_python_allocator(instance, &functions);
    CHECK(functions.ctx == instance);
    check_contract(&functions);
    PyPreConfig config;
    PyPreConfig_InitIsolatedConfig(&config);
    CHECK(!PyStatus_Exception(Py_PreInitialize(&config)));
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &functions);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &functions);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &functions);
    Py_InitializeEx(0);
    CHECK(PyRun_SimpleString(greedy) == 0);
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    CHECK(stats.refused_count >= 5 && stats.peak_footprint_bytes <= LIMIT_BYTES);
    CHECK(Py_FinalizeEx() == 0);
    CHECK(emma_check(instance) == EMMA_OK);
    return 0;
}
