/* misuse.c - misuse --list, misuse --serves, misuse CASE BYTES: one misuse of the heap, and its
 * outcome as exit status, if the allocator lets it come so far. */
#include "misuse.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

static const misuse_case *const tables[] = { misuse_double,   misuse_threads, misuse_invalid,
#ifdef MISUSE_CXX
                                             misuse_mismatch,
#endif
                                             misuse_overflow, misuse_zero,    misuse_write,
                                             misuse_read,     misuse_attack,  misuse_execute,
                                             misuse_absurd };

#define TABLE_COUNT (sizeof tables / sizeof tables[0])

static int list(void)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        for (const misuse_case *each = tables[i]; each->name; each++)
            printf("%s %s\n", each->name, each->kind);
    return 0;
}

/* The file whose malloc serves. */
static int serves(void)
{
    Dl_info info;
    void *function = dlsym(RTLD_DEFAULT, "malloc");
    if (!function || !dladdr(function, &info))
        return MISUSE_CANNOT_RUN;
    puts(info.dli_fname);
    return 0;
}

static const misuse_case *find(const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        for (const misuse_case *each = tables[i]; each->name; each++)
            if (strcmp(each->name, name) == 0)
                return each;
    return NULL;
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "--list") == 0)
        return list();
    if (count == 2 && strcmp(arguments[1], "--serves") == 0)
        return serves();
    const misuse_case *chosen = count == 3 ? find(arguments[1]) : NULL;
    const size_t bytes = chosen ? strtoull(arguments[2], NULL, 10) : 0;
    if (!bytes) {
        fputs("usage: misuse --list | --serves | CASE BYTES\n", stderr);
        return MISUSE_CANNOT_RUN;
    }
    _exit((int)chosen->run(bytes, chosen->by)); /* whatever exit handlers do is not the misuse */
}
