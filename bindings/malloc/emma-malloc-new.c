/* emma-malloc-new.c - C++'s operators new and delete, in C by the names that the compiler gives
 * them, so that no C++ library is needed where the program has none.
 *
 * A program may put its own in the place of some of them. So forms are made of others as C++ has it: array new of new,
 * a delete that is told the size of the one that is not, and so on; each may be the program's.
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

/* A form of new has a label: its family, and the alignment that it is told. Blocks do in a build with EMMA_CHECKS. */
static inline void *allocate(size_t bytes, size_t alignment, unsigned label)
{
    return EMMA_CHECKS ? emmai_malloc_allocate_labelled(alignment, bytes, label)
                       : emmai_malloc_allocate(alignment, bytes);
}

static inline void release(void *block, unsigned label)
{
    if (EMMA_CHECKS)
        emmai_malloc_free_labelled(block, label);
    else
        emmai_malloc_free(block);
}

/* The handler makes room, throws, or ends the program; without one, new throws. */
static MALLOC_NOINLINE void *new_again(size_t bytes, size_t alignment, unsigned label)
{
    void *block = NULL;
    while (!block) {
        new_handler handler = current_handler();
        if (!handler)
            throw_bad_alloc();
        handler();
        block = allocate(bytes, alignment, label);
    }
    return block;
}

static bool is_alignment(size_t alignment)
{
    return alignment && (alignment & (alignment - 1)) == 0;
}

static inline void *new_block(size_t bytes, size_t alignment, unsigned label)
{
    if (MALLOC_UNLIKELY(!is_alignment(alignment)))
        throw_bad_alloc();
    void *block = allocate(bytes, alignment, label);
    return MALLOC_LIKELY(block) ? block : new_again(bytes, alignment, label);
}

/* ---- the forms that others are made of ---- */

typedef void *new_fn(size_t bytes);
typedef void *new_aligned_fn(size_t bytes, size_t alignment);
typedef void delete_fn(void *block);
typedef void delete_aligned_fn(void *block, size_t alignment);

/* Exports the function `own` as the form `name`. own_used is the function that the program has by that name, be it
 * this one; volatile, as that is not for the compiler to know. is_own tells whether it is this one, and so are those
 * that it is made of. */
