/* emma_module.c - where the import of the control module begins: in the main interpreter only.
 * Others have objects of their own, and SWIG keeps its types once for all. */
#include <Python.h>

/* SWIG's own, under the name that the build gives it. */
PyObject *emma_module_init(void);

PyMODINIT_FUNC PyInit__emma(void);

PyMODINIT_FUNC PyInit__emma(void)
{
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0)
        return emma_module_init();
    PyErr_SetString(PyExc_ImportError,
                    "emma's control module cannot be imported in a sub-interpreter");
    return NULL;
}
