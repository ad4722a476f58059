/* A shared library with a copy of emma that nobody outside it sees. */
#include <stdio.h>

#include <emma.h>

int plugin_run(void);

int plugin_run(void)
{
    emma *instance = emma_create(NULL);
    void *block = emma_malloc(instance, 100);
    int status = block != NULL && emma_owns(instance, block) ? 0 : 1;
    emma_destroy(instance);
    printf("emma %s\n", emma_version());
    return status;
}
