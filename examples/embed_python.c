/* embed_python.c - a CPython whose objects, strings and buffers live in an emma instance that is capped at
 * 64 MiB. A script that wants more gets MemoryError; the host catches it and goes on with the same interpreter.
 *
 * Build, in the project's top folder (any CPython from 3.8 on):
 *     cc -O2 -Icore -Ibindings/python $(python3-config --cflags --embed) examples/embed_python.c \
 *         bindings/python/emma_python.c core/emma.c $(python3-config --ldflags --embed) -o embed_python
 *
 * Expected output:
 *     modest script: 5050
 *     greedy script: MemoryError
 *     modest script: 5050
 *     limit: 67108864 bytes, never exceeded: yes
 *     requests refused: yes
 *     after a collection the greedy script's memory is free again: yes
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "emma_python.h"

#include <stdio.h>

#define LIMIT_BYTES ((size_t)64 * 1024 * 1024)

/* What a script may leave behind: caches, interned strings. */
#define SLACK_BYTES ((size_t)4 * 1024 * 1024)

static const char modest_script[] = "result = str(sum(range(101)))\n";

static const char greedy_script[] = "hoard = []\n"
                                    "while True:\n"
                                    "    hoard.append('x' * 1000 + str(len(hoard)))\n";

static void show_error(const char *title)
{
    printf("%s: %s\n", title,
           PyErr_ExceptionMatches(PyExc_MemoryError) ? "MemoryError" : "another error");
    PyErr_Clear();
}

/* Runs a script in a namespace of its own and shows its `result`, or the error. */
static void run(const char *title, const char *script)
{
    PyObject *names = Py_BuildValue("{s:O}", "__builtins__", PyEval_GetBuiltins());
    PyObject *done = names ? PyRun_String(script, Py_file_input, names, names) : NULL;
    PyObject *result = done ? PyDict_GetItemString(names, "result") : NULL;
    if (result)
        printf("%s: %s\n", title, PyUnicode_AsUTF8(result));
    else
        show_error(title);
    Py_XDECREF(done);
    Py_XDECREF(names);
}

static emma_stats stats_after_collection(emma *instance)
{
    PyGC_Collect();
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    return stats;
}

static const char *yes_or_no(bool yes)
{
    return yes ? "yes" : "no";
}

/* Before Python has allocated anything, so that all of it is served. */
static bool start_python(emma *instance)
{
    PyMemAllocatorEx allocator;
    emma_python_allocator(instance, &allocator);
    PyPreConfig config;
    PyPreConfig_InitIsolatedConfig(&config);
    if (PyStatus_Exception(Py_PreInitialize(&config)))
        return false;
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &allocator);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &allocator);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &allocator);
    Py_InitializeEx(0);
    return true;
}

int main(void)
{
    emma_options options = EMMA_OPTIONS_INIT;
    options.name = "python";
    options.flags = EMMA_SHARED; /* Python's own threads allocate, too */
    options.limit_bytes = LIMIT_BYTES;
    emma *instance = emma_create(&options);
    if (!instance || !start_python(instance)) {
        fputs("embed_python: no memory for Python\n", stderr);
        return 1;
    }
    run("modest script", modest_script);
    emma_stats before = stats_after_collection(instance);
    run("greedy script", greedy_script);
    run("modest script", modest_script);
    emma_stats after = stats_after_collection(instance);
    printf("limit: %zu bytes, never exceeded: %s\n", after.limit_bytes,
           yes_or_no(after.peak_footprint_bytes <= LIMIT_BYTES));
    printf("requests refused: %s\n", yes_or_no(after.refused_count > 0));
    printf("after a collection the greedy script's memory is free again: %s\n",
           yes_or_no(after.live_bytes < before.live_bytes + SLACK_BYTES));
    /* Python leaves blocks behind when it is finalized; the instance is not destroyed before the process ends. */
    return Py_FinalizeEx() < 0;
}
