/* The library of early_and_late.c. It is linked with libc alone, so that its constructor may run before
 * any other's. */
#include "early_library.h"
#include <stdlib.h>
#include <string.h>

void *early_block;
static char *kept[64];

__attribute__((constructor)) static void begin(void)
{
    early_block = malloc(100);
    for (size_t i = 0; i < 64; i++) {
        kept[i] = calloc(1, 1000 * i + 1);
        memset(kept[i], 1, 1000 * i + 1);
    }
}

/* After main, and after the program's own destructors. */
__attribute__((destructor)) static void end(void)
{
    for (size_t i = 0; i < 64; i++)
        free(kept[i]);
    for (size_t i = 0; i < 1000; i++)
        free(malloc(i * 10));
}
