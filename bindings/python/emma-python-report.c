/* emma-python-report.c - reports of a Python process: while it runs, and at its end.
 *
 * What is noted on the way is noted where a thread's heap takes memory, not at each allocation. */
#include "emma-python-report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- on the way ---- */

bool emmai_python_watched;
static emma_report_series series;
static bool asks_for_types; /* once, at a tick */

void emmai_python_watch_start(void)
{
    emma_report_series_start(&series, emma_python_instance());
    emmai_python_watched = true;
}

void emmai_python_watch(size_t bytes)
{
    static ptrdiff_t bytes_left;
    if (__atomic_sub_fetch(&bytes_left, (ptrdiff_t)bytes, __ATOMIC_RELAXED) > 0)
        return;
    __atomic_store_n(&bytes_left, (ptrdiff_t)EMMA_REPORT_TICK_BYTES, __ATOMIC_RELAXED);
    emma_report_series_tick(&series);
    if (!__atomic_load_n(&asks_for_types, __ATOMIC_RELAXED) &&
        !__atomic_exchange_n(&asks_for_types, true, __ATOMIC_RELAXED) &&
        !emmai_python_types_begin())
        emmai_python_report_ask_again();
}

void emmai_python_report_ask_again(void)
{
    __atomic_store_n(&asks_for_types, false, __ATOMIC_RELAXED);
}

/* ---- figures ---- */

#define STATUS_BYTES 4096

/* Bytes of the process's memory that is no file's, as the kernel counts it;
 * 0 where it does not tell. */
static size_t anonymous_bytes(void)
{
    char status[STATUS_BYTES];
    const int descriptor = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    const ssize_t got = descriptor < 0 ? 0 : read(descriptor, status, sizeof status - 1);
    if (descriptor >= 0)
        close(descriptor);
    status[got > 0 ? got : 0] = '\0';
    const char *line = strstr(status, "\nRssAnon:");
    return line ? (size_t)strtoull(line + sizeof "\nRssAnon:" - 1, NULL, 10) << 10 : 0;
}

size_t emmai_python_outside_bytes(const emma_stats *stats)
{
    const size_t all = anonymous_bytes();
    return all > stats->footprint_bytes ? all - stats->footprint_bytes : 0;
}

const char *emmai_python_domain_name(unsigned domain)
{
    return domain == EMMA_PYTHON_RAW ? "raw" : domain == EMMA_PYTHON_MEM ? "mem" : "obj";
}

/* ---- the report ---- */

#define DOMAINS_BYTES 512

/* JSON. */
static void tell_domains(char out[DOMAINS_BYTES])
{
    size_t used = 0;
    for (unsigned domain = EMMA_PYTHON_RAW; domain < EMMA_PYTHON_ALL; domain <<= 1) {
        emma_python_domain look;
        emma_python_look(domain, &look);
        used += (size_t)snprintf(out + used, DOMAINS_BYTES - used,
                                 "%s\n    \"%s\": {\"wanted\": %s, \"serves\": %s, "
                                 "\"older_freed\": %llu, \"older_resized\": %llu}",
                                 used ? "," : "{", emmai_python_domain_name(domain),
                                 look.wanted ? "true" : "false", look.serves ? "true" : "false",
                                 (unsigned long long)look.older_freed,
                                 (unsigned long long)look.older_resized);
    }
    snprintf(out + used, DOMAINS_BYTES - used, "\n  }");
}

static double run_seconds(void)
{
    return series.count ? (double)series.points[series.count - 1].nanoseconds / 1e9 : 0;
}

/* The reader of a pipe may be a thread that waits for the lock. */
static bool write_unlocked(emma_report_place *place, emma_report *report,
                           const emma_python_lock *lock)
{
    if (!emma_report_make(place, report)) {
        emma_report_forget(place);
        return false;
    }
    void *state = lock->give_up();
    const bool written = emma_report_write(place, report);
    lock->take(state);
    return written;
}

/* Writes figures that were taken into a place that is prepared; where there is a lock, without it,
 * once all that others may change is text. */
