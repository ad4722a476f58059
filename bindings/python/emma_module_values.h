/* emma_module_values.h - Python's objects as emma's values. Included by the wrapper that SWIG
 * writes. All functions are called with Python's lock held, and set an exception where they
 * fail. */
#ifndef EMMA_MODULE_VALUES_H
#define EMMA_MODULE_VALUES_H

#include "emma_module_results.h"

/* Where values go to. */
typedef struct emma_reading {
    control_arena *arena;
    /* Texts, too: their objects may be gone when the values are used; those in containers are
     * copied in any case, as other threads can take them out. */
    bool copies;
} emma_reading;

static bool emma_value_from_python(PyObject *object, emma_reading *reading, unsigned depth,
                                   emma_sandbox_value *value);

static bool emma_no_memory(const control_arena *arena)
{
    if (control_arena_is_full(arena))
        PyErr_SetString(PyExc_ValueError, "it is more than the sandbox has memory for");
    else
        PyErr_NoMemory();
    return false;
}

static bool emma_value_from_int(PyObject *object, emma_sandbox_value *value)
{
    int overflow;
    const long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow) {
        PyErr_SetString(PyExc_OverflowError, "the integer does not fit into 64 bits");
        return false;
    }
    value->type = EMMA_SANDBOX_INTEGER;
    value->as.integer = number;
    return !(number == -1 && PyErr_Occurred());
}

/* The bytes of a str or of bytes, which belong to it; NULL: an exception is set. */
static const char *emma_text_of(PyObject *object, size_t *bytes)
{
    Py_ssize_t count = 0;
    const char *data;
    if (PyUnicode_Check(object)) {
        data = PyUnicode_AsUTF8AndSize(object, &count);
    } else {
        data = PyBytes_AsString(object);
        count = PyBytes_Size(object);
    }
    *bytes = (size_t)count;
    return data;
}

static bool emma_value_from_text(PyObject *object, emma_reading *reading, emma_sandbox_value *value)
{
    size_t bytes;
    const char *data = emma_text_of(object, &bytes);
    if (!data)
        return false;
    if (reading->copies)
        return control_set_text(reading->arena, value, data, bytes) ||
               emma_no_memory(reading->arena);
    value->type = EMMA_SANDBOX_TEXT;
    value->as.text.data = data;
    value->as.text.bytes = bytes;
    return true;
}

/* An entry of a list; what is None is left out, as Lua's tables have no such entries. */
static bool emma_value_add_item(PyObject *item, Py_ssize_t index, emma_reading *reading,
                                unsigned depth, emma_sandbox_value *list, emma_sandbox_pair *pairs)
{
    emma_sandbox_pair *pair = &pairs[list->as.pairs.count];
    pair->key.type = EMMA_SANDBOX_INTEGER;
    pair->key.as.integer = index + 1;
    if (!emma_value_from_python(item, reading, depth, &pair->value))
        return false;
    list->as.pairs.count += pair->value.type != EMMA_SANDBOX_NIL;
    return true;
}

static bool emma_value_from_list(PyObject *object, emma_reading *reading, unsigned depth,
                                 emma_sandbox_value *value)
{
    const bool is_tuple = PyTuple_Check(object);
    const Py_ssize_t count = is_tuple ? PyTuple_Size(object) : PyList_Size(object);
    emma_sandbox_pair *pairs = control_begin_pairs(reading->arena, value, (size_t)count);
    if (!pairs)
        return emma_no_memory(reading->arena);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = is_tuple ? PyTuple_GetItem(object, i) : PyList_GetItem(object, i);
        if (!item || !emma_value_add_item(item, i, reading, depth, value, pairs))
            return false;
    }
    return true;
}

/* What keys of a dict are: those of one kind that are not the same in Python are not in Lua either,
 * nor are numbers and strings; a str and bytes may be, and subclasses that compare otherwise. */
enum emma_key_kinds { EMMA_KEY_STR = 1, EMMA_KEY_BYTES = 2, EMMA_KEY_OF_SUBCLASS = 4 };

static unsigned emma_key_kind(PyObject *key)
{
    if (PyUnicode_CheckExact(key))
        return EMMA_KEY_STR;
    if (PyBytes_CheckExact(key))
        return EMMA_KEY_BYTES;
    const bool is_number = PyLong_CheckExact(key) || PyFloat_CheckExact(key) || PyBool_Check(key);
    return is_number ? 0 : EMMA_KEY_OF_SUBCLASS;
}

