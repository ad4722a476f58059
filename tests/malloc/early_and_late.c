/* Allocations before and after main: of the program's preinit array, of constructors and destructors,
 * of a library linked and one opened, of exit handlers and of destructors of thread-specific keys. */
#include "malloc_test.h"
#include "early_library.h"
#include <dlfcn.h>

static void *preinit_block, *constructor_block;
static pthread_key_t key;

static void before_all(void)
{
    preinit_block = malloc(1000);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(void) = before_all;

__attribute__((constructor)) static void begin(void)
{
    constructor_block = realloc(malloc(10), 100000);
}

__attribute__((destructor)) static void end(void)
{
    free(malloc(123456));
    free(constructor_block);
}

static void at_exit(void)
{
    free(preinit_block);
    preinit_block = malloc(10);
}

static void key_ends(void *block)
{
    free(block);
    block = malloc(5000);
    static __thread int rounds;
    if (++rounds < 3)
        pthread_setspecific(key, block);
    else
        free(block);
}

static void *thread(void *arg)
{
    pthread_setspecific(key, malloc(100));
    return arg;
}

int main(void)
{
    malloc_test_serves();
    CHECK(preinit_block && constructor_block && early_block);
    free(early_block);
    atexit(at_exit);
    CHECK_EQ(pthread_key_create(&key, key_ends), 0);
    for (int i = 0; i < 20; i++) {
        pthread_t id;
        CHECK_EQ(pthread_create(&id, NULL, thread, NULL), 0);
        CHECK_EQ(pthread_join(id, NULL), 0);
    }
    for (int i = 0; i < 5; i++) {
        void *math = dlopen("libutil.so.1", RTLD_NOW), *other = dlopen("libresolv.so.2", RTLD_NOW);
        CHECK(dlopen("/no such library.so", RTLD_NOW) == NULL);
        CHECK(dlerror() != NULL);
        if (math)
            dlclose(math);
        if (other)
            dlclose(other);
    }
    return 0;
}
