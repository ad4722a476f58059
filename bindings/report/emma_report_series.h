/* emma_report_series.h - memory over time, in a few hundred points whatever the time.
 *
 * Who allocates counts down bytes and ticks when they are used up; a tick mostly looks at the
 * clock and goes. When all points are taken, every other one is dropped, and from then on the
 * time between two is twice as long. */
#ifndef EMMA_REPORT_SERIES_H
#define EMMA_REPORT_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emma.h"

/* Bytes allocated from tick to tick. */
#define EMMA_REPORT_TICK_BYTES ((size_t)64 << 10)

#define EMMA_REPORT_POINTS 512

typedef struct emma_report_point {
    uint64_t nanoseconds; /* since the start */
    size_t live_bytes;
    size_t footprint_bytes;
    size_t limit_bytes; /* EMMA_UNLIMITED: none */
} emma_report_point;

/* Zeros before emma_report_series_start. */
typedef struct emma_report_series {
    const emma *instance;
    uint64_t start;    /* on the monotonic clock, nanoseconds */
    uint64_t interval; /* least nanoseconds from point to point */
    uint64_t due;      /* when the next point is due; any thread, atomic */
    bool is_busy;      /* a thread takes a point; any thread, atomic */
    size_t count;
    emma_report_point points[EMMA_REPORT_POINTS];
} emma_report_series;

/* Takes the first point. */
void emma_report_series_start(emma_report_series *series, const emma *instance);

/* Takes a point if one is due. Any thread that may ask the instance for its figures, outside of
 * all calls into it. What that costs is at most about a hundredth of the time. */
void emma_report_series_tick(emma_report_series *series);

/* Takes the last point. */
void emma_report_series_end(emma_report_series *series);

/* Counts down what was allocated; whether it is time for what is done now and then, a tick for
 * one. */
static inline bool emma_report_is_due(size_t *bytes_left, size_t allocated)
{
    const bool is_due = __builtin_expect(allocated >= *bytes_left, 0);
    *bytes_left = is_due ? EMMA_REPORT_TICK_BYTES : *bytes_left - allocated;
    return is_due;
}

#endif
