/* Uses the library, and prints its version. */
#include <stdio.h>
#include <string.h>

#include <emma.h>

int main(void)
{
    emma *instance = emma_create(NULL);
    char *block = emma_malloc(instance, 100);
    if (block == NULL || strcmp(emma_version(), EMMA_VERSION) != 0)
        return 1;
    memset(block, 1, 100);
    emma_free(instance, block);
    emma_destroy(instance);
    printf("emma %s\n", emma_version());
    return 0;
}
