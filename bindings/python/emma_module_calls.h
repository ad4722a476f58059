/* emma_module_calls.h - what is around each call of a handle's, and Python's functions called from
 * scripts. Included by the wrapper that SWIG writes.
 *
 * A call gives Python's lock up; functions take it for their own time. An exception that one raises
 * is the script's error, and waits: if the call ends with that error, or the script could not have
 * been asked, it is raised again as it was. */
#ifndef EMMA_MODULE_CALLS_H
#define EMMA_MODULE_CALLS_H

#include "emma_module_values.h"

#define EMMA_CALL_TEXT_BYTES 512

/* A call that goes on, on its thread's stack. */
typedef struct emma_call {
    struct emma_call *outer;
    PyThreadState *thread;
    control_error error;
    control_error *error_before;
    PyObject *type, *value, *traceback; /* the exception that waits; NULL: none */
    bool insists;                       /* it is raised, however the call ends */
    char text[EMMA_CALL_TEXT_BYTES];    /* of it, as the script sees it */
} emma_call;

static _Thread_local emma_call *emma_innermost;

static void emma_call_begin(emma_call *call)
{
    call->error_before = control_begin(&call->error);
    call->outer = emma_innermost;
    call->type = call->value = call->traceback = NULL;
    call->insists = false;
    emma_innermost = call;
    call->thread = PyEval_SaveThread();
}

static void emma_call_end(emma_call *call)
{
    PyEval_RestoreThread(call->thread);
    emma_innermost = call->outer;
    control_end(call->error_before);
}

/* Around Python's own code in a call: what is the thread's is put aside, as the code may change to
 * another stack (greenlets) where calls begin and end meanwhile. */
typedef struct emma_pause {
    emma_call *call;
    control_error *error;
} emma_pause;

static emma_pause emma_pause_begin(void)
{
    const emma_pause pause = { emma_innermost, control_begin(NULL) };
    emma_innermost = NULL;
    return pause;
}

static void emma_pause_end(emma_pause pause)
{
    emma_innermost = pause.call;
    control_end(pause.error);
}

static void emma_call_drop_exception(emma_call *call)
{
    Py_CLEAR(call->type);
    Py_CLEAR(call->value);
    Py_CLEAR(call->traceback);
}

/* A str, whatever is in it: messages are cut somewhere. */
static PyObject *emma_message_to_python(const char *text, size_t bytes)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)bytes, "replace");
}

/* Raises what the record says, as emma/_errors.py makes an exception of it. */
static void emma_raise(const control_error *error, PyObject *cause)
{
    PyObject *module = PyImport_ImportModule("emma._errors");
    PyObject *message = emma_message_to_python(error->message, error->message_bytes);
    PyObject *traceback = emma_message_to_python(error->traceback, strlen(error->traceback));
    PyObject *exception =
        module && message && traceback
            ? PyObject_CallMethod(module, "make", "sOO", control_kind_text(error->kind), message,
                                  traceback)
            : NULL;
    if (exception) {
        if (cause)
            PyException_SetCause(exception, Py_NewRef(cause));
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    }
    Py_XDECREF(exception);
    Py_XDECREF(traceback);
    Py_XDECREF(message);
    Py_XDECREF(module);
}

/* False: an exception is set. */
static bool emma_call_succeeded(emma_call *call)
{
    const control_error *error = &call->error;
    if (call->type && (call->insists || control_is_text(error, call->text))) {
        PyErr_Restore(call->type, call->value, call->traceback);
        return false;
    }
    if (error->kind) {
        const bool is_cause = call->type && (error->kind != EMMA_SANDBOX_ERROR ||
                                             control_has_text(error, call->text));
        emma_raise(error, is_cause ? call->value : NULL);
    }
    emma_call_drop_exception(call);
    return !error->kind;
}

/* ---- Functions of Python's ---- */

static void emma_release_answer(emma_sandbox_answer *answer)
{
    control_arena arena = { .pieces = answer->memory };
    control_arena_free(&arena);
}

/* A text for an answer's error, where no call can hold it: a thread of a pool's own. */
static char *emma_text_of_answer(emma_sandbox_answer *answer)
{
    control_arena arena = { 0 };
    char *text = control_arena_take(&arena, EMMA_CALL_TEXT_BYTES);
    answer->memory = arena.pieces;
    answer->release = emma_release_answer;
    return text;
}

