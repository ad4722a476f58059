/* opened_copies.c - opens two libraries, uses a shared instance of each, and closes them, a thousand
 * times. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "emma.h"

enum { CYCLES = 1000, COPIES = 2 };

typedef struct copy {
    void *library;
    emma *instance;
    void (*destroy)(emma *);
} copy;

static void *find(const copy *c, const char *prefix, const char *name)
{
    char symbol[64];
    snprintf(symbol, sizeof symbol, "%semma_%s", prefix, name);
    void *found = dlsym(c->library, symbol);
    if (!found) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return found;
}

static void open_and_use(copy *c, const char *path, const char *prefix, int cycle)
{
    c->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!c->library) {
        fprintf(stderr, "cycle %d: %s\n", cycle, dlerror());
        exit(1);
    }
    emma *(*create)(const emma_options *);
    void *(*allocate)(emma *, size_t);
    *(void **)&create = find(c, prefix, "create");
    *(void **)&allocate = find(c, prefix, "malloc");
    *(void **)&c->destroy = find(c, prefix, "destroy");
    emma_options options = EMMA_OPTIONS_INIT;
    options.flags = EMMA_SHARED;
    options.limit_bytes = 1 << 20;
    c->instance = create(&options);
    if (!c->instance || !allocate(c->instance, 100)) {
        fprintf(stderr, "cycle %d: %s refuses\n", cycle, path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const char *const prefixes[COPIES] = { "one_", "two_" };
    if (argc != 1 + COPIES)
        return 2;
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        copy copies[COPIES];
        for (int i = 0; i < COPIES; i++)
            open_and_use(&copies[i], argv[1 + i], prefixes[i], cycle);
        for (int i = 0; i < COPIES; i++) {
            copy *c = &copies[cycle % 2 ? i : COPIES - 1 - i];
            c->destroy(c->instance);
            dlclose(c->library);
        }
    }
    return 0;
}
