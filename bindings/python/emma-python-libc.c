/* emma-python-libc.c - blocks of Python's that go to the C library's free and realloc.
 *
 * Up to 3.12, Python puts the C library's functions in RAW's place for a moment whenever an
 * interpreter begins or ends, while other threads free and resize, since RAW needs no lock; and
 * there are extensions that free() what is of PyMem_RawMalloc, as that is one with Python's own
 * allocator. So in a process that this library is preloaded to, such blocks find their way home.
 * The library that serves all of malloc needs none of this. */
#include "emma-python.h"

#if !EMMA_PYTHON_EVERYTHING

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

typedef void free_fn(void *block);
typedef void *realloc_fn(void *block, size_t bytes);
typedef size_t usable_fn(void *block);

static free_fn first_free;
static realloc_fn first_realloc;
static usable_fn first_usable;

/* Those of the library that would serve the process otherwise; found before main, or by the first
 * call. Any thread, atomic. */
static free_fn *next_free = first_free;
static realloc_fn *next_realloc = first_realloc;
static usable_fn *next_usable = first_usable;

/* The search itself may free: what, and whose, is not known then, so that it stays. */
static __thread bool is_finding __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void find_next(void)
{
    is_finding = true;
    __atomic_store_n(&next_free, (free_fn *)dlsym(RTLD_NEXT, "free"), __ATOMIC_RELAXED);
    __atomic_store_n(&next_realloc, (realloc_fn *)dlsym(RTLD_NEXT, "realloc"), __ATOMIC_RELAXED);
    __atomic_store_n(&next_usable, (usable_fn *)dlsym(RTLD_NEXT, "malloc_usable_size"),
                     __ATOMIC_RELAXED);
    is_finding = false;
}

static void first_free(void *block)
{
    if (is_finding)
        return;
    find_next();
    next_free(block);
}

static void *first_realloc(void *block, size_t bytes)
{
    if (is_finding)
        return block ? NULL : malloc(bytes);
    find_next();
    return next_realloc(block, bytes);
}

static size_t first_usable(void *block)
{
    if (is_finding)
        return 0;
    find_next();
    return next_usable(block);
}

static inline bool is_of_python(const void *block)
{
    const emma *instance = malloc_instance_if_made();
    return instance && emma_owns(instance, block);
}

EMMA_API void free(void *block)
{
    if (MALLOC_UNLIKELY(is_of_python(block)))
        emmai_python_free(block);
    else
        __atomic_load_n(&next_free, __ATOMIC_RELAXED)(block);
}

/* As in the GNU C library, 0 bytes free the block and return NULL. */
EMMA_API void *realloc(void *block, size_t bytes)
{
    if (MALLOC_LIKELY(!is_of_python(block)))
        return __atomic_load_n(&next_realloc, __ATOMIC_RELAXED)(block, bytes);
    if (!bytes) {
        emmai_python_free(block);
        return NULL;
    }
    void *target = emmai_python_realloc(block, bytes);
    if (!target)
        errno = ENOMEM;
    return target;
}

EMMA_API size_t malloc_usable_size(void *block)
{
    if (is_of_python(block))
        return emma_usable_size(malloc_instance_if_made(), block);
    return __atomic_load_n(&next_usable, __ATOMIC_RELAXED)(block);
}

#endif
