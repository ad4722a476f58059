/* emma_python.c - Python's three domains of memory, served from an instance;
 * emma_python.h tells the contract.
 *
 * PyMem_SetAllocator changes a domain's functions and their ctx one after the other, while other
 * threads may be calling them: so those that replace others in a running process ignore ctx, and
 * find what they need in this file. What is not of the instance is of the allocator before, which
 * emma_python_install asked for.
 *
 * A library that has ways of its own into its instance defines EMMAI_PYTHON_FAST and what is under
 * it here, and may lay other functions over these by EMMAI_PYTHON_OVER(domain, functions). */
#include "emma_python.h"

#include <string.h>

/* Python's own names for the domains. */
enum { DOMAIN_RAW, DOMAIN_MEM, DOMAIN_OBJ };

_Static_assert(EMMA_PYTHON_RAW == 1 << DOMAIN_RAW && EMMA_PYTHON_MEM == 1 << DOMAIN_MEM &&
                   EMMA_PYTHON_OBJ == 1 << DOMAIN_OBJ,
               "a domain is a bit");

/* Of Python's, where there is one in the process. */
#ifdef Py_PYTHON_H
#pragma weak PyMem_GetAllocator
#pragma weak PyMem_SetAllocator
#pragma weak Py_GetVersion
#pragma weak Py_IsInitialized
#else
extern void PyMem_GetAllocator(int domain, PyMemAllocatorEx *out) __attribute__((weak));
extern void PyMem_SetAllocator(int domain, PyMemAllocatorEx *allocator) __attribute__((weak));
extern const char *Py_GetVersion(void) __attribute__((weak));
extern int Py_IsInitialized(void) __attribute__((weak));
#endif

/* ---- with the instance as ctx ---- */

static void *with_malloc(void *instance, size_t bytes)
{
    return emma_malloc(instance, bytes);
}

static void *with_calloc(void *instance, size_t count, size_t bytes)
{
    return emma_calloc(instance, count, bytes);
}

static void *with_realloc(void *instance, void *block, size_t bytes)
{
    return emma_realloc(instance, block, bytes);
}

static void with_free(void *instance, void *block)
{
    emma_free(instance, block);
}

void emma_python_allocator(emma *instance, PyMemAllocatorEx *out)
{
    *out = (PyMemAllocatorEx){ instance, with_malloc, with_calloc, with_realloc, with_free };
}

/* ---- process-wide ---- */

/* A domain that emma serves: what served it before. Written once, before its functions are ours. */
typedef struct python_domain {
    PyMemAllocatorEx older;
    bool wanted;
    uint64_t older_freed, older_resized; /* any thread, atomic */
} python_domain;

static python_domain python_domains[EMMA_PYTHON_DOMAINS];

/* Of emma_python_install; any thread, atomic. */
static emma *python_instance;

static void python_free_older(unsigned domain, void *block)
{
    python_domain *served = &python_domains[domain];
    __atomic_fetch_add(&served->older_freed, 1, __ATOMIC_RELAXED);
    served->older.free(served->older.ctx, block);
}

static void *python_realloc_older(unsigned domain, void *block, size_t bytes)
{
    python_domain *served = &python_domains[domain];
    __atomic_fetch_add(&served->older_resized, 1, __ATOMIC_RELAXED);
    return served->older.realloc(served->older.ctx, block, bytes);
}

/* Which heap a domain's functions use: that of the calling thread, or one that belongs to whoever
 * has the interpreter's lock. */
typedef enum python_way { OF_THREAD, OF_LOCK, PYTHON_WAYS } python_way;

/* What the domains that are called with the lock held use. Written before any is served. */
static python_way python_way_locked = OF_THREAD;

#ifndef EMMAI_PYTHON_FAST

static inline void *python_malloc(python_way way, size_t bytes)
{
    (void)way;
    return emma_malloc(python_instance, bytes);
}

static inline void *python_calloc(python_way way, size_t count, size_t bytes)
{
    (void)way;
    return emma_calloc(python_instance, count, bytes);
}

static inline void *python_realloc(python_way way, unsigned domain, void *block, size_t bytes)
{
    (void)way;
    if (block && !emma_owns(python_instance, block))
        return python_realloc_older(domain, block, bytes);
    return emma_realloc(python_instance, block, bytes);
}

static inline void python_free(python_way way, unsigned domain, void *block)
{
    (void)way;
    if (!block)
        return;
    if (emma_owns(python_instance, block))
        emma_free(python_instance, block);
    else
        python_free_older(domain, block);
}

#else

/* Defined by who includes this file, as above. */
static inline void *python_malloc(python_way way, size_t bytes);
static inline void *python_calloc(python_way way, size_t count, size_t bytes);
static inline void *python_realloc(python_way way, unsigned domain, void *block, size_t bytes);
static inline void python_free(python_way way, unsigned domain, void *block);

#endif

#define WAY_FUNCTIONS(name, way)                                      \
    static void *name##_malloc(void *ctx, size_t bytes)               \
    {                                                                 \
        (void)ctx;                                                    \
        return python_malloc(way, bytes);                             \
    }                                                                 \
    static void *name##_calloc(void *ctx, size_t count, size_t bytes) \
    {                                                                 \
        (void)ctx;                                                    \
        return python_calloc(way, count, bytes);                      \
    }

