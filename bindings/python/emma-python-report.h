/* emma-python-report.h - what the files that report a Python process offer each other. */
#ifndef EMMA_PYTHON_REPORT_H
#define EMMA_PYTHON_REPORT_H

#include "emma-python.h"
#include "emma_report.h"

/* ---- emma-python-report.c ---- */

/* Whether memory over time is noted, as there is to be a report. */
extern bool emmai_python_watched;

/* Notes that so much was allocated. Outside of all calls into the instance; any thread. */
void emmai_python_watch(size_t bytes);

void emmai_python_watch_start(void);

/* Writes the report that was asked for at the start; false: it says why not. */
bool emmai_python_report_at_end(void);

/* Takes the figures for it now: Python is about to end. */
void emmai_python_report_take_last(void);

/* Bytes of the process's memory that are neither a file's nor the instance's. */
size_t emmai_python_outside_bytes(const emma_stats *stats);

/* "raw", "mem" or "obj". */
const char *emmai_python_domain_name(unsigned domain);

/* ---- emma-python-process.c ---- */

/* Whether this process, not one that it started or forked, tells of itself at its end. */
bool emmai_python_is_to_report(void);

/* ---- emma-python-sample.c ---- */

/* Starts to take samples, if EMMA_OPTIONS asks for them, before a domain is served. */
void emmai_python_sample_start(void);

/* The functions of a domain, with those that take samples over them. */
const PyMemAllocatorEx *emmai_python_sampled(int domain, const PyMemAllocatorEx *below);

/* Names the sites that were found; Python's lock is held, outside of all allocations. */
void emmai_python_sample_name_sites(void);

/* The last of them. */
void emmai_python_sample_end(void);

/* What was found; NULL: nothing was sampled. */
const emma_sampler *emmai_python_sampler(void);

/* ---- emma-python-frames.c ---- */

/* How a frame is told from others: no name begins with a zero. */
typedef struct emmai_python_frame {
    uint64_t zero;
    struct _object *code;
    int64_t line;
} emmai_python_frame;

/* Whether Python has the functions for it. */
bool emmai_python_has_frames(void);

/* Finds out whether frames are read right, at a safe point of the main thread's, with the lock
 * held. Until then none is. */
void emmai_python_try_frames(void);

/* The numbers of the calling thread's frames, innermost first, each of which the sampler knows by
 * an emmai_python_frame; how many, or why none. */
enum { EMMAI_FRAMES_NOT_YET = -1, EMMAI_FRAMES_NO_LOCK = -2 };
ptrdiff_t emmai_python_frames(emma_sampler *sampler, uint32_t frames[EMMA_SAMPLE_DEPTH]);

/* ---- emma-python-types.c ---- */

/* Sees to it that Python is asked about its types, from now on and at its end;
 * false: it is not there yet. */
bool emmai_python_types_begin(void);

/* It could not be now: at a later tick. */
void emmai_python_report_ask_again(void);

/* Adds what Python told in `text`, which is cut up, and what there was at the start, to a report.
 * The report's rows are the caller's to free. */
void emmai_python_types_tell(emma_report *report, char *text);

/* What Python told at its end; NULL: nothing. */
char *emmai_python_types_last(void);

#endif