/* The exception that is set waits in the call that goes on; its text is the script's error. */
static void emma_keep_exception(bool insists, emma_sandbox_answer *answer)
{
    static const char nameless[] = "an exception";
    emma_call *call = emma_innermost;
    char *text = call ? call->text : emma_text_of_answer(answer);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    PyObject *name = PyObject_GetAttrString(type, "__name__");
    PyObject *described =
        name && PyUnicode_Check(name) ? PyUnicode_FromFormat("%U: %S", name, value) : NULL;
    Py_ssize_t bytes = 0;
    const char *utf8 = described ? PyUnicode_AsUTF8AndSize(described, &bytes) : NULL;
    if (!utf8 && name && PyUnicode_Check(name))
        utf8 = PyUnicode_AsUTF8AndSize(name, &bytes); /* its text cannot be had */
    if (text)
        control_copy_text(text, EMMA_CALL_TEXT_BYTES, utf8 ? utf8 : nameless,
                          utf8 ? (size_t)bytes : sizeof nameless - 1);
    answer->error = text ? text : "no memory for an exception";
    PyErr_Clear();
    Py_XDECREF(described);
    Py_XDECREF(name);
    if (call) {
        emma_call_drop_exception(call);
        call->type = type;
        call->value = value;
        call->traceback = traceback;
        call->insists = insists;
    } else {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
}

static bool emma_answer_from_python(PyObject *object, emma_sandbox_answer *answer)
{
    control_values values = { 0 };
    if (!emma_values_from_one(object, &values, true, NULL))
        return false;
    answer->values = values.items;
    answer->count = values.count;
    answer->memory = values.arena.pieces;
    answer->release = emma_release_answer;
    return true;
}

/* Calls what the weak reference refers to; NULL: an exception is set. */
static PyObject *emma_call_function(void *reference, const emma_sandbox_value *arguments,
                                    size_t count)
{
    PyObject *function = PyWeakref_GetObject(reference);
    if (!function || function == Py_None) {
        PyErr_SetString(PyExc_ReferenceError, "the function is gone");
        return NULL;
    }
    Py_INCREF(function);
    const emma_pause pause = emma_pause_begin();
    PyObject *tuple = emma_tuple_to_python(arguments, count);
    PyObject *result = tuple ? PyObject_CallObject(function, tuple) : NULL;
    Py_XDECREF(tuple);
    Py_DECREF(function);
    emma_pause_end(pause);
    return result;
}

/* emma_sandbox_function_fn; what is no Exception (KeyboardInterrupt) stops the script. */
static void emma_function_python(void *reference, emma_sandbox *sandbox,
                                 const emma_sandbox_value *arguments, size_t count,
                                 emma_sandbox_answer *answer)
{
    const PyGILState_STATE lock = PyGILState_Ensure();
    PyObject *result = emma_call_function(reference, arguments, count);
    if (!result || !emma_answer_from_python(result, answer)) {
        const bool insists = !PyErr_ExceptionMatches(PyExc_Exception);
        emma_keep_exception(insists, answer);
        if (insists)
            emma_sandbox_kill(sandbox);
    }
    Py_XDECREF(result);
    PyGILState_Release(lock);
}

static void emma_print_python(void *reference, emma_sandbox *sandbox,
                              const emma_sandbox_value *arguments, size_t count,
                              emma_sandbox_answer *answer)
{
    (void)sandbox;
    const PyGILState_STATE lock = PyGILState_Ensure();
    PyObject *result = emma_call_function(reference, arguments, count);
    if (!result)
        emma_keep_exception(true, answer);
    Py_XDECREF(result);
    PyGILState_Release(lock);
}

static void emma_drop_python(void *reference)
{
    const PyGILState_STATE lock = PyGILState_Ensure();
    Py_DECREF((PyObject *)reference);
    PyGILState_Release(lock);
}

/* A handle refers to functions weakly, as Python's collector does not see into it: whoever has the
 * handle has them. */
static bool emma_function_from_python(PyObject *object, control_function *function)
{
    if (!PyCallable_Check(object)) {
        PyErr_Format(PyExc_TypeError, "function: it is not callable, but %R",
                     (PyObject *)Py_TYPE(object));
        return false;
    }
    function->callable = PyWeakref_NewRef(object, NULL);
    function->call = emma_function_python;
    function->drop = emma_drop_python;
    return function->callable != NULL;
}

/* emma_walk_fn: False ends the walk, and so does an exception. */
static bool emma_visit_python(void *visit, void *block, size_t bytes)
{
    const PyGILState_STATE lock = PyGILState_Ensure();
    const emma_pause pause = emma_pause_begin();
    PyObject *result = PyObject_CallFunction(visit, "KK", (unsigned long long)(uintptr_t)block,
                                             (unsigned long long)bytes);
    emma_pause_end(pause);
    const bool goes_on = result && result != Py_False;
    Py_XDECREF(result);
    if (!result)
        emma_keep_exception(true, &(emma_sandbox_answer){ 0 });
    PyGILState_Release(lock);
    return goes_on;
}

#endif
