/* test: helper */
/* Allocates as its first argument says: a number of KiB, which it writes to and frees; goes on with a few
 * smaller blocks; then closes stderr if there is a second one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    const size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) * 1024 : 1;
    char *block = malloc(bytes);
    if (!block) {
        puts("refused");
        return 0;
    }
    memset(block, 1, bytes);
    free(block);
    static void *volatile smaller;
    for (int i = 0; i < 100; i++) {
        smaller = malloc(100000);
        free(smaller);
    }
    puts("served");
    if (argc > 2)
        fclose(stderr);
    return 0;
}
