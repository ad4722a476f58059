/* emma-malloc.h - what the files of the process-wide replacement offer each other.
 *
 * One shared instance serves the whole process. It is made by the first call that needs it,
 * which may be before any constructor has run, and never destroyed. So whatever may run then
 * calls nothing of the C library that could allocate: plain system calls, and functions that
 * work on what they are given. */
#ifndef EMMA_MALLOC_H
#define EMMA_MALLOC_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "emma.h"

#include "../../core/emma_config.h"
#include "../../core/emma_label.h"

/* Whether these files are compiled into the library for Python, which has
 * options and figures of its own. */
#ifndef EMMA_PYTHON
#define EMMA_PYTHON 0
#endif

/* The name that messages bear where the user gives none. */
#if EMMA_PYTHON
#define MALLOC_NAME "python"
#else
#define MALLOC_NAME "malloc"
#endif

/* The functions that take the place of the C library's. */
#ifndef MALLOC_EXPORT
#define MALLOC_EXPORT __attribute__((visibility("default")))
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define MALLOC_ALIAS(name) __attribute__((visibility("default"), alias(#name), copy(name)))
#else
#define MALLOC_ALIAS(name) __attribute__((visibility("default"), alias(#name)))
#endif
#define MALLOC_NOINLINE       __attribute__((noinline))
#define MALLOC_LIKELY(test)   __builtin_expect(!!(test), 1)
#define MALLOC_UNLIKELY(test) __builtin_expect(!!(test), 0)

/* What malloc aligns to; an alignment up to this needs no care. */
#define MALLOC_ALIGNMENT ((size_t)16)

typedef struct malloc_options malloc_options;

/* A text that is being put together: emma-malloc-text.c. */
typedef struct malloc_text malloc_text;

/* ---- emma-malloc-instance.c ---- */

/* The instance; NULL until it is made. Any thread, atomic. */
extern emma *emmai_malloc_shared;

/* What EMMA_OPTIONS asked for when it was made. */
extern struct malloc_options emmai_malloc_asked;

/* The instance, made if there is none; NULL, with errno untouched, when the kernel refuses. */
emma *emmai_malloc_instance(void);

/* Whether this process is the one that reports at exit. */
bool emmai_malloc_is_to_report(void);

/* Shows the instance to `emma top`, if that was asked for and it is made. Not inside an
 * allocation. */
void emmai_malloc_export(const char *kind);

/* Sees to it that the end of the calling thread, which allocates for the first time, is noticed. */
void emmai_malloc_meet_thread(emma *instance);

/* The instance for what does not allocate. */
static inline emma *malloc_instance_if_made(void)
{
    return __atomic_load_n(&emmai_malloc_shared, __ATOMIC_ACQUIRE);
}

/* ---- emma-malloc.c ---- */

/* The thread ends, or may: it goes on as one that never allocated. */
void emmai_malloc_leave_heap(emma *instance);

/* free, by a name that nobody can put another one in the place of. */
void emmai_malloc_free(void *block);

/* Allocates; `alignment` is a power of two. NULL, with errno untouched, when there is no memory. */
void *emmai_malloc_allocate(size_t alignment, size_t bytes);

/* The same in a build with EMMA_CHECKS: a block that has, or has to have, a label. */
void *emmai_malloc_allocate_labelled(size_t alignment, size_t bytes, unsigned label);
void emmai_malloc_free_labelled(void *block, unsigned label);
void emmai_malloc_free_sized_labelled(void *block, size_t bytes, unsigned label);

/* ---- emma-malloc-options.c ---- */

/* With less, nothing of a process is served. */
#define MALLOC_LIMIT_MIN_BYTES ((size_t)64 << 10)

/* What EMMA_OPTIONS asks for. */
struct malloc_options {
    size_t limit_bytes;      /* EMMA_UNLIMITED: none */
    size_t soft_limit_bytes; /* EMMA_UNLIMITED: none */
    size_t reserve_bytes;    /* 0: as much as suits the machine */
    size_t decay_ms;         /* EMMA_DECAY_NEVER: never */
    size_t spare_bytes;      /* part of the limit for error paths; Python's only */
    bool stats;
    bool mismatch;       /* whether a free by another family is reported */
    bool exports;        /* to `emma top` */
    bool children;       /* Python's: programs that this one starts are served too */
    unsigned domains;    /* Python's: to be served, as bits */
    size_t sample_bytes; /* Python's: allocated from sample to sample; 0: none are taken */
    uint64_t process;    /* id of the only one that reports at exit; 0: any */
};

/* The name that messages bear. Written before there is an instance. */
extern char emmai_malloc_name[EMMA_NAME_MAX_BYTES + 1];

/* Where Python's report goes, "": nowhere. Written before there is an instance. */
#define MALLOC_PATH_BYTES 4096
extern char emmai_malloc_report_path[MALLOC_PATH_BYTES];

/* Reads EMMA_OPTIONS; what is wrong in it is named on stderr and left out. */
void emmai_malloc_read_options(malloc_options *out);

/* Says that the system has not so much address space. */
void emmai_malloc_refuse_reserve(size_t bytes);

/* ---- emma-malloc-environment.c ---- */

/* What is taken of a variable where the C library has not got the environment yet. */
#define MALLOC_EARLY_BYTES ((size_t)1024)

/* The value of a variable, maybe in that buffer; NULL: there is none, or it is not to be
 * trusted. */
const char *emmai_malloc_find_variable(const char *name, char early[MALLOC_EARLY_BYTES]);

/* ---- emma-malloc-report.c ---- */

/* Keeps a descriptor of stderr as it is now, so that the figures go there when the process
 * exits. */
void emmai_malloc_report_at_exit(void);

/* Writes the lines of the table that Python's library adds. */
void emmai_python_add_figures(struct malloc_text *text, const emma_stats *stats);

/* An emma_limit_fn: warns once. */
void emmai_malloc_warn(void *arg, emma *instance, bool over);

/* ---- emma-malloc-text.c: lines of text without the C library ---- */

/* Room for any line that is written here. */
#define MALLOC_LINE_BYTES ((size_t)320)

/* What does not fit is left out. */
struct malloc_text {
    char *bytes;
    size_t size, used;
};

/* Starts with "emma: NAME: ". */
malloc_text emmai_malloc_text(char *buffer, size_t size);
void emmai_malloc_text_add(malloc_text *text, const char *words);
void emmai_malloc_text_add_bytes(malloc_text *text, const char *words, size_t length);
void emmai_malloc_text_count(malloc_text *text, uint64_t count, size_t width);
void emmai_malloc_text_size(malloc_text *text, size_t bytes, size_t width);
/* Ends the line with these words and writes it to stderr. */
void emmai_malloc_text_say(malloc_text *text, const char *end);
/* Writes it; errno stays as it is. */
void emmai_malloc_text_write(const malloc_text *text, int descriptor);

#endif
