/* The names by which the GNU C library also exports its own: what one gives the other takes. */
#include "malloc_test.h"

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void __libc_free(void *block);
void *__libc_memalign(size_t alignment, size_t bytes);
void *__libc_valloc(size_t bytes);
void *__libc_pvalloc(size_t bytes);
int __libc_mallopt(int parameter, int value);

int main(void)
{
    malloc_test_serves();
    free(__libc_malloc(100));
    free(__libc_calloc(10, 100));
    free(__libc_realloc(malloc(10), 1000));
    free(realloc(__libc_malloc(10), 1000));
    free(__libc_memalign(256, 10));
    free(__libc_valloc(10));
    free(__libc_pvalloc(10));
    __libc_free(malloc(10));
    CHECK_EQ(__libc_mallopt(M_ARENA_MAX, 1), 1);
    /* What the C library allocates for its callers. */
    free(strdup("text"));
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file != NULL);
    while (getline(&line, &size, file) > 0)
        continue;
    fclose(file);
    free(line);
    CHECK_GT(asprintf(&line, "%d %f", 42, 1e300), 300);
    free(line);
    free(realpath("/proc/self/exe", NULL));
    free(getcwd(NULL, 0));
    return 0;
}
