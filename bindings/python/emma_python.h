/* emma_python.h - emma as the allocator of CPython 3.5 and later, for a host that embeds it.
 *
 * Either with the instance at hand, for one domain or all,
 *
 *     PyMemAllocatorEx allocator;
 *     emma_python_allocator(instance, &allocator);
 *     PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &allocator);
 *
 * before Python allocates anything, or in one call at any time:
 *
 *     emma_python_install(instance, EMMA_PYTHON_ALL);
 *
 * Include Python.h first where it is used at all: this header needs nothing of it but one
 * structure, whose layout is the same in every version. The instance must be a shared one
 * (EMMA_SHARED): the domain RAW is used without the interpreter's lock, and from 3.12 on the others
 * are, too, where interpreters have locks of their own. It must live as long as the process:
 * Py_FinalizeEx leaves blocks.
 *
 * With EMMA_PREFIX, the functions bear the prefix as emma's own symbols do. */
#ifndef EMMA_PYTHON_H
#define EMMA_PYTHON_H

#include "emma.h"

#ifdef EMMA_PREFIX
#define emma_python_allocator EMMA_PASTE(EMMA_PREFIX, emma_python_allocator)
#define emma_python_install   EMMA_PASTE(EMMA_PREFIX, emma_python_install)
#define emma_python_look      EMMA_PASTE(EMMA_PREFIX, emma_python_look)
#endif

#if !defined(Py_PYTHON_H) || defined(Py_LIMITED_API)
typedef struct PyMemAllocatorEx {
    void *ctx;
    void *(*malloc)(void *ctx, size_t bytes);
    void *(*calloc)(void *ctx, size_t count, size_t bytes);
    void *(*realloc)(void *ctx, void *block, size_t bytes);
    void (*free)(void *ctx, void *block);
} PyMemAllocatorEx;
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Python's domains, or-ed: what emma_python_install is to serve. */
enum emma_python_domains {
    EMMA_PYTHON_RAW = 1,
    EMMA_PYTHON_MEM = 2,
    EMMA_PYTHON_OBJ = 4,
    EMMA_PYTHON_ALL = 7
};

#define EMMA_PYTHON_DOMAINS 3

/* How a domain is served, see emma_python_look. */
typedef struct emma_python_domain {
    bool wanted;          /* emma_python_install was asked to serve it */
    bool serves;          /* and Python still calls emma for it */
    uint64_t older_freed; /* blocks of the allocator before, given back to it so far */
    uint64_t older_resized;
} emma_python_domain;

/* Fills in functions that use `instance` as their ctx. They know nothing of an allocator before:
 * for a host that sets them before Python allocates, which is before Py_PreInitialize. No 0-byte
 * block is NULL, no block of 0 bytes is freed by a resize. Never fails. */
EMMA_API void emma_python_allocator(emma *instance, PyMemAllocatorEx *out);

/* Has Python take what the `domains` allocate from a shared instance, for the rest of the process.
 * Blocks that the allocators before have handed out go back to them, when they are freed and when
 * they are resized, so it may come at any time: in a running interpreter the caller holds its
 * lock. But not while something is laid over those allocators that will put them back, as
 * tracemalloc does when it stops. In a free-threaded build (Python 3.13t and later) OBJ must stay
 * Python's own, as its collector walks that heap: it is left out, and `wanted` of emma_python_look
 * is false. From 3.12 on, Python forgets its allocators between Py_FinalizeEx and the next
 * Py_PreInitialize: a host that starts it again calls Py_PreInitialize, then this with the same
 * instance, then Py_InitializeFromConfig. Up to 3.12 Python has the C library serve RAW for
 * moments, while interpreters begin and end, as later ones do at their own end: a host with
 * threads that allocate without the lock just then leaves RAW out, or sees to it that free() and
 * realloc() take the instance's blocks. EMMA_INVALID: no domain, an unknown one, or `instance` is
 * NULL; EMMA_BUSY: it is done, or for another instance; EMMA_UNSUPPORTED: there is no Python in
 * this process. Nothing changed then. */
EMMA_API enum emma_status emma_python_install(emma *instance, unsigned domains);

/* Tells how a domain (one of EMMA_PYTHON_RAW, _MEM, _OBJ) is served now; all
 * zero for any other value. */
EMMA_API void emma_python_look(unsigned domain, emma_python_domain *out);

#ifdef __cplusplus
}
#endif

#endif
