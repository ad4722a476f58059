/* emma-malloc-new.c - C++'s operators new and delete, in C by the names that the compiler gives
 * them, so that no C++ library is needed where the program has none.
 *
 * Out of memory, new has to call the program's handler and to throw: both are the C++ library's,
 * which is looked for then. The frames here need unwind tables: compile with -fexceptions. */
#include "emma-malloc.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

typedef void (*new_handler)(void);

/* std::get_new_handler() and std::__throw_bad_alloc(), where the program
 * itself is linked with them. */
extern new_handler _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));

/* Not there in programs that are linked statically; nor is the C++ library as a file then. */
#pragma weak dlopen
#pragma weak dlsym

/* Finds a function in the C++ library that a plug-in brought along. */
static void *find_in_cxx_library(const char *name)
{
    static const char *const libraries[] = { "libstdc++.so.6", "libc++.so.1" };
    if (!dlopen || !dlsym)
        return NULL;
    void *found = NULL;
    for (size_t i = 0; !found && i < sizeof libraries / sizeof libraries[0]; i++) {
        void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);
        if (library)
            found = dlsym(library, name);
        /* Left open: it must not go away while an exception of its passes. */
    }
    return found;
}

static new_handler current_handler(void)
{
    new_handler (*get)(void) = _ZSt15get_new_handlerv;
    if (!get)
        *(void **)&get = find_in_cxx_library("_ZSt15get_new_handlerv");
    return get ? get() : NULL;
}

static _Noreturn void throw_bad_alloc(void)
{
    void (*throw)(void) = _ZSt17__throw_bad_allocv;
    if (!throw)
        *(void **)&throw = find_in_cxx_library("_ZSt17__throw_bad_allocv");
    if (throw)
        throw();
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text, "no memory for operator new, and no C++ library to tell\n");
    emmai_malloc_text_write(&text, STDERR_FILENO);
    abort();
}

/* The handler makes room, throws, or ends the program; without one, new throws. */
static MALLOC_NOINLINE void *new_again(size_t bytes, size_t alignment)
{
    void *block = NULL;
    while (!block) {
        new_handler handler = current_handler();
        if (!handler)
            throw_bad_alloc();
        handler();
        block = emmai_malloc_allocate(alignment, bytes);
    }
    return block;
}

static bool is_alignment(size_t alignment)
{
    return alignment && (alignment & (alignment - 1)) == 0;
}

static inline void *new_block(size_t bytes, size_t alignment)
{
    if (MALLOC_UNLIKELY(!is_alignment(alignment)))
        throw_bad_alloc();
    void *block = emmai_malloc_allocate(alignment, bytes);
    return MALLOC_LIKELY(block) ? block : new_again(bytes, alignment);
}

/* ---- nothrow ---- */

/* The handler may throw, and C cannot catch: the C++ library's own operator can, which calls the
 * one above inside. Without that library as a file the handler is not called. */
static MALLOC_NOINLINE void *nothrow_again(size_t bytes, size_t alignment, const void *tag)
{
    if (!current_handler())
        return NULL;
    if (alignment <= MALLOC_ALIGNMENT) {
        void *(*plain)(size_t, const void *);
        *(void **)&plain = find_in_cxx_library("_ZnwmRKSt9nothrow_t");
        return plain ? plain(bytes, tag) : NULL;
    }
    void *(*aligned)(size_t, size_t, const void *);
    *(void **)&aligned = find_in_cxx_library("_ZnwmSt11align_val_tRKSt9nothrow_t");
    return aligned ? aligned(bytes, alignment, tag) : NULL;
}

static inline void *nothrow_block(size_t bytes, size_t alignment, const void *tag)
{
    if (MALLOC_UNLIKELY(!is_alignment(alignment)))
        return NULL;
    void *block = emmai_malloc_allocate(alignment, bytes);
    return MALLOC_LIKELY(block) ? block : nothrow_again(bytes, alignment, tag);
}

/* ---- the operators ---- */