static bool write_report(emma_report_place *place, emma_report *report, char *types,
                         const emma_python_lock *lock)
{
    char domains[DOMAINS_BYTES];
    tell_domains(domains);
    const emma_report_field fields[] = {
        { .name = "outside_bytes",
          .kind = EMMA_REPORT_NUMBER,
          .number = (int64_t)emmai_python_outside_bytes(&report->stats) },
        { .name = "run_seconds",
          .kind = series.count ? EMMA_REPORT_SECONDS : EMMA_REPORT_NULL,
          .seconds = run_seconds() },
        { .name = "domains", .kind = EMMA_REPORT_JSON, .text = domains },
    };
    report->fields = fields;
    report->field_count = sizeof fields / sizeof fields[0];
    report->series = &series;
    report->sampler = emmai_python_sampler();
    report->program = program_invocation_short_name;
    emmai_python_types_tell(report, types);
    const bool written =
        lock ? write_unlocked(place, report, lock) : emma_report_write(place, report);
    free((void *)(uintptr_t)report->types);
    emma_report_release(report);
    return written;
}

static void take_figures(emma_report *report, const emma *instance)
{
    emma_report_series_end(&series);
    emma_report_gather(report, instance);
}

/* Of the process, as it was when Python began to end. */
static emma_report last_report;

void emmai_python_report_take_last(void)
{
    take_figures(&last_report, emma_python_instance());
}

/* What the end itself added to what only grows. */
static void take_end(emma_report *report, const emma *instance)
{
    emma_stats stats = { .struct_bytes = sizeof stats };
    emma_get_stats(instance, &stats);
    report->stats.peak_footprint_bytes = stats.peak_footprint_bytes;
    report->stats.refused_count = stats.refused_count;
}

static void tell_why(const char *why)
{
    char buffer[MALLOC_LINE_BYTES];
    malloc_text text = emmai_malloc_text(buffer, sizeof buffer);
    emmai_malloc_text_add(&text, "no report in ");
    emmai_malloc_text_add(&text, emmai_malloc_report_path);
    emmai_malloc_text_add(&text, ": ");
    emmai_malloc_text_say(&text, why);
}

bool emmai_python_report_at_end(void)
{
    const emma *instance = emma_python_instance();
    emma_report_place place;
    if (!last_report.process)
        take_figures(&last_report, instance);
    take_end(&last_report, instance);
    if (emma_report_prepare(&place, emmai_malloc_report_path) &&
        write_report(&place, &last_report, emmai_python_types_last(), NULL))
        return true;
    tell_why(place.why);
    return false;
}

/* What went wrong, for Python. */
static int answer(const emma_report_place *place, char *why, size_t room)
{
    snprintf(why, room, "%s", place->why);
    return place->error;
}

/* A pipe is left alone: its reader would take the one who opens it and goes for the one who
 * writes. */
int emma_python_report_check(const char *path, char *why, size_t room)
{
    emma_report_place place;
    struct stat file;
    if (stat(path, &file) == 0 && S_ISFIFO(file.st_mode) && access(path, W_OK) == 0)
        return 0;
    if (!emma_report_prepare(&place, path))
        return answer(&place, why, room);
    emma_report_forget(&place);
    return 0;
}

/* A report of now is large for a stack. */
int emma_python_report(const char *path, const char *types, const emma_python_lock *lock, char *why,
                       size_t room)
{
    emma_report_place place;
    if (!emma_report_prepare(&place, path))
        return answer(&place, why, room);
    const emma *instance = emma_python_instance();
    emma_report *report = calloc(1, sizeof *report);
    char *copy = strdup(types);
    bool written = false;
    emmai_python_sample_name_sites();
    if (instance && report && copy) {
        take_figures(report, instance);
        written = write_report(&place, report, copy, lock);
    } else {
        emma_report_forget(&place);
        snprintf(place.why, sizeof place.why, "%s", strerror(ENOMEM));
        place.error = ENOMEM;
    }
    free(copy);
    free(report);
    return written ? 0 : answer(&place, why, room);
}