/* An object that is the same as another where their keys are the same in Lua. */
static PyObject *emma_key_identity(const emma_sandbox_value *key)
{
    switch (key->type) {
    case EMMA_SANDBOX_TEXT:
        return PyBytes_FromStringAndSize(key->as.text.data, (Py_ssize_t)key->as.text.bytes);
    case EMMA_SANDBOX_INTEGER:
        return PyLong_FromLongLong(key->as.integer);
    case EMMA_SANDBOX_FLOAT:
        return PyFloat_FromDouble(key->as.number);
    default: /* a bool or a table, which is like no other */
        return PyObject_CallObject((PyObject *)&PyBaseObject_Type, NULL);
    }
}

/* False: two keys are the same in Lua, where one entry would be lost; an exception is set. */
static bool emma_keys_differ(const emma_sandbox_value *table)
{
    PyObject *seen = PySet_New(NULL);
    bool good = seen != NULL;
    for (size_t i = 0; good && i < table->as.pairs.count; i++) {
        const emma_sandbox_value *key = &table->as.pairs.items[i].key;
        PyObject *identity = emma_key_identity(key);
        const int is_seen = identity ? PySet_Contains(seen, identity) : -1;
        PyObject *shown = is_seen == 1 ? emma_value_to_python(key) : NULL;
        if (shown)
            PyErr_Format(PyExc_ValueError, "two keys of a dict are the same in Lua, %R", shown);
        good = is_seen == 0 && PySet_Add(seen, identity) == 0;
        Py_XDECREF(shown);
        Py_XDECREF(identity);
    }
    Py_XDECREF(seen);
    return good;
}

static bool emma_value_from_dict(PyObject *object, emma_reading *reading, unsigned depth,
                                 emma_sandbox_value *value)
{
    const size_t room = (size_t)PyDict_Size(object);
    emma_sandbox_pair *pairs = control_begin_pairs(reading->arena, value, room);
    if (!pairs)
        return emma_no_memory(reading->arena);
    Py_ssize_t place = 0;
    PyObject *key, *item;
    unsigned kinds = 0;
    while (value->as.pairs.count < room && PyDict_Next(object, &place, &key, &item)) {
        emma_sandbox_pair *pair = &pairs[value->as.pairs.count];
        kinds |= emma_key_kind(key);
        if (key == Py_None || PyTuple_Check(key)) {
            PyErr_Format(PyExc_TypeError, "a key is %R", key);
            return false;
        }
        if (!emma_value_from_python(key, reading, depth, &pair->key) ||
            !emma_value_from_python(item, reading, depth, &pair->value))
            return false;
        value->as.pairs.count += pair->value.type != EMMA_SANDBOX_NIL;
    }
    return kinds < (EMMA_KEY_STR | EMMA_KEY_BYTES) || emma_keys_differ(value);
}

static bool emma_value_from_table(PyObject *object, emma_reading *reading, unsigned depth,
                                  emma_sandbox_value *value)
{
    if (depth == 0) {
        PyErr_Format(PyExc_ValueError, "more containers in containers than value_depth allows");
        return false;
    }
    const bool copied = reading->copies;
    reading->copies = true;
    const bool good = PyDict_Check(object)
                          ? emma_value_from_dict(object, reading, depth - 1, value)
                          : emma_value_from_list(object, reading, depth - 1, value);
    reading->copies = copied;
    return good;
}

static bool emma_value_from_python(PyObject *object, emma_reading *reading, unsigned depth,
                                   emma_sandbox_value *value)
{
    if (PyFloat_Check(object)) {
        value->type = EMMA_SANDBOX_FLOAT;
        value->as.number = PyFloat_AsDouble(object);
        return true;
    }
    if (PyBool_Check(object)) {
        value->type = EMMA_SANDBOX_BOOLEAN;
        value->as.boolean = object == Py_True;
        return true;
    }
    if (PyLong_Check(object))
        return emma_value_from_int(object, value);
    if (PyUnicode_Check(object) || PyBytes_Check(object))
        return emma_value_from_text(object, reading, value);
    if (object == Py_None) {
        value->type = EMMA_SANDBOX_NIL;
        return true;
    }
    if (PyList_Check(object) || PyTuple_Check(object) || PyDict_Check(object))
        return emma_value_from_table(object, reading, depth, value);
    PyErr_Format(PyExc_TypeError,
                 "an object of type %R cannot be handed over: only None, bool, int, float, str, "
                 "bytes, list, tuple and dict can",
                 (PyObject *)Py_TYPE(object));
    return false;
}

