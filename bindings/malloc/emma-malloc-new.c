/* emma-malloc-new.c - C++'s operators new and delete, in C by the names that the compiler gives them.
 *
 * A program may put its own in the place of some of them. So forms are made of others as C++ has it: array new of new,
 * a delete that is told the size of the one that is not, and so on; each may be the program's. The forms of new that do not
 * throw are left to the C++ library, which makes them of those here: to catch what they throw is its business.
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

static inline void *allocate(size_t bytes, size_t alignment, unsigned label)
{
    return EMMA_CHECKS ? emmai_malloc_allocate_labelled(alignment, bytes, label)
                       : emmai_malloc_allocate(alignment, bytes);
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

/* Exports the function `own` as the form `name`. used_##own is what the program has by that name, be it this one, as the
 * loader found it. */
#define EXPORT_FORM(type, own, name)                            \
    static type own;                                            \
    MALLOC_EXPORT type name __attribute__((weak, alias(#own))); \
    static type *const used_##own = name;

/* Through which it is called: that it may be another function is not for the compiler to know. */
#define USED(own) (*(__typeof__(used_##own) const volatile *)&used_##own)

EXPORT_FORM(new_fn, own_new, _Znwm)
EXPORT_FORM(new_fn, own_new_array, _Znam)
EXPORT_FORM(delete_fn, own_delete, _ZdlPv)
EXPORT_FORM(delete_fn, own_delete_array, _ZdaPv)
EXPORT_FORM(new_aligned_fn, own_new_aligned, _ZnwmSt11align_val_t)
EXPORT_FORM(new_aligned_fn, own_new_array_aligned, _ZnamSt11align_val_t)
EXPORT_FORM(delete_aligned_fn, own_delete_aligned, _ZdlPvSt11align_val_t)
EXPORT_FORM(delete_aligned_fn, own_delete_array_aligned, _ZdaPvSt11align_val_t)

/* Whether blocks of new are to be told from those of malloc, and so on. Not where the program has one of these forms: then
 * that may give out blocks of another, or take them. Of a program that is not position-independent and takes a form's
 * address, the loader tells as if it had it. */
static bool has_families(void)
{
    return EMMA_CHECKS && USED(own_new) == own_new && USED(own_new_array) == own_new_array &&
           USED(own_delete) == own_delete && USED(own_delete_array) == own_delete_array &&
           USED(own_new_aligned) == own_new_aligned &&
           USED(own_new_array_aligned) == own_new_array_aligned &&
           USED(own_delete_aligned) == own_delete_aligned &&
           USED(own_delete_array_aligned) == own_delete_array_aligned;
}

static inline unsigned new_family(void)
{
    return has_families() ? EMMAI_LABEL_NEW : EMMAI_LABEL_PLAIN;
}

static void *own_new(size_t bytes)
{
    return new_block(bytes, 1, new_family());
}

static void *own_new_aligned(size_t bytes, size_t alignment)
{
    return new_block(bytes, alignment, emmai_label(new_family(), alignment));
}

static void *own_new_array(size_t bytes)
{
    return has_families() ? new_block(bytes, 1, EMMAI_LABEL_NEW_ARRAY) : USED(own_new)(bytes);
}

static void *own_new_array_aligned(size_t bytes, size_t alignment)
{
    return has_families()
               ? new_block(bytes, alignment, emmai_label(EMMAI_LABEL_NEW_ARRAY, alignment))
               : USED(own_new_aligned)(bytes, alignment);
}

static void own_delete(void *block)
{
    if (has_families())
        emmai_malloc_free_labelled(block, EMMAI_LABEL_NEW);
    else
        emmai_malloc_free(block);
}

static void own_delete_aligned(void *block, size_t alignment)
{
    if (has_families())
        emmai_malloc_free_labelled(block, emmai_label(EMMAI_LABEL_NEW, alignment));
    else
        emmai_malloc_free(block);
}

static void own_delete_array(void *block)
{
    if (has_families())
        emmai_malloc_free_labelled(block, EMMAI_LABEL_NEW_ARRAY);
    else
        USED(own_delete)(block);
}

static void own_delete_array_aligned(void *block, size_t alignment)
{
    if (has_families())
        emmai_malloc_free_labelled(block, emmai_label(EMMAI_LABEL_NEW_ARRAY, alignment));
    else
        USED(own_delete_aligned)(block, alignment);
}

/* ---- the forms that are made of them ---- */

#define MALLOC_FORM MALLOC_EXPORT __attribute__((weak))

/* The size is of use where it can be compared. */
#define DEFINE_DELETE_SIZED(name, own, family)                      \
    MALLOC_FORM void name(void *block, size_t bytes);               \
    MALLOC_FORM void name(void *block, size_t bytes)                \
    {                                                               \
        if (has_families())                                         \
            emmai_malloc_free_sized_labelled(block, bytes, family); \
        else                                                        \
            USED(own)(block);                                       \
    }
#define DEFINE_DELETE_ALIGNED_SIZED(name, own, family)                                      \
    MALLOC_FORM void name(void *block, size_t bytes, size_t alignment);                     \
    MALLOC_FORM void name(void *block, size_t bytes, size_t alignment)                      \
    {                                                                                       \
        if (has_families())                                                                 \
            emmai_malloc_free_sized_labelled(block, bytes, emmai_label(family, alignment)); \
        else                                                                                \
            USED(own)(block, alignment);                                                    \
    }

DEFINE_DELETE_SIZED(_ZdlPvm, own_delete, EMMAI_LABEL_NEW)
DEFINE_DELETE_SIZED(_ZdaPvm, own_delete_array, EMMAI_LABEL_NEW_ARRAY)
DEFINE_DELETE_ALIGNED_SIZED(_ZdlPvmSt11align_val_t, own_delete_aligned, EMMAI_LABEL_NEW)
DEFINE_DELETE_ALIGNED_SIZED(_ZdaPvmSt11align_val_t, own_delete_array_aligned, EMMAI_LABEL_NEW_ARRAY)
