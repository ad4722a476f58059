/* emma_watch.h - EMMA_VALGRIND and EMMA_ASAN: what such a tool is told of memory, in its own terms;
 * in a build for neither, nothing. Which memory is emma_watch.c's business.
 *
 * Hidden memory is nobody's: whoever touches it is reported. Valgrind sees emma do so, too, and
 * therefore is asked to look away meanwhile; AddressSanitizer sees only code that was compiled for
 * it, which emma's is not. What is out is the caller's; to Valgrind it is not initialised until it
 * was written to. */
#ifndef EMMA_WATCH_H
#define EMMA_WATCH_H

#include "emma_layout.h"

#if EMMA_VALGRIND
#include <valgrind/memcheck.h>
#define EMMAI_WATCH(valgrind, asan) valgrind
#elif EMMA_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define EMMAI_WATCH(valgrind, asan) asan
#else
#define EMMAI_WATCH(valgrind, asan) ((void)0)
#endif

/* gcc says that it instruments by the one, clang by the other. */
#if defined(__SANITIZE_ADDRESS__)
#define EMMAI_INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMMAI_INSTRUMENTED 1
#endif
#endif
#if EMMA_ASAN && defined(EMMAI_INSTRUMENTED)
#error "EMMA_ASAN: emma.c itself is to be compiled with -fno-sanitize=address"
#endif

/* ---- memory ---- */

static EMMAI_ALWAYS_INLINE void emmai_watch_hide(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
    EMMAI_WATCH((void)VALGRIND_MAKE_MEM_NOACCESS(start, bytes),
                __asan_poison_memory_region(start, bytes));
}

/* Of what is not hidden, or is emma's own from now on: it is initialised. */
static EMMAI_ALWAYS_INLINE void emmai_watch_define(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
    EMMAI_WATCH((void)VALGRIND_MAKE_MEM_DEFINED(start, bytes), (void)0);
}

/* What runs from here to the next emmai_watch_resume is emma's business. They nest. */
static EMMAI_ALWAYS_INLINE void emmai_watch_pause(void)
{
    EMMAI_WATCH(VALGRIND_DISABLE_ERROR_REPORTING, (void)0);
}

static EMMAI_ALWAYS_INLINE void emmai_watch_resume(void)
{
    EMMAI_WATCH(VALGRIND_ENABLE_ERROR_REPORTING, (void)0);
}

/* ---- blocks ---- */

static EMMAI_ALWAYS_INLINE void emmai_watch_give(const void *block, size_t bytes)
{
    (void)block, (void)bytes;
    EMMAI_WATCH(VALGRIND_MALLOCLIKE_BLOCK(block, bytes, EMMAI_RED_BYTES, 0),
                __asan_unpoison_memory_region(block, bytes));
}

static EMMAI_ALWAYS_INLINE void emmai_watch_take(const void *block, size_t bytes)
{
    (void)block, (void)bytes;
    EMMAI_WATCH(VALGRIND_FREELIKE_BLOCK(block, EMMAI_RED_BYTES),
                __asan_poison_memory_region(block, bytes));
}

/* Reports that the caller hands in an address at which it has no block. */
static EMMAI_ALWAYS_INLINE void emmai_watch_invalid(const void *address)
{
    (void)address;
    EMMAI_WATCH(VALGRIND_FREELIKE_BLOCK(address, EMMAI_RED_BYTES), (void)0);
}

/* ---- the rest ---- */

/* Before the program is ended: Valgrind tells by itself where it was. */
static EMMAI_ALWAYS_INLINE void emmai_watch_print_stack(void)
{
    EMMAI_WATCH((void)0, __sanitizer_print_stack_trace());
}

/* What may lead to blocks of other allocators; Valgrind knows. */
static EMMAI_ALWAYS_INLINE void emmai_watch_add_root(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
    EMMAI_WATCH((void)0, __lsan_register_root_region(start, bytes));
}

static EMMAI_ALWAYS_INLINE void emmai_watch_remove_root(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
    EMMAI_WATCH((void)0, __lsan_unregister_root_region(start, bytes));
}

/* Undoes emmai_watch_hide where the last byte is hidden; Valgrind does so by itself at an unmap. */
static EMMAI_ALWAYS_INLINE void emmai_watch_forget(const char *start, size_t bytes)
{
    (void)start, (void)bytes;
    EMMAI_WATCH((void)0, __asan_address_is_poisoned(start + bytes - 1)
                             ? __asan_unpoison_memory_region(start, bytes)
                             : (void)0);
}

#endif
