/* emma-python-types.c - what objects of each type take, asked of Python while it is there: by a
 * function of its own, in Python, that the library has in it and that runs when Python has
 * started and when it ends.
 *
 * Python's functions are called as far as the program has them. Nothing here changes
 * what the program sees, but for a function more that `atexit` has, the first one,
 * so that it is called last. */
#include "emma-python-report.h"

#include <stdlib.h>
#include <string.h>

typedef struct _object PyObject;
typedef PyObject *(*py_function)(PyObject *self, PyObject *argument);
typedef struct py_method {
    const char *name;
    py_function function;
    int flags;
    const char *help;
} py_method;
#define PY_METH_NOARGS 4 /* METH_NOARGS, and Py_file_input, of the stable ABI */
#define PY_FILE_INPUT  257

#pragma weak Py_IsInitialized
#pragma weak Py_AddPendingCall
#pragma weak PyRun_StringFlags
#pragma weak PyDict_New
#pragma weak PyDict_SetItemString
#pragma weak PyDict_GetItemString
#pragma weak PyEval_GetBuiltins
#pragma weak PyCFunction_NewEx
#pragma weak PyObject_CallFunction
#pragma weak PyObject_CallMethod
#pragma weak PyImport_ImportModule
#pragma weak PyBytes_AsString
#pragma weak PyErr_Clear
#pragma weak PyErr_Occurred
#pragma weak Py_BuildValue
#pragma weak Py_DecRef
extern int Py_IsInitialized(void);
extern int Py_AddPendingCall(int (*function)(void *), void *argument);
extern PyObject *PyRun_StringFlags(const char *text, int start, PyObject *globals, PyObject *locals,
                                   void *flags);
extern PyObject *PyDict_New(void);
extern int PyDict_SetItemString(PyObject *dict, const char *key, PyObject *value);
extern PyObject *PyDict_GetItemString(PyObject *dict, const char *key);
extern PyObject *PyEval_GetBuiltins(void);
extern PyObject *PyCFunction_NewEx(py_method *method, PyObject *self, PyObject *module);
extern PyObject *PyObject_CallFunction(PyObject *callable, const char *format, ...);
extern PyObject *PyObject_CallMethod(PyObject *object, const char *name, const char *format, ...);
extern PyObject *PyImport_ImportModule(const char *name);
extern const char *PyBytes_AsString(PyObject *bytes);
extern void PyErr_Clear(void);
extern PyObject *PyErr_Occurred(void);
extern PyObject *Py_BuildValue(const char *format, ...);
extern void Py_DecRef(PyObject *object);

__asm__(".pushsection .rodata\n"
        ".globl emmai_python_types_source\n.hidden emmai_python_types_source\n"
        "emmai_python_types_source:\n.incbin \"" EMMA_PYTHON_TYPES "\"\n.byte 0\n.popsection\n");
extern const char emmai_python_types_source[] __attribute__((visibility("hidden")));

static PyObject *snapshot_function; /* never freed */
static char *types_at_start, *types_at_end;

/* Python needs memory for its answer: some for each object. */
#define ANSWER_SHARE 2 /* of the live bytes */

static bool has_room(void)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(emma_python_instance(), &stats);
    return stats.limit_bytes == EMMA_UNLIMITED ||
           stats.footprint_bytes + stats.spare_bytes + stats.live_bytes / ANSWER_SHARE <=
               stats.limit_bytes;
}

/* What Python tells now; NULL: nothing, also where the limit is near. */
static char *ask(void)
{
    if (!has_room())
        return NULL;
    PyObject *bytes = PyObject_CallFunction(snapshot_function, NULL);
    const char *text = bytes ? PyBytes_AsString(bytes) : NULL;
    char *copy = text ? strdup(text) : NULL;
    if (bytes)
        Py_DecRef(bytes);
    if (PyErr_Occurred())
        PyErr_Clear();
    return copy;
}

/* The same, and what is noted of memory is as if nobody had asked. */
static char *take_snapshot(void)
{
    emma_stats before = { .struct_bytes = sizeof before };
    emma_get_stats(emma_python_instance(), &before);
    emmai_python_watched = false;
    char *text = ask();
    emma_python_trim();
    emma_python_restart_peak(before.peak_footprint_bytes);
    return text;
}

static PyObject *take_last(PyObject *self, PyObject *nothing)
{
    (void)self, (void)nothing;
    if (emmai_python_is_to_report()) {
        emmai_python_sample_end();
        emmai_python_report_take_last();
        free(types_at_end);
        types_at_end = take_snapshot();
    }
    return Py_BuildValue("");
}

