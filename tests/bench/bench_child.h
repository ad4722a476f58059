/* bench_child.h - what every measured program of the benchmarks does alike: clocks, memory figures,
 * the JSON object that it writes, the end when something is wrong.
 *
 * Nothing here allocates from the C library, whose malloc may be what is measured. One thread uses
 * all of this. */
#ifndef EMMA_BENCH_CHILD_H
#define EMMA_BENCH_CHILD_H

#include <stdint.h>
#include <time.h>

typedef struct stamp {
    int64_t wall_ns; /* CLOCK_MONOTONIC */
    int64_t cpu_ns;  /* of the process, user and system */
} stamp;

typedef struct memory_figures {
    int64_t rss_kib; /* exact, from smaps_rollup */
    int64_t page_table_kib;
    int64_t peak_rss_kib;
    int64_t minor_faults;
    int64_t anonymous_kib; /* pages that are the process's own, not a file's; exact */
} memory_figures;

/* The program's name, for messages; each program defines it. */
extern const char host_name[];

/* Where the JSON object goes: stderr unless set. */
extern int json_fd;

/* Says what is wrong on stderr and exits. */
void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...);

int64_t clock_ns(clockid_t clock);
stamp stamp_now(void);
int64_t minor_faults(void);
memory_figures memory_now(void);
/* Number of the process's mappings. */
int64_t mapping_count(void);

/* The members of the JSON object, in the order of the calls; json_end closes it. */
void json_name(const char *name);
void json_integer(const char *name, int64_t value);
void json_text(const char *name, const char *value);
void json_phase(const char *name, stamp from, stamp to);
void json_memory(const char *name, memory_figures figures);
void json_list(const char *name, const int64_t *values, unsigned count);
/* "libc_malloc_from": the file that serves this program's malloc. */
void json_malloc_from(void);
void json_end(void);

#endif
