/* A C program opens a C++ library for itself alone: operator new finds the C++ library that came with it,
 * and throws. */
#include "malloc_test.h"
#include <dlfcn.h>

int main(int argc, char **argv)
{
    malloc_test_serves();
    CHECK_EQ(argc, 2);
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(plugin != NULL);
    int (*run)(void);
    *(void **)&run = dlsym(plugin, "plugin_run");
    CHECK(run != NULL);
    CHECK_EQ(run(), 3);
    dlclose(plugin);
    return 0;
}