static bool make_snapshot_function(void)
{
    PyObject *names = PyDict_New();
    if (!names || PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) != 0)
        return false;
    PyObject *done =
        PyRun_StringFlags(emmai_python_types_source, PY_FILE_INPUT, names, names, NULL);
    snapshot_function =
        done ? PyDict_GetItemString(names, "snapshot") : NULL; /* names stays for good */
    return snapshot_function != NULL;
}

/* Up to 3.11, an import within importlib's own waiting for a lock takes away what that is about to
 * take away. Then the text sets `waits`. Both modules are there from Python's start on. */
static const char waits_source[] =
    "import sys, _thread\n"
    "_waits = getattr(sys.modules['_frozen_importlib'], '_blocking_on', "
    "{}).get(_thread.get_ident())\n"
    "if _waits is not None and not isinstance(_waits, list): waits = True\n";

static bool is_waiting_to_import(void)
{
    PyObject *names = PyDict_New();
    bool waits = !names || PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) != 0;
    PyObject *done =
        waits ? NULL : PyRun_StringFlags(waits_source, PY_FILE_INPUT, names, names, NULL);
    waits = !done || PyDict_GetItemString(names, "waits") != NULL;
    if (done)
        Py_DecRef(done);
    if (names)
        Py_DecRef(names);
    if (PyErr_Occurred())
        PyErr_Clear();
    return waits;
}

/* At a safe point of the main thread's, with Python's lock held. */
static int begin_types(void *nothing)
{
    static py_method method = { "emma_report_types", take_last, PY_METH_NOARGS, NULL };
    (void)nothing;
    /* As a pending call of its own it would slow down the code that runs in this one. */
    if (emmai_python_sampler())
        emmai_python_try_frames();
    if (is_waiting_to_import()) {
        emmai_python_report_ask_again();
        return 0;
    }
    PyObject *atexit_module = PyImport_ImportModule("atexit");
    PyObject *last = PyCFunction_NewEx(&method, NULL, NULL);
    if (atexit_module && last && make_snapshot_function()) {
        PyObject *done = PyObject_CallMethod(atexit_module, "register", "O", last);
        if (done)
            Py_DecRef(done);
        types_at_start = take_snapshot();
        emmai_python_watched = true;
    }
    if (PyErr_Occurred()) /* without memory for it there are no types */
        PyErr_Clear();
    return 0;
}

bool emmai_python_types_begin(void)
{
    if (!Py_IsInitialized || !Py_IsInitialized() || !Py_AddPendingCall)
        return false;
    return Py_AddPendingCall(begin_types, NULL) == 0;
}

/* ---- reading what Python told ---- */

/* The line that `*at` begins, ended by a zero; *at goes behind it. NULL: there is none. */
static char *next_line(char **at)
{
    char *line = *at, *end = line ? strchr(line, '\n') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

/* A row, "COUNT BYTES NAME". */
static bool next_row(char **at, emma_report_type *out)
{
    char *line = next_line(at), *rest;
    if (!line)
        return false;
    *out = (emma_report_type){ .count = strtoull(line, &rest, 10) };
    out->bytes = strtoull(rest, &rest, 10);
    out->name = *rest ? rest + 1 : rest;
    return true;
}

static size_t count_lines(const char *text)
{
    size_t count = 0;
    while (text && (text = strchr(text, '\n'))) {
        text++;
        count++;
    }
    return count;
}

/* Enters what a type had at the start. */
static void note_before(emma_report_type *rows, size_t count, const emma_report_type *before)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, before->name) == 0) {
            rows[i].count_before += before->count;
            rows[i].bytes_before += before->bytes;
            return;
        }
}

/* `text` and the copy of what was at the start are cut up, and stay as long as the report. */
void emmai_python_types_tell(emma_report *report, char *text)
{
    emma_report_type *rows = calloc(count_lines(text) + 1, sizeof *rows);
    if (!rows)
        return;
    report->program = next_line(&text);
    report->runtime = next_line(&text);
    report->types_note = next_line(&text);
    report->types = rows;
    while (text && next_row(&text, &rows[report->type_count]))
        report->type_count++;
    report->types_grew = types_at_start != NULL;
    char *start = types_at_start ? strdup(types_at_start) : NULL, *at = start;
    for (int skipped = 0; skipped < 3; skipped++)
        next_line(&at);
    emma_report_type before;
    while (at && next_row(&at, &before))
        note_before(rows, report->type_count, &before);
    free(start);
}

char *emmai_python_types_last(void)
{
    return types_at_end;
}
