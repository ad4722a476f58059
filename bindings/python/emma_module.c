/* emma_module.c - where the import of the control module begins: in the main interpreter only.
 * Others have objects of their own, and SWIG keeps its types once for all. */
#include <Python.h>

#include <stdbool.h>

/* SWIG's own, under the name that the build gives it. */
PyObject *emma_module_init(void);

PyMODINIT_FUNC PyInit__emma(void);

/* False: an exception is set. */
static bool is_main_interpreter(void)
{
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0)
        return true;
    PyErr_SetString(PyExc_ImportError,
                    "emma's control module cannot be imported in a sub-interpreter");
    return false;
}

static int refuse_others(PyObject *module)
{
    (void)module;
    return is_main_interpreter() ? 0 : -1;
}

/* Puts that before what SWIG does in each interpreter: from 3.13 on the others go on with what the
 * main interpreter began. */
static PyObject *with_refusal(PyModuleDef *definition)
{
    static PyModuleDef_Slot slots[8] = { { Py_mod_exec, (void *)refuse_others } };
    if (definition->m_slots == slots)
        return (PyObject *)definition;
    size_t count = 1;
    for (const PyModuleDef_Slot *slot = definition->m_slots; slot->slot; slot++) {
        if (count == sizeof slots / sizeof slots[0] - 1) {
            PyErr_SetString(PyExc_SystemError, "SWIG's module has more slots than expected");
            return NULL;
        }
        slots[count++] = *slot;
    }
    definition->m_slots = slots;
    return (PyObject *)definition;
}

PyMODINIT_FUNC PyInit__emma(void)
{
    if (!is_main_interpreter())
        return NULL;
    PyObject *begun = emma_module_init();
    /* SWIG before 4.4 makes the module at once. */
    return begun && PyObject_TypeCheck(begun, &PyModuleDef_Type)
               ? with_refusal((PyModuleDef *)begun)
               : begun;
}
