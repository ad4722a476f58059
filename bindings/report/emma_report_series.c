/* emma_report_series.c - see emma_report_series.h. */
#include "emma_report_series.h"

#include <time.h>

#define FIRST_INTERVAL_NS ((uint64_t)1000000)
/* A point is due at the earliest so many times later as it took. */
#define REST_FACTOR 100

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void drop_every_other(emma_report_series *series)
{
    for (size_t i = 0; 2 * i < series->count; i++)
        series->points[i] = series->points[2 * i];
    series->count = (series->count + 1) / 2;
    series->interval *= 2;
}

static void take_point(emma_report_series *series, uint64_t now)
{
    const uint64_t before =
        read_clock(CLOCK_THREAD_CPUTIME_ID); /* not while others have the processor */
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(series->instance, &stats);
    if (series->count == EMMA_REPORT_POINTS)
        drop_every_other(series);
    series->points[series->count++] = (emma_report_point){
        .nanoseconds = now - series->start,
        .live_bytes = stats.live_bytes,
        .footprint_bytes = stats.footprint_bytes,
        .limit_bytes = stats.limit_bytes,
    };
    const uint64_t cost = read_clock(CLOCK_THREAD_CPUTIME_ID) - before;
    const uint64_t rest =
        cost * REST_FACTOR > series->interval ? cost * REST_FACTOR : series->interval;
    __atomic_store_n(&series->due, now + rest, __ATOMIC_RELAXED);
}

/* Takes a point unless another thread, or the code that this interrupted, is about to. */
static void try_point(emma_report_series *series, uint64_t now)
{
    if (__atomic_exchange_n(&series->is_busy, true, __ATOMIC_ACQUIRE))
        return;
    take_point(series, now);
    __atomic_store_n(&series->is_busy, false, __ATOMIC_RELEASE);
}

void emma_report_series_start(emma_report_series *series, const emma *instance)
{
    series->instance = instance;
    series->interval = FIRST_INTERVAL_NS;
    series->start = read_clock(CLOCK_MONOTONIC);
    try_point(series, series->start);
}

void emma_report_series_tick(emma_report_series *series)
{
    const uint64_t now = read_clock(CLOCK_MONOTONIC);
    if (now >= __atomic_load_n(&series->due, __ATOMIC_RELAXED))
        try_point(series, now);
}

void emma_report_series_end(emma_report_series *series)
{
    if (series->instance)
        try_point(series, read_clock(CLOCK_MONOTONIC));
}
