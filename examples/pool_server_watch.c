/* pool_server_watch.c - see pool_server_watch.h. Locks: watch.looking comes before the pool's, and that before
 * watch.lock, which is held for one sandbox's map at a time. */
#define _GNU_SOURCE
#include "pool_server_watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define WATCHED_MOST  64 /* sandboxes that are shown */
#define FAILURES      16 /* that are remembered */
#define REQUEST_BYTES 120
#define MESSAGE_BYTES 240
#define FORGET_NS     ((uint64_t)5 * 1000 * 1000 * 1000) /* after so long nobody looks any more */
#define NS_PER_US     1000u
#define NS_PER_S      ((uint64_t)1000 * 1000 * 1000)

/* Times are counted in four steps per doubling, up to the end of the last step: 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 ...
 * microseconds. */
#define STEP_BITS  2
#define STEPS      (1u << STEP_BITS)
#define STEP_COUNT 128u

typedef struct watched {
    emma_sandbox *sandbox; /* NULL: this place is free */
    uint64_t number;       /* the sandbox's: none is used twice */
    uint64_t taken;        /* the look for which its figures were taken; 0: never */
    uint64_t idle;         /* the last look that found it idle */
    bool has_request;      /* they are how a request left it, before the rollback */
    emma_sandbox_stats stats;
    emma_report_map map;
} watched;

typedef struct failure {
    uint64_t number; /* 0: none yet */
    struct timespec time;
    const char *reason; /* a constant */
    char request[REQUEST_BYTES];
    char message[MESSAGE_BYTES];
} failure;

static struct {
    pthread_mutex_t looking; /* one look at a time */
    pthread_mutex_t lock;    /* of what follows */
    watched sandboxes[WATCHED_MOST];
    uint64_t sandbox_count; /* ever */
    uint64_t look;          /* the one that is to come */
    pthread_mutex_t failures_lock;
    failure failures[FAILURES]; /* a ring */
    uint64_t failure_count;
    /* any thread */
    atomic_bool is_watched;
    atomic_ullong last_look_ns;
    atomic_ullong times[STEP_COUNT];
} watch = { .looking = PTHREAD_MUTEX_INITIALIZER,
            .lock = PTHREAD_MUTEX_INITIALIZER,
            .failures_lock = PTHREAD_MUTEX_INITIALIZER,
            .look = 1 };

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

/* ---- Times ---- */

uint64_t watch_begin(void)
{
    if (!atomic_load_explicit(&watch.is_watched, memory_order_relaxed))
        return 0;
    const uint64_t now = now_ns(), last = atomic_load(&watch.last_look_ns);
    if (now < last + FORGET_NS)
        return now;
    atomic_store(&watch.is_watched, false);
    return 0;
}

static unsigned step_of(uint64_t microseconds)
{
    if (microseconds < STEPS)
        return (unsigned)microseconds;
    const unsigned octave = 63u - (unsigned)__builtin_clzll(microseconds);
    const unsigned step =
        (octave - 1) * STEPS + ((microseconds >> (octave - STEP_BITS)) & (STEPS - 1));
    return step < STEP_COUNT ? step : STEP_COUNT - 1;
}

/* The microseconds that are too many for a step. */
static uint64_t step_end(unsigned step)
{
    if (step < STEPS)
        return step + 1;
    return (uint64_t)(STEPS + step % STEPS + 1) << (step / STEPS - 1);
}

void watch_end(uint64_t begin)
{
    if (begin)
        atomic_fetch_add_explicit(&watch.times[step_of((now_ns() - begin) / NS_PER_US)], 1,
                                  memory_order_relaxed);
}

static void out_times(emma_report_out *out)
{
    const char *separator = "";
    emmai_out_text(out, "\"times\": [");
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        const unsigned long long count = atomic_load(&watch.times[i]);
        if (!count)
            continue;
        emmai_out_format(out, "%s[%ju,%llu]", separator, (uintmax_t)step_end(i), count);
        separator = ",";
    }
    emmai_out_text(out, "]");
}

/* ---- Failures ---- */

void watch_failure(const char *reason, const char *method, const char *path, const char *message)
{
    pthread_mutex_lock(&watch.failures_lock);
    failure *last = &watch.failures[watch.failure_count++ % FAILURES];
    last->number = watch.failure_count;
    last->reason = reason;
    clock_gettime(CLOCK_REALTIME, &last->time);
    snprintf(last->request, sizeof last->request, "%s %s", method, path);
    snprintf(last->message, sizeof last->message, "%s", message);
    pthread_mutex_unlock(&watch.failures_lock);
}

static void out_failure(emma_report_out *out, const failure *one)
{
    emmai_out_format(out, "{\"number\": %ju, \"time\": ", (uintmax_t)one->number);
    emmai_out_seconds(out, (uint64_t)one->time.tv_sec * NS_PER_S + (uint64_t)one->time.tv_nsec);
    emmai_out_format(out, ", \"reason\": \"%s\", \"request\": ", one->reason);
    emmai_out_json(out, one->request);
    emmai_out_text(out, ", \"message\": ");
    emmai_out_json(out, one->message);
    emmai_out_text(out, "}");
}