#define EXPORT_FORM(own, name, type, made_of_own)               \
    MALLOC_EXPORT type name __attribute__((weak, alias(#own))); \
    static type *const volatile own##_used = name;              \
    static inline bool is_##own(void)                           \
    {                                                           \
        return own##_used == own && (made_of_own);              \
    }

static void *own_new(size_t bytes)
{
    return new_block(bytes, 1, EMMAI_LABEL_NEW);
}

static void *own_new_aligned(size_t bytes, size_t alignment)
{
    return new_block(bytes, alignment, emmai_label(EMMAI_LABEL_NEW, alignment));
}

static void own_delete(void *block)
{
    release(block, EMMAI_LABEL_NEW);
}

static void own_delete_aligned(void *block, size_t alignment)
{
    release(block, emmai_label(EMMAI_LABEL_NEW, alignment));
}

EXPORT_FORM(own_new, _Znwm, new_fn, true)
EXPORT_FORM(own_new_aligned, _ZnwmSt11align_val_t, new_aligned_fn, true)
EXPORT_FORM(own_delete, _ZdlPv, delete_fn, true)
EXPORT_FORM(own_delete_aligned, _ZdlPvSt11align_val_t, delete_aligned_fn, true)

/* Arrays: the forms above, unless those are the ones here and blocks have labels. */

static void *own_new_array(size_t bytes)
{
    return EMMA_CHECKS && is_own_new() ? new_block(bytes, 1, EMMAI_LABEL_NEW_ARRAY)
                                       : own_new_used(bytes);
}

static void *own_new_array_aligned(size_t bytes, size_t alignment)
{
    return EMMA_CHECKS && is_own_new_aligned()
               ? new_block(bytes, alignment, emmai_label(EMMAI_LABEL_NEW_ARRAY, alignment))
               : own_new_aligned_used(bytes, alignment);
}

static void own_delete_array(void *block)
{
    if (EMMA_CHECKS && is_own_delete())
        release(block, EMMAI_LABEL_NEW_ARRAY);
    else
        own_delete_used(block);
}

static void own_delete_array_aligned(void *block, size_t alignment)
{
    if (EMMA_CHECKS && is_own_delete_aligned())
        release(block, emmai_label(EMMAI_LABEL_NEW_ARRAY, alignment));
    else
        own_delete_aligned_used(block, alignment);
}

EXPORT_FORM(own_new_array, _Znam, new_fn, is_own_new())
EXPORT_FORM(own_new_array_aligned, _ZnamSt11align_val_t, new_aligned_fn, is_own_new_aligned())
EXPORT_FORM(own_delete_array, _ZdaPv, delete_fn, is_own_delete())
EXPORT_FORM(own_delete_array_aligned, _ZdaPvSt11align_val_t, delete_aligned_fn,
            is_own_delete_aligned())

/* ---- the forms that are made of them ---- */

#define MALLOC_FORM MALLOC_EXPORT __attribute__((weak))

/* Nothrow: who the block is asked for may throw, the program's new or its handler, and C cannot catch. The C++
 * library's form can, which calls the one above. Without that library as a file the handler is not called. */
#define DEFINE_NEW_NOTHROW(name, own, family)                  \
    MALLOC_FORM void *name(size_t bytes, const void *tag);     \
    MALLOC_FORM void *name(size_t bytes, const void *tag)      \
    {                                                          \
        void *block = NULL, *(*library)(size_t, const void *); \
        if (MALLOC_LIKELY(is_##own())) {                       \
            block = allocate(bytes, 1, family);                \
            if (MALLOC_LIKELY(block) || !current_handler())    \
                return block;                                  \
        }                                                      \
        *(void **)&library = find_in_cxx_library(#name);       \
        if (library)                                           \
            return library(bytes, tag);                        \
        return is_##own() ? NULL : own##_used(bytes);          \
    }
#define DEFINE_NEW_ALIGNED_NOTHROW(name, own, family)                           \
    MALLOC_FORM void *name(size_t bytes, size_t alignment, const void *tag);    \
    MALLOC_FORM void *name(size_t bytes, size_t alignment, const void *tag)     \
    {                                                                           \
        void *block = NULL, *(*library)(size_t, size_t, const void *);          \
        if (MALLOC_UNLIKELY(!is_alignment(alignment)))                          \
            return NULL;                                                        \
        if (MALLOC_LIKELY(is_##own())) {                                        \
            block = allocate(bytes, alignment, emmai_label(family, alignment)); \
            if (MALLOC_LIKELY(block) || !current_handler())                     \
                return block;                                                   \
        }                                                                       \
        *(void **)&library = find_in_cxx_library(#name);                        \
        if (library)                                                            \
            return library(bytes, alignment, tag);                              \
        return is_##own() ? NULL : own##_used(bytes, alignment);                \
    }

DEFINE_NEW_NOTHROW(_ZnwmRKSt9nothrow_t, own_new, EMMAI_LABEL_NEW)
DEFINE_NEW_NOTHROW(_ZnamRKSt9nothrow_t, own_new_array, EMMAI_LABEL_NEW_ARRAY)
DEFINE_NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t, own_new_aligned, EMMAI_LABEL_NEW)
DEFINE_NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t, own_new_array_aligned,
                           EMMAI_LABEL_NEW_ARRAY)

/* What is told beside the block is of use where it can be compared. */
#define DEFINE_DELETE_SIZED(name, own, family)                      \
    MALLOC_FORM void name(void *block, size_t bytes);               \
    MALLOC_FORM void name(void *block, size_t bytes)                \
    {                                                               \
        if (EMMA_CHECKS && is_##own())                              \
            emmai_malloc_free_sized_labelled(block, bytes, family); \
        else                                                        \
            own##_used(block);                                      \
    }
#define DEFINE_DELETE_ALIGNED_SIZED(name, own, family)                                      \
    MALLOC_FORM void name(void *block, size_t bytes, size_t alignment);                     \
    MALLOC_FORM void name(void *block, size_t bytes, size_t alignment)                      \
    {                                                                                       \
        if (EMMA_CHECKS && is_##own())                                                      \
            emmai_malloc_free_sized_labelled(block, bytes, emmai_label(family, alignment)); \
        else                                                                                \
            own##_used(block, alignment);                                                   \
    }

DEFINE_DELETE_SIZED(_ZdlPvm, own_delete, EMMAI_LABEL_NEW)
DEFINE_DELETE_SIZED(_ZdaPvm, own_delete_array, EMMAI_LABEL_NEW_ARRAY)
DEFINE_DELETE_ALIGNED_SIZED(_ZdlPvmSt11align_val_t, own_delete_aligned, EMMAI_LABEL_NEW)
DEFINE_DELETE_ALIGNED_SIZED(_ZdaPvmSt11align_val_t, own_delete_array_aligned, EMMAI_LABEL_NEW_ARRAY)

/* The last argument is std::nothrow. */
#define DEFINE_DELETE_NOTHROW(name, own)                 \
    MALLOC_FORM void name(void *block, const void *tag); \
    MALLOC_FORM void name(void *block, const void *tag)  \
    {                                                    \
        (void)tag;                                       \
        own##_used(block);                               \
    }
#define DEFINE_DELETE_ALIGNED_NOTHROW(name, own)                           \
    MALLOC_FORM void name(void *block, size_t alignment, const void *tag); \
    MALLOC_FORM void name(void *block, size_t alignment, const void *tag)  \
    {                                                                      \
        (void)tag;                                                         \
        own##_used(block, alignment);                                      \
    }

DEFINE_DELETE_NOTHROW(_ZdlPvRKSt9nothrow_t, own_delete)
DEFINE_DELETE_NOTHROW(_ZdaPvRKSt9nothrow_t, own_delete_array)
DEFINE_DELETE_ALIGNED_NOTHROW(_ZdlPvSt11align_val_tRKSt9nothrow_t, own_delete_aligned)
DEFINE_DELETE_ALIGNED_NOTHROW(_ZdaPvSt11align_val_tRKSt9nothrow_t, own_delete_array_aligned)
