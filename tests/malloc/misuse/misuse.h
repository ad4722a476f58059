/* misuse.h - what the misuses share: their table, and a judge of what one of them had for effect.
 *
 * A misuse tells the judge which memory is in use; what is allocated after it must not overlap
 * that, nor itself, and the bytes in use must be what they were. Nothing here allocates but the
 * judge's probes, so that a heap is as the misuse left it. */
#ifndef MISUSE_H
#define MISUSE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a misuse ends that the allocator did not stop: the exit status of the program. */
typedef enum misuse_outcome {
    MISUSE_CANNOT_RUN = 2, /* something failed that has nothing to do with the misuse */
    MISUSE_WITHOUT_EFFECT = 10,
    MISUSE_SUCCEEDED = 11,
    MISUSE_NOT_APPLICABLE = 12 /* not of this size, or not with this C library */
} misuse_outcome;

typedef misuse_outcome (*misuse_fn)(size_t bytes, size_t by);

/* One misuse. A table of them ends with one that has no name. */
typedef struct misuse_case {
    const char *name, *kind;
    misuse_fn run;
    size_t by; /* passed to it: how far it overflows, for instance */
} misuse_case;

extern const misuse_case misuse_absurd[], misuse_attack[], misuse_double[], misuse_execute[],
    misuse_invalid[], misuse_mismatch[], misuse_overflow[], misuse_read[], misuse_threads[],
    misuse_write[], misuse_zero[];

/* ---- calls that no compiler knows ---- */

extern void *(*volatile misuse_malloc)(size_t bytes);
extern void *(*volatile misuse_calloc)(size_t count, size_t bytes);
extern void *(*volatile misuse_realloc)(void *block, size_t bytes);
extern void *(*volatile misuse_aligned_alloc)(size_t alignment, size_t bytes);
extern void (*volatile misuse_free)(void *block);
extern size_t (*volatile misuse_usable)(void *block);

/* ---- the judge ---- */

/* Blocks that are looked at where a secret or a freed block is to come back: at least. */
#define MISUSE_PROBES 256

/* What a misuse writes where it should not: never a byte of what is watched. */
#define MISUSE_STRAY_BYTE 0x41

/* Ends the program when a condition fails without which there is no misuse. */
void misuse_require(bool condition);

/* Memory in use from now on: filled with a byte that must stay, or only not to be handed out. */
void misuse_watch(void *start, size_t bytes);
void misuse_guard(const void *start, size_t bytes);
/* No longer in use: what starts there. */
void misuse_forget(const void *start);
/* Whether something in use starts there: to free that is no misuse that can be told. */
bool misuse_starts(const void *start);

/* A block that is watched; its end, which is rightful. */
void *misuse_block(size_t bytes);
void misuse_release(void *block);

/* Allocates until that block comes, which was freed; false when it does not. All are watched. */
bool misuse_take_again(const void *block, size_t bytes);

/* Allocates blocks of so many bytes and compares: SUCCEEDED or WITHOUT_EFFECT. */
misuse_outcome misuse_judge(size_t bytes);
misuse_outcome misuse_if(bool succeeded);

/* Whether the bytes of something watched lie there, eight in a row. */
bool misuse_sees_watched(const void *start, size_t bytes);

/* Watched blocks, one after the other, of which that in the middle is returned. */
#define MISUSE_OTHERS 33
char *misuse_amid_others(size_t bytes);

/* Runs a function in a thread, to its end. */
void misuse_in_thread(void *(*function)(void *), void *arg);
void misuse_free_in_thread(void *block);

/* ---- words, sizes ---- */

static inline void misuse_put(void *block, size_t word, uintptr_t value)
{
    ((volatile uintptr_t *)block)[word] = value;
}

static inline uintptr_t misuse_get(const void *block, size_t word)
{
    return ((const volatile uintptr_t *)block)[word];
}

/* What the GNU C library keeps before a block of so many bytes: the size with that word itself. */
static inline size_t misuse_glibc_size(size_t bytes)
{
    const size_t rounded = (bytes + sizeof(uintptr_t) + 15) & ~(size_t)15;
    return rounded < 2 * 16 ? 2 * 16 : rounded;
}

/* Of bytes that are to be aligned: some allocators refuse other sizes. */
static inline size_t misuse_multiple(size_t bytes, size_t alignment)
{
    return (bytes + alignment - 1) / alignment * alignment;
}

#ifdef __cplusplus
}
#endif

#endif