/* Forms of new: plain, array; then with an alignment, nothrow, both. `tag` is std::nothrow. */
#define DEFINE_NEW(name)                    \
    MALLOC_EXPORT void *name(size_t bytes); \
    MALLOC_EXPORT void *name(size_t bytes)  \
    {                                       \
        return new_block(bytes, 1);         \
    }
#define DEFINE_NEW_ALIGNED(name)                              \
    MALLOC_EXPORT void *name(size_t bytes, size_t alignment); \
    MALLOC_EXPORT void *name(size_t bytes, size_t alignment)  \
    {                                                         \
        return new_block(bytes, alignment);                   \
    }
#define DEFINE_NEW_NOTHROW(name)                             \
    MALLOC_EXPORT void *name(size_t bytes, const void *tag); \
    MALLOC_EXPORT void *name(size_t bytes, const void *tag)  \
    {                                                        \
        return nothrow_block(bytes, 1, tag);                 \
    }
#define DEFINE_NEW_ALIGNED_NOTHROW(name)                                       \
    MALLOC_EXPORT void *name(size_t bytes, size_t alignment, const void *tag); \
    MALLOC_EXPORT void *name(size_t bytes, size_t alignment, const void *tag)  \
    {                                                                          \
        return nothrow_block(bytes, alignment, tag);                           \
    }

DEFINE_NEW(_Znwm)
DEFINE_NEW(_Znam)
DEFINE_NEW_ALIGNED(_ZnwmSt11align_val_t)
DEFINE_NEW_ALIGNED(_ZnamSt11align_val_t)
DEFINE_NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
DEFINE_NEW_NOTHROW(_ZnamRKSt9nothrow_t)
DEFINE_NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
DEFINE_NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)

/* Forms of delete: they differ in what they are told beside the block. */
#define DEFINE_DELETE(name)               \
    MALLOC_EXPORT void name(void *block); \
    MALLOC_EXPORT void name(void *block)  \
    {                                     \
        emmai_malloc_free(block);         \
    }
#define DEFINE_DELETE_SIZED(name)                       \
    MALLOC_EXPORT void name(void *block, size_t bytes); \
    MALLOC_EXPORT void name(void *block, size_t bytes)  \
    {                                                   \
        emmai_malloc_free_sized(block, bytes);          \
    }

#define DEFINE_DELETE_ALIGNED(name)                         \
    MALLOC_EXPORT void name(void *block, size_t alignment); \
    MALLOC_EXPORT void name(void *block, size_t alignment)  \
    {                                                       \
        emmai_malloc_free_aligned(block, alignment);        \
    }
#define DEFINE_DELETE_ALIGNED_SIZED(name)                                 \
    MALLOC_EXPORT void name(void *block, size_t bytes, size_t alignment); \
    MALLOC_EXPORT void name(void *block, size_t bytes, size_t alignment)  \
    {                                                                     \
        emmai_malloc_free_aligned_sized(block, alignment, bytes);         \
    }

DEFINE_DELETE(_ZdlPv)
DEFINE_DELETE(_ZdaPv)
DEFINE_DELETE_SIZED(_ZdlPvm)
DEFINE_DELETE_SIZED(_ZdaPvm)
DEFINE_DELETE_ALIGNED(_ZdlPvSt11align_val_t)
DEFINE_DELETE_ALIGNED(_ZdaPvSt11align_val_t)
DEFINE_DELETE_ALIGNED_SIZED(_ZdlPvmSt11align_val_t)
DEFINE_DELETE_ALIGNED_SIZED(_ZdaPvmSt11align_val_t)

/* The last argument is std::nothrow. */
void _ZdlPvRKSt9nothrow_t(void *block) MALLOC_ALIAS(_ZdlPv);
void _ZdaPvRKSt9nothrow_t(void *block) MALLOC_ALIAS(_ZdaPv);
void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment)
    MALLOC_ALIAS(_ZdlPvSt11align_val_t);
void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment)
    MALLOC_ALIAS(_ZdaPvSt11align_val_t);