/* Puts "argument 2: " before the message of the exception that is set. */
static void emma_name_argument(Py_ssize_t number)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *text = value ? PyObject_Str(value) : NULL;
    if (text && PyErr_GivenExceptionMatches(type, PyExc_UnicodeError))
        type = (Py_DECREF(type), Py_NewRef(PyExc_ValueError));
    if (!text) {
        PyErr_Restore(type, value, traceback);
        return;
    }
    PyErr_Format(type, "argument %zd: %U", number, text);
    Py_DECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

static bool emma_values_from_tuple(PyObject *tuple, control_values *values,
                                   control_sandbox *sandbox)
{
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "arguments: not a tuple");
        return false;
    }
    const Py_ssize_t count = PyTuple_Size(tuple);
    const unsigned depth = control_sandbox_depth(sandbox);
    control_sandbox_bound(sandbox, &values->arena);
    values->items = control_arena_take(&values->arena, (size_t)count * sizeof *values->items);
    if (!values->items)
        return emma_no_memory(&values->arena);
    emma_reading reading = { .arena = &values->arena };
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!emma_value_from_python(PyTuple_GetItem(tuple, i), &reading, depth,
                                    &values->items[i])) {
            control_arena_free(&values->arena);
            emma_name_argument(i + 1);
            return false;
        }
    }
    values->count = (size_t)count;
    return true;
}

static bool emma_values_from_one(PyObject *object, control_values *values, bool copies,
                                 control_sandbox *sandbox)
{
    emma_reading reading = { .arena = &values->arena, .copies = copies };
    const unsigned depth = sandbox ? control_sandbox_depth(sandbox) : EMMA_SANDBOX_VALUE_DEPTH_MAX;
    control_sandbox_bound(sandbox, &values->arena);
    values->items = control_arena_take(&values->arena, sizeof *values->items);
    if (!values->items)
        return emma_no_memory(&values->arena);
    values->count = 1;
    if (emma_value_from_python(object, &reading, depth, values->items))
        return true;
    control_arena_free(&values->arena);
    return false;
}

/* The text belongs to the object. None: NULL. */
static bool emma_text_from_python(PyObject *object, const char **text, size_t *bytes)
{
    *text = NULL;
    *bytes = 0;
    if (object == Py_None)
        return true;
    if (!PyUnicode_Check(object) && !PyBytes_Check(object)) {
        PyErr_Format(PyExc_TypeError, "text: str or bytes, not %R", (PyObject *)Py_TYPE(object));
        return false;
    }
    *text = emma_text_of(object, bytes);
    return *text != NULL;
}

/* None: NULL. The text belongs to the object. */
static bool emma_name_from_python(PyObject *object, const char *parameter, const char **name)
{
    *name = NULL;
    if (object == Py_None)
        return true;
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: a str, not %R", parameter, (PyObject *)Py_TYPE(object));
        return false;
    }
    size_t bytes;
    const char *text = emma_text_of(object, &bytes);
    if (!text || strlen(text) != bytes) {
        PyErr_Format(PyExc_ValueError, "%s: %R has a null character, or is no Unicode", parameter,
                     object);
        return false;
    }
    *name = text;
    return true;
}

/* A whole number from 0 to `most`. */
static bool emma_number_from_python(PyObject *object, const char *parameter,
                                    unsigned long long most, unsigned long long *number)
{
    if (!PyLong_Check(object) || PyBool_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s: an int, not %R", parameter, (PyObject *)Py_TYPE(object));
        return false;
    }
    *number = PyLong_AsUnsignedLongLong(object);
    if (!PyErr_Occurred() && *number <= most)
        return true;
    PyErr_Format(PyExc_ValueError, "%s: %R is not from 0 to %llu", parameter, object, most);
    return false;
}

/* None: no limit. */
static bool emma_limit_from_python(PyObject *object, const char *parameter, size_t *bytes)
{
    unsigned long long number = EMMA_UNLIMITED;
    if (object != Py_None && !emma_number_from_python(object, parameter, EMMA_UNLIMITED, &number))
        return false;
    *bytes = (size_t)number;
    return true;
}

#endif
