/* emma-python.h - what libemma-python.so offers beside the adapter's functions: to the package
 * emma, which calls it from Python, and to its own files.
 *
 * All of the core's functions are there too, with the prefix py_ of this copy of emma. */
#ifndef EMMA_PYTHON_LIBRARY_H
#define EMMA_PYTHON_LIBRARY_H

#include "../malloc/emma-malloc.h"
#include "emma_python.h"

/* Makes the process's instance as EMMA_OPTIONS says and has it serve those of the `domains` that it
 * leaves; as emma_python_install, and EMMA_NO_MEMORY where the kernel refuses it. */
EMMA_API enum emma_status emma_python_start(unsigned domains);

/* The instance that serves Python; NULL: none does. */
EMMA_API emma *emma_python_instance(void);

/* emma_set_limit with another spare part; what that is for, see emma-python.c. */
EMMA_API enum emma_status emma_python_set_limit(size_t limit_bytes, size_t spare_bytes);

/* Sets the peak of the footprint to what the footprint is, or to `restore_bytes` if that is more;
 * returns what the peak was, in bytes. */
EMMA_API size_t emma_python_restart_peak(size_t restore_bytes);

/* emma_check; EMMA_BUSY also where other threads have heaps, as emma_python_list_blocks. */
EMMA_API enum emma_status emma_python_check(void);

/* Whether all threads share a heap for MEM and OBJ, which they enter with Python's lock held. */
EMMA_API bool emma_python_has_one_heap(void);

/* emma_trim, of the heap that all threads share, too; returns how many bytes were given
 * back. Python's lock is held. */
EMMA_API size_t emma_python_trim(void);

/* A live block. */
typedef struct emma_python_block {
    void *address;
    size_t bytes;
} emma_python_block;

/* Writes down the live blocks, in address order, as many as there is room for; returns how
 * many there are, or SIZE_MAX: other threads have heaps, and may be using them without
 * Python's lock, which is held. */
EMMA_API size_t emma_python_list_blocks(emma_python_block *blocks, size_t room);

/* How Python's lock is given up for a while: PyEval_SaveThread and PyEval_RestoreThread. */
typedef struct emma_python_lock {
    void *(*give_up)(void);
    void (*take)(void *state);
} emma_python_lock;

/* Writes a report of Python's memory as it is now, of the kind that the end of the path tells;
 * `types` is what snapshot() in _types.py gives. 0: it is written; EMMA_REPORT_BAD_NAME or an
 * errno: nothing is, and `why` has room for the reason. Python's lock is held, and given up by
 * `lock` while the file is written; NULL: it is not. */
EMMA_API int emma_python_report(const char *path, const char *types, const emma_python_lock *lock,
                                char *why, size_t room);

/* The same as far as it is about the path: whether a report could be written. */
EMMA_API int emma_python_report_check(const char *path, char *why, size_t room);

/* NumPy's PyDataMem_Handler for the data of arrays, for a capsule "mem_handler". Never freed. */
EMMA_API void *emma_python_numpy_handler(void);

/* All that the control module of Python's calls here, found by the name emma_python_functions; the
 * core's functions are those of this library's copy. With Python's lock held. */
typedef struct emma_python_functions_table {
    size_t struct_bytes; /* sizeof: tells another version */
    const char *(*version)(void);
    enum emma_status (*start)(unsigned domains);
    emma *(*instance)(void);
    void (*get_stats)(const emma *instance, emma_stats *out);
    bool (*owns)(const emma *instance, const void *address);
    bool (*has_one_heap)(void);
    size_t (*trim)(void);
    enum emma_status (*check)(void);
    void (*look)(unsigned domain, emma_python_domain *out);
    enum emma_status (*set_limit)(size_t limit_bytes, size_t spare_bytes);
    size_t (*restart_peak)(size_t restore_bytes);
    size_t (*list_blocks)(emma_python_block *blocks, size_t room);
    void *(*numpy_handler)(void);
    int (*report)(const char *path, const char *types, const emma_python_lock *lock, char *why,
                  size_t room);
    int (*report_check)(const char *path, char *why, size_t room);
} emma_python_functions_table;

EMMA_API extern const emma_python_functions_table emma_python_functions;

/* ---- emma-python.c: allocation, by names of this library's own ---- */

void *emmai_python_malloc(size_t bytes);
void *emmai_python_calloc(size_t count, size_t bytes);
void *emmai_python_realloc(void *block, size_t bytes);
void emmai_python_free(void *block);

/* ---- emma-python-process.c ---- */

/* Notes that this process, and no child of it, reports at exit. */
void emmai_python_note_start(void);

/* Says, the first time, that the limit refused a request. Inside an
 * allocation: nothing may allocate. */
void emmai_python_tell_refusal(emma *instance, size_t bytes, bool is_running);

#endif
