/* A host that embeds Python: several lives of the interpreter on one instance, which serves all of them; blocks
 * that a life leaves behind do no harm. With "debug", Python's own checks are laid over emma's functions. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "emma_python.h"

#include "embed_test.h"

#include <string.h>

#define LIVES 5

static const char work[] = "import json\n"
                           "kept = {i: [str(i), bytes(i % 300), {i: None}] for i in range(20000)}\n"
                           "assert json.loads(json.dumps(list(kept)))[-1] == 19999\n";

static emma *instance;

static emma_stats stats_now(void)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    return stats;
}

static void check_domains(bool served)
{
    for (unsigned domain = EMMA_PYTHON_RAW; domain <= EMMA_PYTHON_OBJ; domain <<= 1) {
        emma_python_domain look;
        emma_python_look(domain, &look);
        CHECK(look.wanted);
        CHECK(look.serves == served);
    }
}

/* What is served once stays so up to 3.11. */
static void start(bool debug, int life)
{
    PyPreConfig config;
    PyPreConfig_InitPythonConfig(&config);
    CHECK(!PyStatus_Exception(Py_PreInitialize(&config)));
    const bool is_lasting = PY_VERSION_HEX < 0x030c0000 && life > 0;
    if (!is_lasting || !debug)
        CHECK(emma_python_install(instance, EMMA_PYTHON_ALL) == (is_lasting ? EMMA_BUSY : EMMA_OK));
    CHECK(emma_python_install(instance, 1u << 3) == EMMA_INVALID);
    if (debug && !is_lasting)
        PyMem_SetupDebugHooks();
    Py_InitializeEx(0);
}

int main(int argc, char **argv)
{
    const bool debug = argc > 1 && strcmp(argv[1], "debug") == 0;
    emma_options options = EMMA_OPTIONS_INIT;
    options.flags = EMMA_SHARED;
    instance = emma_create(&options);
    CHECK(instance);
    CHECK(emma_python_install(NULL, EMMA_PYTHON_ALL) == EMMA_INVALID);
    CHECK(emma_python_install(instance, 0) == EMMA_INVALID);
    CHECK(emma_python_install(instance, 8) == EMMA_INVALID);
    for (int life = 0; life < LIVES; life++) {
        start(debug, life);
        CHECK(emma_python_install(instance, EMMA_PYTHON_ALL) == EMMA_BUSY);
        CHECK(PyRun_SimpleString(work) == 0);
        PyObject *list = PyList_New(9);
        CHECK(emma_owns(instance, list));
        Py_DECREF(list);
        CHECK(stats_now().live_blocks > 20000);
        check_domains(!debug);
        CHECK(Py_FinalizeEx() == 0);
        CHECK(emma_check(instance) == EMMA_OK);
    }
    return 0;
}
