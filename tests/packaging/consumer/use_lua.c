/* Uses the Lua adapter as Lua would, and prints the version. */
#include <stdio.h>
#include <string.h>

#include <emma_lua.h>

int main(void)
{
    emma *instance = emma_create(NULL);
    char *block = emma_lua_alloc(instance, NULL, 0, 100);
    if (block == NULL || !emma_owns(instance, block))
        return 1;
    memset(block, 1, 100);
    block = emma_lua_alloc(instance, block, 100, 2000);
    if (block == NULL || block[99] != 1 || emma_lua_alloc(instance, block, 2000, 0) != NULL)
        return 1;
    emma_destroy(instance);
    printf("emma %s\n", emma_version());
    return 0;
}
