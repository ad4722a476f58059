/* emma_module.i - the control module for CPython 3.10 and later, one build for all (the limited
 * API): what emma.i leaves to the language, and the process's own instance. */
%module(package="emma") _control

%{
#define EMMA_REFUSE(text) SWIG_exception_fail(SWIG_TypeError, text)
#include "emma_module_values.h"
#include "emma_module_calls.h"
#include "emma_process.h"
%}

%include "stdint.i"
%include "exception.i"
%include "cstring.i"

/* What types the module's functions take and give, for those who check (SWIG 4.5 and later). */
%feature("python:annotations", "typing");
%typemap(pytyping) control_results, const control_values *, PyObject * "typing.Any"
%typemap(pytyping) const control_function *,
    (emma_walk_fn visit, void *arg) "typing.Callable[..., typing.Any]"
%typemap(pytyping) (const char *text, size_t bytes) "typing.Union[str, bytes, None]"
%typemap(pytyping) size_t UNLIMITED "typing.Optional[int]"
%typemap(pytyping) uint64_t calls[ANY] "typing.List[int]"

/* ---- Objects ---- */

/* A destructor takes what it destroys away from its object, if that has it: it is not destroyed twice, nor
 * used after that. */
%typemap(in, noblock=1) SWIGTYPE * (void *argp = 0, int res = 0)
{
    res = SWIG_ConvertPtr($input, &argp, $descriptor, ($disown) ? SWIG_POINTER_RELEASE : 0);
    if (!SWIG_IsOK(res))
        SWIG_exception_fail(SWIG_ArgError(res), "in method '" "$symname" "', argument "
                            "$argnum" " of type '" "$type" "'");
    $1 = ($ltype)argp;
}

/* ---- Values and functions ---- */

%typemap(in) const control_values *arguments (control_values values = { 0 })
{
    if (!emma_values_from_tuple($input, &values, arg1))
        SWIG_fail;
    $1 = &values;
}
%typemap(in) const control_values *value (control_values values = { 0 })
{
    if (!emma_values_from_one($input, &values, false, arg1))
        SWIG_fail;
    $1 = &values;
}
%typemap(freearg) const control_values *
{
    control_arena_free(&values$argnum.arena);
}
/* Results are looked at before another thread may have the sandbox. */
%typemap(out) control_results
{
    $result = emma_results_to_python(&$1);
    if (!$result)
        SWIG_fail;
}
%typemap(in) const control_function * (control_function function)
{
    if (!emma_function_from_python($input, &function))
        SWIG_fail;
    $1 = &function;
}
/* None, for print. */
%typemap(in) const control_function *print (control_function function = { 0 })
{
    if ($input != Py_None && !emma_function_from_python($input, &function))
        SWIG_fail;
    function.call = emma_print_python;
    $1 = &function;
}
%typemap(in) (emma_walk_fn visit, void *arg)
{
    if (!PyCallable_Check($input))
        SWIG_exception_fail(SWIG_TypeError, "visit: it is not callable");
    $1 = emma_visit_python;
    $2 = $input;
}
%typemap(in) (const char *text, size_t bytes)
{
    if (!emma_text_from_python($input, (const char **)&$1, &$2))
        SWIG_fail;
}

/* ---- Names and numbers: errors name the parameter ---- */

%typemap(in) const char *
{
    if (!emma_name_from_python($input, "$1_name", (const char **)&$1))
        SWIG_fail;
}
%typemap(freearg) const char * ""
%typemap(in) size_t, unsigned, uint64_t
{
    unsigned long long number;
    if (!emma_number_from_python($input, "$1_name", ($1_type)-1, &number))
        SWIG_fail;
    $1 = ($1_type)number;
}
%typemap(in) size_t UNLIMITED
{
    if (!emma_limit_from_python($input, "$1_name", &$1))
        SWIG_fail;
}
%typemap(out) size_t UNLIMITED
{
    $result = $1 == EMMA_UNLIMITED ? Py_NewRef(Py_None) : PyLong_FromSize_t($1);
}
%typemap(out) uint64_t calls[ANY]
{
    $result = emma_counts_to_python($1, $1_dim0);
    if (!$result)
        SWIG_fail;
}

/* ---- Calls ---- */

/* Without Python's lock: a script may run long, and other threads with it. */
%define EMMA_HANDLES_BEGIN
%exception
{
    emma_call call;
    emma_call_begin(&call);
    $action
    emma_call_end(&call);
    if (!emma_call_succeeded(&call))
        SWIG_fail;
}
%enddef
/* Of those with results, the sandbox is given back where they are not looked at. */
%define EMMA_RUNS(method)
%exception method
{
    emma_call call;
    emma_call_begin(&call);
    $action
    emma_call_end(&call);
    if (!emma_call_succeeded(&call)) {
        if (result.sandbox)
            control_sandbox_done(result.sandbox);
        SWIG_fail;
    }
}
%enddef
EMMA_RUNS(control_sandbox::run)
EMMA_RUNS(control_sandbox::call)
%define EMMA_HANDLES_END
%exception;
%enddef

%include "emma.i"

/* ---- The process's own instance ---- */

%exception
{
    if (!process_is_open())
        SWIG_fail;
    $action
    if (PyErr_Occurred())
        SWIG_fail;
}
%exception process_open
{
    $action
    if (PyErr_Occurred())
        SWIG_fail;
}
%rename(Domain) emma_python_domain;
%ignore emma_python_functions_table;
typedef struct emma_python_domain {
    bool wanted;
    bool serves;
    uint64_t older_freed;
    uint64_t older_resized;
} emma_python_domain;

void process_open(const char *path);
const char *process_version(void);
enum emma_status process_start(unsigned domains);
bool process_is_served(void);
emma_stats process_stats(void);
bool process_owns(PyObject *object);
bool process_has_one_heap(void);
size_t process_trim(void);
enum emma_status process_check(void);
emma_python_domain process_look(unsigned domain);
enum emma_status process_set_limit(size_t limit_bytes, size_t spare_bytes);
size_t process_restart_peak(size_t restore_bytes);
PyObject *process_walk(void);
PyObject *process_serve_numpy(PyObject *api);
PyObject *process_report(PyObject *path, PyObject *types);
%exception;