WAY_FUNCTIONS(thread, OF_THREAD)
WAY_FUNCTIONS(lock, OF_LOCK)

/* The functions that know which allocator was before. */
#define DOMAIN_FUNCTIONS(name, way, domain)                           \
    static void *name##_realloc(void *ctx, void *block, size_t bytes) \
    {                                                                 \
        (void)ctx;                                                    \
        return python_realloc(way, domain, block, bytes);             \
    }                                                                 \
    static void name##_free(void *ctx, void *block)                   \
    {                                                                 \
        (void)ctx;                                                    \
        python_free(way, domain, block);                              \
    }

DOMAIN_FUNCTIONS(thread_raw, OF_THREAD, DOMAIN_RAW)
DOMAIN_FUNCTIONS(thread_mem, OF_THREAD, DOMAIN_MEM)
DOMAIN_FUNCTIONS(thread_obj, OF_THREAD, DOMAIN_OBJ)
DOMAIN_FUNCTIONS(lock_mem, OF_LOCK, DOMAIN_MEM)
DOMAIN_FUNCTIONS(lock_obj, OF_LOCK, DOMAIN_OBJ)

#ifndef EMMAI_PYTHON_OVER
#define EMMAI_PYTHON_OVER(domain, functions) (functions)
#endif

static const PyMemAllocatorEx *python_functions(int domain)
{
    static const PyMemAllocatorEx functions[PYTHON_WAYS][EMMA_PYTHON_DOMAINS] = {
        { { NULL, thread_malloc, thread_calloc, thread_raw_realloc, thread_raw_free },
          { NULL, thread_malloc, thread_calloc, thread_mem_realloc, thread_mem_free },
          { NULL, thread_malloc, thread_calloc, thread_obj_realloc, thread_obj_free } },
        { { NULL, thread_malloc, thread_calloc, thread_raw_realloc, thread_raw_free },
          { NULL, lock_malloc, lock_calloc, lock_mem_realloc, lock_mem_free },
          { NULL, lock_malloc, lock_calloc, lock_obj_realloc, lock_obj_free } },
    };
    return EMMAI_PYTHON_OVER(domain, &functions[python_way_locked][domain]);
}

static bool is_python_here(void)
{
    return PyMem_GetAllocator && PyMem_SetAllocator;
}

static bool python_is_free_threaded(void)
{
    return Py_GetVersion && strstr(Py_GetVersion(), "free-threading") != NULL;
}

static bool domain_is_served(int domain)
{
    PyMemAllocatorEx now;
    if (!is_python_here() || !python_domains[domain].wanted)
        return false;
    PyMem_GetAllocator(domain, &now);
    return now.malloc == python_functions(domain)->malloc &&
           now.free == python_functions(domain)->free;
}

/* False: it is served already. */
static bool domain_take(int domain)
{
    python_domain *served = &python_domains[domain];
    PyMemAllocatorEx functions = *python_functions(domain);
    if (domain_is_served(domain))
        return false;
    served->wanted = true;
    PyMem_GetAllocator(domain, &served->older);
    PyMem_SetAllocator(domain, &functions);
    return true;
}

/* In a running interpreter only the first time: functions that are laid over ours would be taken
 * for the allocator before. */
static bool may_install(emma *instance)
{
    emma *before = NULL;
    return __atomic_compare_exchange_n(&python_instance, &before, instance, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE) ||
           (before == instance && Py_IsInitialized && !Py_IsInitialized());
}

enum emma_status emma_python_install(emma *instance, unsigned domains)
{
    if (!instance || !domains || (domains & ~(unsigned)EMMA_PYTHON_ALL))
        return EMMA_INVALID;
    if (!is_python_here())
        return EMMA_UNSUPPORTED;
    if (!may_install(instance))
        return EMMA_BUSY;
    if (python_is_free_threaded())
        domains &= ~(unsigned)EMMA_PYTHON_OBJ;
    bool any = !domains;
    for (int domain = 0; domain < EMMA_PYTHON_DOMAINS; domain++)
        if (!python_domains[domain].wanted)
            PyMem_GetAllocator(domain, &python_domains[domain].older);
    for (int domain = 0; domain < EMMA_PYTHON_DOMAINS; domain++)
        if (domains >> domain & 1)
            any = domain_take(domain) || any;
    return any ? EMMA_OK : EMMA_BUSY;
}

void emma_python_look(unsigned domain, emma_python_domain *out)
{
    *out = (emma_python_domain){ 0 };
    for (int i = 0; i < EMMA_PYTHON_DOMAINS; i++) {
        python_domain *served = &python_domains[i];
        if (domain != 1u << i)
            continue;
        out->wanted = served->wanted;
        out->serves = domain_is_served(i);
        out->older_freed = __atomic_load_n(&served->older_freed, __ATOMIC_RELAXED);
        out->older_resized = __atomic_load_n(&served->older_resized, __ATOMIC_RELAXED);
    }
}
