/* emma_module_results.h - emma's values as Python's objects. Included by the wrapper that SWIG
 * writes. All functions are called with Python's lock held, and set an exception where they
 * fail. */
#ifndef EMMA_MODULE_RESULTS_H
#define EMMA_MODULE_RESULTS_H

#include <Python.h>

#include "emma_control.h"

static PyObject *emma_value_to_python(const emma_sandbox_value *value);

static PyObject *emma_text_to_python(const char *data, size_t bytes)
{
    PyObject *text = PyUnicode_DecodeUTF8(data, (Py_ssize_t)bytes, NULL);
    if (text || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return text;
    PyErr_Clear();
    return PyBytes_FromStringAndSize(data, (Py_ssize_t)bytes);
}

static PyObject *emma_list_to_python(const emma_sandbox_value *value)
{
    const size_t count = value->as.pairs.count;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        const emma_sandbox_pair *pair = &value->as.pairs.items[i];
        PyObject *item = emma_value_to_python(&pair->value);
        if (!item || PyList_SetItem(list, (Py_ssize_t)pair->key.as.integer - 1, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *emma_dict_to_python(const emma_sandbox_value *value)
{
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < value->as.pairs.count; i++) {
        const emma_sandbox_pair *pair = &value->as.pairs.items[i];
        PyObject *key = emma_value_to_python(&pair->key);
        PyObject *item = key ? emma_value_to_python(&pair->value) : NULL;
        if (!item || PyDict_SetItem(dict, key, item) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(key);
        Py_XDECREF(item);
    }
    if (dict && (size_t)PyDict_Size(dict) < value->as.pairs.count) {
        PyErr_SetString(PyExc_ValueError,
                        "a table has keys that are the same in Python, as 1 and true are");
        Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *emma_value_to_python(const emma_sandbox_value *value)
{
    switch (value->type) {
    case EMMA_SANDBOX_BOOLEAN:
        return PyBool_FromLong(value->as.boolean);
    case EMMA_SANDBOX_INTEGER:
        return PyLong_FromLongLong(value->as.integer);
    case EMMA_SANDBOX_FLOAT:
        return PyFloat_FromDouble(value->as.number);
    case EMMA_SANDBOX_TEXT:
        return emma_text_to_python(value->as.text.data, value->as.text.bytes);
    case EMMA_SANDBOX_PAIRS:
        return control_is_list(value) ? emma_list_to_python(value) : emma_dict_to_python(value);
    default:
        return Py_NewRef(Py_None);
    }
}

static PyObject *emma_tuple_to_python(const emma_sandbox_value *items, size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *item = emma_value_to_python(&items[i]);
        if (!item || PyTuple_SetItem(tuple, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* None, the one, or a tuple of several; then the sandbox is free for others. */
static PyObject *emma_results_to_python(const control_results *results)
{
    PyObject *object;
    if (results->count == 0)
        object = Py_NewRef(Py_None);
    else if (results->count == 1)
        object = emma_value_to_python(results->items);
    else
        object = emma_tuple_to_python(results->items, results->count);
    control_sandbox_done(results->sandbox);
    return object;
}

static PyObject *emma_counts_to_python(const uint64_t *counts, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++)
        if (PyList_SetItem(list, (Py_ssize_t)i, PyLong_FromUnsignedLongLong(counts[i])) < 0)
            Py_CLEAR(list);
    return list;
}

#endif
