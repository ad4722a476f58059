/* emma_process.h - the instance that serves this Python process, as libemma-python.so has it: the
 * library that was preloaded, or else the package's own. Included by the wrapper that SWIG writes;
 * called with Python's lock held. */
#ifndef EMMA_PROCESS_H
#define EMMA_PROCESS_H

#include <dlfcn.h>

#include "emma-python.h"

static const emma_python_functions_table *emma_process; /* NULL: not found yet */

static bool process_is_open(void)
{
    if (!emma_process)
        PyErr_SetString(PyExc_RuntimeError, "emma's library has not been opened");
    return emma_process != NULL;
}

/* Finds the library; ImportError where it is not, or of another version. */
static void process_open(const char *path)
{
    static const char table[] = "emma_python_functions";
    const emma_python_functions_table *found = dlsym(RTLD_DEFAULT, table);
    void *library = found ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library)
        found = dlsym(library, table);
    if (!found)
        PyErr_Format(PyExc_ImportError, "emma's library cannot be loaded: %s", dlerror());
    else if (found->struct_bytes != sizeof *found)
        PyErr_Format(PyExc_ImportError, "emma's library in this process is of another version, %s",
                     found->version());
    else
        emma_process = found;
}

static const char *process_version(void)
{
    return emma_process->version();
}

static enum emma_status process_start(unsigned domains)
{
    return emma_process->start(domains);
}

static bool process_is_served(void)
{
    return emma_process->instance() != NULL;
}

static emma_stats process_stats(void)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    if (emma_process->instance())
        emma_process->get_stats(emma_process->instance(), &stats);
    return stats;
}

static bool process_owns(PyObject *object)
{
    return emma_process->instance() && emma_process->owns(emma_process->instance(), object);
}

static bool process_has_one_heap(void)
{
    return emma_process->has_one_heap();
}

static size_t process_trim(void)
{
    return emma_process->trim();
}

static enum emma_status process_check(void)
{
    return emma_process->check();
}

static emma_python_domain process_look(unsigned domain)
{
    emma_python_domain look;
    emma_process->look(domain, &look);
    return look;
}

static enum emma_status process_set_limit(size_t limit_bytes, size_t spare_bytes)
{
    return emma_process->set_limit(limit_bytes, spare_bytes);
}

static size_t process_restart_peak(size_t restore_bytes)
{
    return emma_process->restart_peak(restore_bytes);
}

/* Blocks that may come to be between the count and the list of them. */
#define PROCESS_WALK_SLACK 4096

static PyObject *process_pairs(const emma_python_block *blocks, size_t count)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < count; i++) {
        if (blocks[i].address == blocks)
            continue; /* where malloc is served, too */
        PyObject *pair = Py_BuildValue("KK", (unsigned long long)(uintptr_t)blocks[i].address,
                                       (unsigned long long)blocks[i].bytes);
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

/* A list of (address, bytes); None: other threads have heaps. */
static PyObject *process_walk(void)
{
    const size_t room = process_stats().live_blocks + PROCESS_WALK_SLACK;
    emma_python_block *blocks = malloc(room * sizeof *blocks);
    if (!blocks)
        return PyErr_NoMemory();
    const size_t count = emma_process->list_blocks(blocks, room);
    PyObject *pairs =
        count == SIZE_MAX ? Py_NewRef(Py_None) : process_pairs(blocks, count < room ? count : room);
    free(blocks);
    return pairs;
}

#define PROCESS_WHY_BYTES 512

static void *process_give_up_lock(void)
{
    return PyEval_SaveThread();
}

static void process_take_lock(void *state)
{
    PyEval_RestoreThread(state);
}

static const emma_python_lock process_lock = { process_give_up_lock, process_take_lock };

/* Writes a report with `types`, which are bytes; or with None only tells whether one could be
 * written. A tuple of emma_python_report's number and the reason, as bytes. */
static PyObject *process_report(PyObject *path, PyObject *types)
{
    char *name, *figures = NULL, why[PROCESS_WHY_BYTES] = "";
    if (PyBytes_AsStringAndSize(path, &name, NULL) < 0 ||
        (types != Py_None && PyBytes_AsStringAndSize(types, &figures, NULL) < 0))
        return NULL;
    const int error = figures ? emma_process->report(name, figures, &process_lock, why, sizeof why)
                              : emma_process->report_check(name, why, sizeof why);
    return Py_BuildValue("iy", error, why);
}

/* Of NumPy's table of functions for C: NEP 49, NumPy 1.22 and later. */
#define NUMPY_SET_HANDLER 304

/* Sets the handler of arrays' data, by NumPy's table `api`; returns the one of before. */
static PyObject *process_serve_numpy(PyObject *api)
{
    PyObject *(**functions)(PyObject *) = PyCapsule_GetPointer(api, NULL);
    PyObject *handler =
        functions ? PyCapsule_New(emma_process->numpy_handler(), "mem_handler", NULL) : NULL;
    PyObject *before = handler ? functions[NUMPY_SET_HANDLER](handler) : NULL;
    Py_XDECREF(handler);
    return before;
}

#endif