/* The last one first. */
static void out_failures(emma_report_out *out)
{
    emmai_out_text(out, ",\n\"failures\": [");
    pthread_mutex_lock(&watch.failures_lock);
    for (uint64_t i = 0; i < FAILURES && i < watch.failure_count; i++) {
        emmai_out_text(out, i ? ",\n" : "\n");
        out_failure(out, &watch.failures[(watch.failure_count - 1 - i) % FAILURES]);
    }
    pthread_mutex_unlock(&watch.failures_lock);
    emmai_out_text(out, "]");
}

/* ---- Sandboxes ---- */

/* With the lock held; NULL: it is not shown. */
static watched *find_watched(const emma_sandbox *sandbox)
{
    for (size_t i = 0; i < WATCHED_MOST; i++)
        if (watch.sandboxes[i].sandbox == sandbox)
            return &watch.sandboxes[i];
    return NULL;
}

/* What the sandbox releases when it is destroyed. */
static void forget(void *resource)
{
    watched *one = resource;
    pthread_mutex_lock(&watch.lock);
    emma_report_release_map(&one->map);
    one->sandbox = NULL;
    pthread_mutex_unlock(&watch.lock);
}

enum emma_sandbox_status watch_prepare(void *arg, emma_sandbox *sandbox)
{
    (void)arg;
    pthread_mutex_lock(&watch.lock);
    watched *one = find_watched(NULL);
    watch.sandbox_count++;
    if (one)
        *one = (watched){ .sandbox = sandbox, .number = watch.sandbox_count };
    pthread_mutex_unlock(&watch.lock);
    const enum emma_sandbox_status status =
        one ? emma_sandbox_hold(sandbox, one, forget) : EMMA_SANDBOX_DONE;
    if (status != EMMA_SANDBOX_DONE)
        forget(one);
    return status;
}

/* With the lock held, by who has the sandbox for himself. Once from look to look. */
static void take(watched *one, bool has_request)
{
    if (one->taken == watch.look)
        return;
    one->taken = watch.look;
    one->has_request = has_request;
    one->stats.struct_bytes = sizeof one->stats;
    emma_sandbox_get_stats(one->sandbox, &one->stats);
    emma_report_gather_map(&one->map, emma_sandbox_instance(one->sandbox));
}

void watch_leave(emma_sandbox *sandbox)
{
    if (!atomic_load_explicit(&watch.is_watched, memory_order_relaxed) ||
        pthread_mutex_trylock(&watch.lock) != 0)
        return;
    watched *one = find_watched(sandbox);
    if (one)
        take(one, true);
    pthread_mutex_unlock(&watch.lock);
}

static void visit_idle(void *arg, emma_sandbox *sandbox)
{
    (void)arg;
    pthread_mutex_lock(&watch.lock);
    watched *one = find_watched(sandbox);
    if (one) {
        take(one, false);
        one->idle = watch.look;
    }
    pthread_mutex_unlock(&watch.lock);
}

static void out_calls(emma_report_out *out, const emma_sandbox_stats *stats)
{
    for (int i = 0; i < EMMA_SANDBOX_BROKEN; i++)
        emmai_out_format(out, "%s\"%s\": %ju", i ? ", " : "",
                         emma_sandbox_status_text((enum emma_sandbox_status)i),
                         (uintmax_t)stats->calls[i]);
}

static void out_watched(emma_report_out *out, const watched *one)
{
    const emma_sandbox_stats *stats = &one->stats;
    emmai_out_format(out, "{\"number\": %ju, \"idle\": %s, ", (uintmax_t)one->number,
                     one->idle == watch.look ? "true" : "false");
    if (!one->taken) {
        emmai_out_text(out, "\"chunks\": null}");
        return;
    }
    emmai_out_format(out,
                     "\"has_request\": %s, \"limit_bytes\": %zu, \"footprint_bytes\": %zu, "
                     "\"peak_footprint_bytes\": %zu, "
                     "\"live_bytes\": %zu, \"checkpoint_bytes\": %zu, \"calls\": {",
                     one->has_request ? "true" : "false", stats->limit_bytes,
                     stats->footprint_bytes, stats->peak_footprint_bytes, stats->live_bytes,
                     stats->checkpoint_bytes);
    out_calls(out, stats);
    emmai_out_text(out, "},\n\"chunks\": ");
    emmai_out_map(out, &one->map);
    emmai_out_text(out, "}");
}

static void out_sandboxes(emma_report_out *out)
{
    const char *separator = "\n";
    emmai_out_text(out, ",\n\"sandboxes\": [");
    for (size_t i = 0; i < WATCHED_MOST; i++) {
        pthread_mutex_lock(&watch.lock);
        if (watch.sandboxes[i].sandbox) {
            emmai_out_text(out, separator);
            out_watched(out, &watch.sandboxes[i]);
            separator = ",\n";
        }
        pthread_mutex_unlock(&watch.lock);
    }
    emmai_out_text(out, "]");
}

void watch_look(emma_report_out *out, emma_sandbox_pool *pool)
{
    pthread_mutex_lock(&watch.looking);
    out_times(out);
    out_failures(out);
    if (pool)
        emma_sandbox_pool_visit(pool, visit_idle, NULL);
    out_sandboxes(out);
    pthread_mutex_lock(&watch.lock);
    watch.look++;
    pthread_mutex_unlock(&watch.lock);
    pthread_mutex_unlock(&watch.looking);
    atomic_store(&watch.last_look_ns, now_ns());
    atomic_store(&watch.is_watched, true);
}
